"""Where servers listen is asked for away from the event loop, and a store that is away says nothing of a server."""

from __future__ import annotations

import threading

import pytest

from doubles.platforms import FakePlatform, pass_time, socket_of
from nightingale.contract.vocabulary import Status
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.prober import Activity, ProbeOutcome
from nightingale.ports.store import StoreUnavailableError

AWAY = StoreUnavailableError("the store gives no answer")


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


async def test_no_beat_asks_for_an_address_on_the_event_loop(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = Activity(
        platform.clock.now(), is_busy=True, kernels=1, connections=1
    )
    await platform.watch.beat_running()
    await platform.watch.beat_activity()
    assert platform.prober.probed
    assert platform.machines.asked_in
    assert threading.get_ident() not in platform.machines.asked_in


async def test_a_store_that_is_away_leaves_servers_probed_where_they_were(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 1)
    platform.machines.address_fault = AWAY
    platform.prober.probed.clear()
    await pass_time(platform, 40)
    assert platform.prober.probed == [socket_of(running.id)] * 40
    assert platform.get().unreachable_since is None
    platform.watch.save_last_good()
    platform.machines.address_fault = None
    platform.machines.crash(running.id)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    assert platform.get().usage_seconds == 41


async def test_what_was_never_looked_up_is_not_silent_while_the_store_is_away(platform: FakePlatform) -> None:
    await platform.run()
    fresh = platform.another_watch()
    fresh.refresh()
    platform.machines.address_fault = AWAY
    platform.prober.probed.clear()
    for _ in range(60):
        platform.clock.advance(1)
        await fresh.beat_running()
        await fresh.beat_activity()
    found = platform.get()
    assert (found.status, found.unreachable_since) == (Status.RUNNING, None)
    assert platform.prober.probed == []


async def test_an_address_of_the_start_before_is_not_probed(platform: FakePlatform) -> None:
    await platform.run()
    await pass_time(platform, 1)
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    platform.ask("start_instance", "grace", "scan")
    platform.machines.address_fault = AWAY
    platform.prober.probed.clear()
    await platform.settle()
    assert platform.get().status is Status.STARTING
    assert platform.prober.probed == []
    platform.machines.address_fault = None
    await platform.settle()
    assert platform.get().status is Status.RUNNING


async def test_a_machine_that_has_no_address_is_silent(platform: FakePlatform) -> None:
    await platform.run()
    await pass_time(platform, 1)
    platform.machines.address_fault = MachineUnavailableError("it has not started yet")
    await pass_time(platform, 6)
    assert platform.get().unreachable_since is not None
