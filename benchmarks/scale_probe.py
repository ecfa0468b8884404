"""Two thousand Jupyter servers probed each second by one process: the watcher, to a bare loop over the same client.

The servers stand in another process, over TCP and then over unix sockets; some are slow, dead, odd, hang or refuse.
The bare loop asks every server each second and does nothing else. The watcher is the platform's own with its store,
its memory of good probes, its policies and its readings of what changed, and it collects garbage as rarely as the
scheduler's process does; the bare loop as often as Python does by itself. The sides take turns in this process; CPU is
this process's. Prints a table, then a line of JSON; exit status 1 when a bound is missed. On a machine that is busy
with other things latency is theirs too: where the bare loop itself misses a bound, the table says so.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import scale_fixture  # noqa: E402 - the tests have to be found first
import scale_servers  # noqa: E402 - same
from doubles.clocks import FixedClock  # noqa: E402 - same
from doubles.machines import FakeMachines  # noqa: E402 - same
from doubles.platforms import FakePlatform  # noqa: E402 - same
from nightingale.adapters.jupyter_probe import JupyterProber  # noqa: E402 - same
from nightingale.adapters.sqlite import SqliteStore  # noqa: E402 - same
from nightingale.adapters.system_clock import SystemClock  # noqa: E402 - same
from nightingale.ports.prober import ProbeOutcome  # noqa: E402 - same
from nightingale_local.garbage import collect_rarely  # noqa: E402 - same

SERVERS = 2_000
BAD_OF_EACH = 8
MOST_CPU = 1.3
MOST_P99_S = 0.050
MOST_GAP_S = 2.0
"""Between the beginnings of two probes of a server: one of each second, early in one and late in the next."""
WARM_S = 3
_TIMEOUT_S = 2.0


class WallClock(FixedClock):
    """The system's clock where the tests' platform wants one of its own."""

    def now(self) -> datetime:
        """Return the time as it is."""
        return SystemClock().now()


@dataclass
class Seen:
    """What one side did: beginnings and latencies by address, CPU of this process."""

    began: dict[str, list[float]] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    cpu: float = 0.0
    seconds: float = 0.0
    is_on: bool = False

    def note(self, address: str, began: float) -> None:
        """Take up one answer, or what came instead."""
        if self.is_on:
            self.began.setdefault(address, []).append(began)
            self.latencies.setdefault(address, []).append(time.perf_counter() - began)

    async def measure(self, seconds: float) -> None:
        """Let what runs warm up, then take its measure."""
        await asyncio.sleep(WARM_S)
        self.is_on, cpu, began = True, time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        self.is_on = False
        self.seconds = time.perf_counter() - began
        self.cpu = time.process_time() - cpu

    def cpu_ms(self) -> float:
        """Return the CPU of one probe, in milliseconds."""
        return self.cpu * 1000 / sum(len(found) for found in self.latencies.values())

    def p99(self, addresses: Sequence[str]) -> float:
        """Return the 99th percentile of these servers' latencies, in seconds."""
        found = sorted(one for address in addresses for one in self.latencies.get(address, ()))
        return found[len(found) * 99 // 100] if found else math.inf

    def missed(self, addresses: Sequence[str]) -> int:
        """Return how many of these were not probed each second."""
        return sum(self._is_missed(self.began.get(address, [])) for address in addresses)

    def _is_missed(self, began: list[float]) -> bool:
        gaps = (after - before for before, after in pairwise(began))
        return len(began) < int(self.seconds) - 1 or max(gaps, default=math.inf) > MOST_GAP_S


async def bare(servers: scale_servers.Servers, seconds: float) -> Seen:
    """Ask every server each second, evenly, over the client that the prober has; nothing else."""
    seen, out = Seen(), set[str]()
    patience = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    shared = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    sessions = {
        address: aiohttp.ClientSession(connector=aiohttp.UnixConnector(address.partition(":")[2]))
        if address.startswith("unix:")
        else shared
        for address in servers.every
    }

    async def ask(address: str) -> None:
        url = "http://localhost/api" if address.startswith("unix:") else f"http://{address.partition(':')[2]}/api"
        began = time.perf_counter()
        try:
            async with sessions[address].get(url, headers={"Host": "localhost"}, timeout=patience) as answer:
                json.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pass
        finally:
            out.discard(address)
        seen.note(address, began)

    async def one_round() -> None:
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        began = loop.time()
        due = [address for address in servers.every if address not in out]
        for start in range(0, len(due), 20):
            await asyncio.sleep(max(began + 0.8 * start / len(due) - loop.time(), 0))
            out.update(due[start : start + 20])
            tasks |= {asyncio.create_task(ask(address)) for address in due[start : start + 20]}
        rounds.append(tasks)  # kept, so that none is collected before it ends

    rounds: list[set[asyncio.Task[None]]] = []
    await _driven(seen, one_round, seconds)
    await asyncio.gather(*(task for tasks in rounds for task in tasks))
    for session in {shared, *sessions.values()}:
        await session.close()
    return seen


async def watched(servers: scale_servers.Servers, seconds: float, folder: Path) -> Seen:
    """Let the watcher look after instances whose servers these are."""
    seen = Seen()

    class TimedProber(JupyterProber):
        async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:
            began = time.perf_counter()
            outcome = await super().probe(address, timeout_s)
            seen.note(address, began)
            return outcome

    class Addressed(FakeMachines):
        def address(self, instance_id: str) -> str:
            return by_id[instance_id]

    platform = FakePlatform(store=SqliteStore(folder / f"{time.monotonic_ns()}.db"), clock=WallClock())
    ids = scale_fixture.fill(platform.store, len(servers.every), platform.clock.now() - timedelta(hours=1))
    by_id = dict(zip(ids, servers.every, strict=True))
    platform.machines.__class__ = Addressed
    for one in ids:
        platform.machines.bring_up(one)
    prober = TimedProber()
    watch = platform.made.watch(prober)
    watch.refresh()

    async def others() -> None:
        while True:
            await asyncio.to_thread(watch.refresh)
            await asyncio.sleep(0.25)

    reading = asyncio.create_task(others())
    await _driven(seen, watch.beat_running, seconds)
    reading.cancel()
    await asyncio.sleep(_TIMEOUT_S)  # probes of servers that hang end by themselves
    await prober.close()
    return seen


async def _driven(seen: Seen, one_round: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
    """Call `one_round` once a second while `seen` takes its measure."""
    measuring = asyncio.create_task(seen.measure(seconds))
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not measuring.done():
        await one_round()
        due = max(due + 1.0, loop.time())
        await asyncio.sleep(due - loop.time())
    await measuring


def measure(family: str, seconds: float) -> dict[str, float]:
    """Return the figures of one family of addresses: a bare loop, the watcher, the bare loop again."""
    with scale_servers.running(family, SERVERS, BAD_OF_EACH) as servers, tempfile.TemporaryDirectory() as folder:
        sides = [asyncio.run(bare(servers, seconds / 2))]
        usual = gc.get_threshold()
        collect_rarely()  # as the platform's scheduler does
        ours = asyncio.run(watched(servers, seconds, Path(folder)))
        gc.set_threshold(*usual)
        sides.append(asyncio.run(bare(servers, seconds / 2)))
    floor = sum(one.cpu_ms() for one in sides) / len(sides)
    return {
        "missed": ours.missed(servers.well),
        "missed by bare": max(one.missed(servers.well) for one in sides),
        "p99 ms": round(ours.p99(servers.well) * 1000, 1),
        "p99 ms of bare": round(max(one.p99(servers.well) for one in sides) * 1000, 1),
        "cpu ms a probe": round(ours.cpu_ms(), 4),
        "cpu ms of bare": round(floor, 4),
        "cpu ratio": round(ours.cpu_ms() / floor, 3),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    """Measure both families, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    scale_servers.raise_open_files()
    result, is_over = {}, False
    for family in ("tcp", "unix"):
        found = result[family] = measure(family, arguments.seconds)
        faults = [
            words
            for words, is_missed in (
                ("servers were missed", found["missed"] > 0),
                (f"p99 is over {MOST_P99_S * 1000:.0f} ms", found["p99 ms"] > MOST_P99_S * 1000),
                (f"CPU is over {MOST_CPU} times the bare loop", found["cpu ratio"] > MOST_CPU),
            )
            if is_missed
        ]
        is_over = is_over or bool(faults)
        print(f"{SERVERS} servers over {family}: {'; '.join(faults) or 'every bound holds'}")
        if found["p99 ms of bare"] > MOST_P99_S * 1000 or found["missed by bare"]:
            print(f"  this machine was busy (load {found['load']}): the bare loop is over the bounds by itself")
        for name, value in found.items():
            print(f"  {name:<16} {value}")
    print(json.dumps(result))
    return 1 if is_over else 0


if __name__ == "__main__":
    sys.exit(main())
