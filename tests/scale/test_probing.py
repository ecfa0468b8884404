"""Rounds of probes: spread, one out a server, and nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
from collections import Counter

from doubles.machines import FakeMachines
from doubles.platforms import FakePlatform, pass_time, socket_of
from doubles.prober import FakeProber
from nightingale.domain.instance import Instance
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.prober import ProbeOutcome
from nightingale.services import probing
from nightingale.services.probing import Probing


class GatedProber(FakeProber):
    """Hangs on the addresses in `hanging` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging: set[str] = set()
        self.go = asyncio.Event()
        self.out: Counter[str] = Counter()
        self.most_out = 0

    async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:
        outcome = await super().probe(address, timeout_s)
        self.out[address] += 1
        self.most_out = max(self.most_out, self.out[address])
        if address in self.hanging:
            await self.go.wait()
            outcome = ProbeOutcome.SILENT
        self.out[address] -= 1
        return outcome


async def five(prober: FakeProber) -> tuple[FakePlatform, list[str]]:
    platform = FakePlatform(prober=prober)
    found = [await platform.run(f"scan-{number}") for number in range(5)]
    prober.probed.clear()
    return platform, [socket_of(one.id) for one in found]


async def test_a_server_that_hangs_keeps_one_probe_out_and_holds_up_no_other() -> None:
    prober = GatedProber()
    platform, addresses = await five(prober)
    prober.hanging = {addresses[0]}
    await pass_time(platform, 4)
    counts = Counter(prober.probed)
    assert counts[addresses[0]] == 1
    assert [counts[address] for address in addresses[1:]] == [4] * 4
    prober.go.set()
    await asyncio.sleep(0)
    await pass_time(platform, 2)
    assert Counter(prober.probed)[addresses[0]] >= 2
    assert prober.most_out == 1


async def test_a_server_that_hangs_is_told_as_unreachable_since_its_last_answer() -> None:
    prober = GatedProber()
    platform, addresses = await five(prober)
    await pass_time(platform, 1)
    good = platform.clock.now()
    prober.hanging = {addresses[0]}
    for _ in range(4):  # each round: out, then timed out
        await pass_time(platform, 2)
        prober.go.set()
        await asyncio.sleep(0)
        prober.go.clear()
    await pass_time(platform, 1)
    assert platform.get("scan-0").unreachable_since == good
    assert platform.get("scan-1").unreachable_since is None
    prober.go.set()


async def test_when_most_hang_at_once_the_watcher_suspects_itself() -> None:
    prober = GatedProber()
    platform, addresses = await five(prober)
    prober.hanging = set(addresses[:3])
    for _ in range(20):
        await pass_time(platform, 2)
        prober.go.set()
        await asyncio.sleep(0)
        prober.go.clear()
    assert [platform.get(f"scan-{number}").unreachable_since for number in range(5)] == [None] * 5
    prober.go.set()


async def test_an_answer_to_the_run_before_says_nothing_of_the_run_now() -> None:
    prober = GatedProber()
    platform, addresses = await five(prober)
    prober.hanging = {addresses[0]}
    await pass_time(platform, 1)
    platform.ask("stop_instance", "grace", "scan-0")
    await platform.settle()
    platform.clock.advance(5)
    platform.ask("start_instance", "grace", "scan-0")
    prober.hanging = set()
    await platform.settle()
    prober.go.set()  # the probe of before comes back: silent
    await asyncio.sleep(0)
    await pass_time(platform, 1)
    assert platform.watch._suspects == set()
    assert platform.get("scan-0").status == "running"


async def test_many_probes_are_begun_evenly_and_few_at_once() -> None:
    platform = FakePlatform()
    template = platform.stored(platform.launch().id).instance
    loop = asyncio.get_running_loop()
    begun: list[float] = []

    async def look(_: Instance) -> ProbeOutcome:
        begun.append(loop.time())
        return ProbeOutcome.OK

    many = [type(template)(**{**vars(template), "id": f"i-{number:010}"}) for number in range(200)]
    seen, late = await Probing(platform.clock, look).begin_round(many)
    assert (len(seen), late) == (200, 0)
    assert begun[-1] - begun[0] >= probing.SPREAD_S / 2  # never sooner, however busy this machine is


async def test_a_machine_that_cannot_be_asked_for_its_address_is_silent_and_stops_no_round() -> None:
    platform, addresses = await five(FakeProber())
    lost = platform.get("scan-0").id

    class Lost(FakeMachines):
        def address(self, instance_id: str) -> str:
            if instance_id == lost:
                message = "no folder"
                raise MachineUnavailableError(message)
            return super().address(instance_id)

    platform.machines.__class__ = Lost
    await pass_time(platform, 8)
    assert platform.get("scan-0").unreachable_since is not None
    assert set(platform.prober.probed) == set(addresses[1:])
