"""Watching what runs: crashes, silence, lifetimes and activity, each to the right second."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from doubles.clocks import START
from doubles.platforms import FakePlatform, given, pass_time, socket_of
from nightingale.domain.deadlines import Deadlines
from nightingale.ports.prober import Activity, ProbeOutcome
from nightingale.ports.store import Store
from nightingale.services import records

DEADLINES = Deadlines()


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def writes_of(store: Store, instance_id: str) -> int:
    item = store.get(records.instance_key("brain", instance_id))
    assert item is not None
    return item.version


# --- crashes ----------------------------------------------------------------------------------------------------------


async def test_a_crash_is_billed_to_the_last_good_probe(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 20)
    good = platform.clock.now()
    platform.clock.advance(2)
    platform.machines.crash(running.id)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    failed = platform.get()
    assert (failed.status, given(failed.reason).code) == ("failed", "jupyter_killed")
    assert given(failed.reason).log_tail == ("the last line",)
    last = platform.ask("list_history", "ada", "scan")["entries"][-1]
    assert (datetime.fromisoformat(last["billed_until"]), last["event"]) == (good, "crashed")
    assert failed.usage_seconds == 20


async def test_a_crash_right_after_the_start_is_not_billed_before_it(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.watch.save_last_good()
    platform.clock.advance(100)
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    platform.clock.advance(100)
    platform.ask("start_instance", "grace", "scan")
    await platform.settle()
    since = platform.get().running_since
    platform.machines.crash(running.id, platform.get().generation)
    platform.prober.default = ProbeOutcome.REFUSED
    fresh = platform.another_watch()
    fresh.load_last_good()
    fresh.refresh()
    platform.clock.advance(1)
    await fresh.beat_running()
    last = platform.ask("list_history", "ada", "scan")["entries"][-1]
    assert datetime.fromisoformat(last["billed_until"]) == since


async def test_a_restarted_watcher_takes_up_the_last_good_vector(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 30)
    good = platform.clock.now()
    platform.watch.save_last_good()
    platform.machines.lose(running.id)
    platform.clock.advance(3600)
    fresh = platform.another_watch()
    fresh.load_last_good()
    fresh.refresh()
    platform.prober.default = ProbeOutcome.REFUSED
    await fresh.beat_running()
    assert given(platform.get().reason).code == "machine_rebooted"
    last = platform.ask("list_history", "ada", "scan")["entries"][-1]
    assert datetime.fromisoformat(last["billed_until"]) == good


async def test_a_server_that_dies_while_it_starts_fails_with_its_last_lines(platform: FakePlatform) -> None:
    launched = platform.launch()
    platform.builder.finish(given(launched.build_id))
    platform.machines.crash(launched.id, words="no module named notebook", last_lines=("Traceback",))
    await platform.settle()
    failed = platform.get()
    assert (failed.status, given(failed.reason).log_tail) == ("failed", ("Traceback",))
    assert failed.usage_seconds == 0


async def test_a_crash_seen_by_two_watchers_is_one_entry(platform: FakePlatform) -> None:
    running = await platform.run()
    other = platform.another_watch()
    other.refresh()
    platform.machines.crash(running.id)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    await other.beat_running()
    events = [entry["event"] for entry in platform.ask("list_history", "ada", "scan")["entries"]]
    assert events.count("crashed") == 1


async def test_a_person_s_stop_beats_the_crash_that_it_looks_like(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.ask("stop_instance", "grace", "scan")
    platform.machines.stop(running.id, 2)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()  # still believes that it runs
    assert platform.get().status == "stopping"
    await platform.settle()
    assert platform.get().status == "stopped"


# --- silence ----------------------------------------------------------------------------------------------------------


async def test_silence_becomes_unreachable_and_an_answer_ends_it(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 3)
    good = platform.clock.now()
    platform.prober.script(socket_of(running.id), ProbeOutcome.SILENT)
    await pass_time(platform, 4)
    assert platform.get().unreachable_since is None
    await pass_time(platform, 1)
    assert platform.get().unreachable_since == good
    assert platform.get().status == "running"
    platform.prober.script(socket_of(running.id), ProbeOutcome.OK)
    await pass_time(platform, 1)
    assert platform.get().unreachable_since is None


async def test_silence_past_its_deadline_is_a_failure_billed_to_the_last_answer(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 10)
    platform.prober.script(socket_of(running.id), ProbeOutcome.SILENT)
    await pass_time(platform, 31)
    failed = platform.get()
    assert (failed.status, given(failed.reason).code, failed.usage_seconds) == ("failed", "unreachable", 10)


async def test_most_servers_silent_at_once_change_nothing(platform: FakePlatform) -> None:
    names = [f"scan-{number}" for number in range(5)]
    found = [await platform.run(name) for name in names]
    for one in found[:3]:
        platform.prober.script(socket_of(one.id), ProbeOutcome.SILENT)
    await pass_time(platform, 60)
    assert [platform.get(name).unreachable_since for name in names] == [None] * 5
    assert [platform.get(name).status for name in names] == ["running"] * 5
    platform.prober.script(socket_of(found[0].id), ProbeOutcome.OK)
    await pass_time(platform, 1)
    assert [platform.get(name).unreachable_since is None for name in names] == [True, False, False, True, True]


async def test_a_place_that_cannot_be_asked_ends_nobody_and_holds_no_deadline_up(platform: FakePlatform) -> None:
    running = await platform.run()
    waiting = platform.launch("other")
    platform.prober.script(socket_of(waiting.id), ProbeOutcome.REFUSED)
    platform.builder.finish(given(waiting.build_id))
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    platform.prober.script(socket_of(running.id), ProbeOutcome.REFUSED)
    platform.machines.break_down()
    await pass_time(platform, 6)
    assert platform.get("scan").status == "running"
    platform.clock.advance(DEADLINES.starting)
    await platform.watch.beat_in_flight()
    assert given(platform.get("other").reason).code == "start_timeout"


# --- times ------------------------------------------------------------------------------------------------------------


async def test_it_stops_by_itself_when_nothing_else_moves(platform: FakePlatform) -> None:
    running = await platform.run(stop_after_seconds=600)
    platform.clock.set(given(running.stops_at) - timedelta(seconds=1))
    await platform.watch.beat_running()
    assert platform.get().status == "running"
    assert not platform.watch.has_in_flight
    platform.clock.advance(1)
    await platform.watch.beat_running()
    stopping = platform.get()
    assert (stopping.status, given(stopping.reason).code) == ("stopping", "lifetime_reached")
    await platform.settle()
    stopped = platform.get()
    assert (stopped.status, stopped.stops_at) == ("stopped", None)
    assert given(stopped.reason).code == "lifetime_reached"


async def test_an_extension_at_the_last_moment_is_not_overrun(platform: FakePlatform) -> None:
    running = await platform.run(stop_after_seconds=600)
    platform.clock.set(given(running.stops_at))
    platform.ask("extend_instance", "grace", "scan", {"seconds": 3600})
    await platform.watch.beat_running()  # still believes in the time before
    assert platform.get().status == "running"
    await platform.watch.beat_running()
    assert platform.get().status == "running"


# --- activity ---------------------------------------------------------------------------------------------------------


def active(at: datetime, *, is_busy: bool = False) -> Activity:
    return Activity(last_activity_at=at, is_busy=is_busy, kernels=1, connections=1)


async def test_idle_is_an_edge_and_is_written_once(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(platform.clock.now())
    before = writes_of(platform.store, running.id)
    for _ in range(120):
        platform.clock.advance(10)
        await platform.watch.beat_activity()
    assert platform.get().is_idle
    assert writes_of(platform.store, running.id) == before + 1
    platform.prober.activities[socket_of(running.id)] = active(platform.clock.now())
    await platform.watch.beat_activity()
    assert not platform.get().is_idle


async def test_a_busy_kernel_is_active_however_old_its_last_word(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(START, is_busy=True)
    platform.clock.advance(3600)
    await platform.watch.beat_activity()
    found = platform.get()
    assert (found.is_idle, found.last_activity_at) == (False, platform.clock.now())


async def test_activity_before_this_start_does_not_make_it_idle(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(START - timedelta(days=9))
    await platform.watch.beat_activity()
    assert not platform.get().is_idle
