"""Policies at work: asked over the API, enforced by the watcher, however late or often it runs."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import msgspec
import pytest

from doubles.clusters import apply_cluster
from doubles.platforms import FakePlatform, given, pass_time, socket_of, team_cluster
from doubles.policies import HOUR, MONDAY, day_hours, platform_with, with_policy
from nightingale.contract.schemas import MemberIn, PolicyIn
from nightingale.contract.vocabulary import Role
from nightingale.domain.quarantine import Quarantine
from nightingale.ports.machines import SandboxSeen
from nightingale.ports.prober import Activity, ProbeOutcome
from nightingale.services import records


def active(at: datetime, *, is_busy: bool = False) -> Activity:
    return Activity(last_activity_at=at, is_busy=is_busy, kernels=1, connections=1)


def events(platform: FakePlatform, name: str = "scan") -> list[tuple[str, str]]:
    """Return every event of its history and by whom."""
    entries = platform.ask("list_history", "ada", name)["entries"]
    return [(entry["event"], entry["actor"]) for entry in entries]


async def beat(platform: FakePlatform, times: int = 1) -> None:
    """Look at everything that runs, so many times, with builds ending well after each.

    The clock leaps between, and a watcher takes a leap for a step of its clock: each look is a new watcher's.
    """
    for _ in range(times):
        platform.watch = platform.another_watch()
        platform.watch.refresh()
        await platform.watch.beat_running()
        await platform.watch.beat_activity()
        await platform.settle()


# --- idle -------------------------------------------------------------------------------------------------------------


async def test_it_is_stopped_once_nobody_has_used_it_for_the_project_s_time() -> None:
    platform = platform_with(PolicyIn(idle_stop_after=3600))
    running = await platform.run()
    used = platform.clock.now() + timedelta(minutes=10)
    platform.prober.activities[socket_of(running.id)] = active(used)
    platform.clock.advance(600)
    await beat(platform)
    shown = platform.get()
    assert (shown.stops_at, shown.stops_why, shown.warning) == (used + HOUR, "idle", "")
    platform.clock.set(used + HOUR - timedelta(seconds=1))
    await beat(platform)
    warned = platform.get()
    assert warned.status == "running"
    assert warned.warning == (
        "Stops at 2026-11-02 10:10 UTC, when it has not been used for 1 hour. Run something in it, or extend it."
    )
    platform.clock.advance(1)
    await beat(platform)
    stopped = platform.get()
    assert (stopped.status, given(stopped.reason).code, stopped.stops_at, stopped.why_up) == (
        "stopped",
        "idle",
        None,
        "",
    )
    assert stopped.usage_seconds == 4200
    assert ("stop", "platform") in events(platform)


async def test_a_busy_kernel_keeps_it_up_however_long_its_cell_takes() -> None:
    platform = platform_with(PolicyIn(idle_stop_after=3600))
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(platform.clock.now(), is_busy=True)
    for _ in range(30):
        platform.clock.advance(3000)
        await beat(platform)
    assert platform.get().status == "running"
    assert platform.get().stops_at == platform.clock.now() + HOUR


async def test_a_busy_kernel_that_nobody_saw_for_a_day_is_asked_before_it_is_called_idle() -> None:
    platform = platform_with(PolicyIn(idle_stop_after=3600))
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(platform.clock.now(), is_busy=True)
    platform.clock.advance(86_400)  # the watcher was down
    fresh = platform.another_watch()
    fresh.refresh()
    await fresh.beat_running()
    await fresh.beat_activity()
    assert platform.get().status == "running"


async def test_a_server_that_does_not_say_when_it_was_used_is_not_called_idle() -> None:
    platform = platform_with(PolicyIn(idle_stop_after=3600))
    await platform.run()
    platform.clock.advance(86_400)
    await beat(platform)
    assert platform.get().status == "running"


async def test_an_extension_holds_an_idle_instance_for_its_idle_time() -> None:
    platform = platform_with(PolicyIn(idle_stop_after=3600))
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(platform.clock.now())
    platform.clock.advance(3000)
    platform.ask("extend_instance", "grace", "scan", {"seconds": 36_000})
    platform.clock.advance(3599)
    await beat(platform)
    assert platform.get().status == "running"
    platform.clock.advance(1)
    await beat(platform)
    assert platform.get().status == "stopped"


# --- lifetime ---------------------------------------------------------------------------------------------------------


def test_a_launch_beyond_the_longest_lifetime_is_refused_and_leaves_nothing() -> None:
    platform = platform_with(PolicyIn(max_lifetime=28_800))
    answer = platform.handle("launch_instance", "grace", None, {"name": "scan", "stop_after_seconds": 28_801})
    error = platform.error(answer)
    assert (answer.status, error["code"]) == (422, "invalid")
    assert "brain lets an instance be up for 8 hours at most" in error["message"]
    assert error["details"][0]["path"] == "stop_after_seconds"
    assert platform.ask("list_instances", "ada")["instances"] == []
    assert platform.launch(stop_after_seconds=28_800).stops_at == platform.clock.now() + 8 * HOUR


async def test_an_extension_within_the_policy_moves_the_time_and_one_beyond_does_not() -> None:
    platform = platform_with(PolicyIn(max_lifetime=28_800))
    running = await platform.run(stop_after_seconds=3600)
    platform.clock.advance(1800)
    extended = platform.ask("extend_instance", "grace", "scan", {"seconds": 27_000})
    assert datetime.fromisoformat(extended["stops_at"]) == running.created_at + 8 * HOUR
    answer = platform.handle("extend_instance", "grace", "scan", {"seconds": 27_001})
    assert platform.error(answer)["details"][0]["path"] == "seconds"
    assert platform.get().stops_at == running.created_at + 8 * HOUR
    assert len(events(platform)) == 5


async def test_a_lifetime_ends_to_the_second_whatever_the_person_asked_and_whoever_watches() -> None:
    platform = platform_with(PolicyIn(max_lifetime=28_800))
    running = await platform.run()
    assert (running.stops_at, running.stops_why) == (running.created_at + 8 * HOUR, "lifetime_reached")
    platform.clock.set(running.created_at + 8 * HOUR - timedelta(seconds=1))
    fresh = platform.another_watch()  # the watcher was restarted, which renews nothing
    fresh.refresh()
    await fresh.beat_running()
    assert platform.get().status == "running"
    platform.clock.advance(1)
    await fresh.beat_running()
    await platform.watch.beat_running()  # the old one is not quite gone
    stopping = platform.get()
    assert (stopping.status, given(stopping.reason).code) == ("stopping", "lifetime_reached")
    assert given(stopping.reason).words == "it was up for 8 hours, the longest that brain allows"
    assert [name for name, _ in events(platform)].count("stop") == 1


async def test_a_resize_goes_on_in_the_same_lifetime_and_a_start_begins_another() -> None:
    platform = platform_with(PolicyIn(max_lifetime=28_800))
    running = await platform.run()
    platform.clock.advance(3600)
    platform.ask("resize_instance", "grace", "scan", {"cpu": "m"})
    await platform.settle()
    assert platform.get().stops_at == running.created_at + 8 * HOUR
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    platform.ask("start_instance", "grace", "scan")
    await platform.settle()
    assert platform.get().stops_at == platform.clock.now() + 8 * HOUR


async def test_a_policy_that_becomes_stricter_holds_for_what_runs_already() -> None:
    platform = platform_with(None)
    running = await platform.run(stop_after_seconds=86_400)
    apply_cluster(platform.store, with_policy(PolicyIn(max_lifetime=3600)))
    assert platform.get().stops_at == running.created_at + HOUR
    platform.clock.advance(3600)
    await beat(platform)
    assert platform.get().status == "stopped"


async def test_a_policy_of_the_cluster_holds_where_a_project_says_nothing() -> None:
    platform = FakePlatform(cluster=team_cluster(policy=PolicyIn(max_lifetime=3600)))
    assert platform.refusal("launch_instance", "grace", None, {"name": "scan", "stop_after_seconds": 3601}) == "invalid"


async def test_a_retry_after_the_lifetime_begins_another_and_is_not_stopped_at_once() -> None:
    platform = platform_with(PolicyIn(max_lifetime=28_800))
    running = await platform.run()
    platform.machines.crash(running.id)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    platform.clock.advance(86_400)
    platform.prober.default = ProbeOutcome.OK
    platform.ask("retry_instance", "grace", "scan")
    await beat(platform, 2)
    found = platform.get()
    assert (found.status, found.stops_at) == ("running", platform.clock.now() + 8 * HOUR)


# --- schedule ---------------------------------------------------------------------------------------------------------


async def test_the_schedule_stops_what_is_up_and_starts_it_the_next_morning() -> None:
    platform = platform_with(day_hours())
    running = await platform.run()
    assert (running.stops_at, running.stops_why) == (MONDAY + 18 * HOUR, "schedule")
    platform.clock.set(MONDAY + 18 * HOUR)
    await beat(platform, 3)
    stopped = platform.get()
    assert (stopped.status, given(stopped.reason).code) == ("stopped", "schedule")
    assert (stopped.starts_at, stopped.stops_at) == (MONDAY + 30 * HOUR, None)
    assert stopped.why_up == "The schedule of brain stopped it and starts it at 2026-11-03 06:00 UTC."
    platform.clock.set(MONDAY + 30 * HOUR - timedelta(seconds=1))
    await beat(platform)
    assert platform.get().status == "stopped"
    platform.clock.advance(1)
    await beat(platform, 3)
    started = platform.get()
    assert (started.status, started.starts_at, started.reason) == ("running", None, None)
    assert [event for event in events(platform) if event[0] in {"stop", "start"}] == [
        ("stop", "platform"),
        ("start", "platform"),
    ]
    assert started.usage_seconds == 9 * 3600  # the night costs no compute


async def test_what_a_person_stopped_stays_stopped() -> None:
    platform = platform_with(day_hours())
    await platform.run()
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    platform.clock.set(MONDAY + 31 * HOUR)
    await beat(platform, 2)
    assert (platform.get().status, platform.get().starts_at) == ("stopped", None)


async def test_a_missed_start_happens_late_within_its_hours_and_not_after_them() -> None:
    for late, status in ((MONDAY + 41 * HOUR, "running"), (MONDAY + 43 * HOUR, "stopped")):
        platform = platform_with(day_hours())
        await platform.run()
        platform.clock.set(MONDAY + 18 * HOUR)
        await beat(platform)
        platform.clock.set(late)
        fresh = platform.another_watch()
        fresh.refresh()
        await fresh.beat_running()
        await platform.settle(fresh)
        assert platform.get().status == status
        assert [name for name, _ in events(platform)].count("start") == (1 if status == "running" else 0)


async def test_a_missed_stop_happens_at_once() -> None:
    platform = platform_with(day_hours())
    await platform.run()
    platform.clock.set(MONDAY + 25 * HOUR)
    assert platform.get().stops_at == MONDAY + 18 * HOUR
    fresh = platform.another_watch()
    fresh.refresh()
    await fresh.beat_running()
    assert given(platform.get().reason).code == "schedule"


async def test_two_watchers_start_it_once() -> None:
    platform = platform_with(day_hours())
    await platform.run()
    platform.clock.set(MONDAY + 18 * HOUR)
    await beat(platform)
    other = platform.another_watch()
    platform.watch.refresh()
    other.refresh()
    platform.clock.set(MONDAY + 30 * HOUR)
    await platform.watch.beat_running()
    await other.beat_running()
    assert [name for name, _ in events(platform)].count("start") == 1


async def test_a_scheduled_start_that_fails_is_not_tried_over_and_over() -> None:
    platform = platform_with(day_hours())
    await platform.run()
    platform.clock.set(MONDAY + 18 * HOUR)
    await beat(platform)
    platform.clock.set(MONDAY + 30 * HOUR)
    platform.watch.refresh()
    await platform.watch.beat_running()
    platform.builder.fail(given(platform.get().build_id))
    await beat(platform, 5)
    assert platform.get().status == "failed"
    assert [name for name, _ in events(platform)].count("start") == 1


async def test_hours_that_are_not_strict_let_a_person_work_at_night_until_the_next_end() -> None:
    platform = platform_with(day_hours(), hour=20)
    running = await platform.run()
    await beat(platform, 2)
    assert (platform.get().status, running.stops_at) == ("running", MONDAY + 42 * HOUR)


async def test_strict_hours_refuse_a_start_outside_and_say_when_it_may_be() -> None:
    platform = platform_with(day_hours(is_strict=True), hour=17)
    await platform.run()
    platform.clock.set(MONDAY + 18 * HOUR)
    await beat(platform)
    assert platform.get().status == "stopped"
    error = platform.error(platform.handle("start_instance", "grace", "scan"))
    assert error["code"] == "not_allowed_now"
    assert "nothing starts there before 2026-11-03 06:00 UTC (Europe/Berlin)" in error["message"]
    assert platform.refusal("launch_instance", "grace", None, {"name": "other"}) == "not_allowed_now"
    assert platform.get().status == "stopped"


async def test_an_instance_that_was_resized_while_the_schedule_kept_it_down_comes_up_all_the_same() -> None:
    platform = platform_with(day_hours())
    await platform.run()
    platform.clock.set(MONDAY + 18 * HOUR)
    await beat(platform)
    platform.ask("resize_instance", "grace", "scan", {"cpu": "m"})
    await platform.settle()
    platform.clock.set(MONDAY + 30 * HOUR)
    await beat(platform)
    assert platform.get().status == "running"


async def test_hours_that_become_strict_end_what_a_person_started_at_night() -> None:
    platform = platform_with(day_hours(), hour=20)
    await platform.run()
    apply_cluster(platform.store, with_policy(day_hours(is_strict=True)))
    await beat(platform)
    assert given(platform.get().reason).code == "schedule"


@pytest.mark.parametrize("why", ["left", "no sandbox", "quarantine"])
async def test_nothing_comes_up_by_itself_that_its_owner_could_not_start(why: str) -> None:
    platform = platform_with(day_hours())
    await platform.run(datasets=["mr-demo"])
    platform.clock.set(MONDAY + 18 * HOUR)
    await beat(platform)
    if why == "left":
        brain, *others = with_policy(day_hours()).projects
        others_only = msgspec.structs.replace(brain, members=(MemberIn(person="ada", role=Role.LEAD),))
        apply_cluster(platform.store, with_policy(day_hours(), projects=(others_only, *others)))
    elif why == "quarantine":
        stored = platform.stored(platform.get().id)
        held = dataclasses.replace(stored.instance, quarantine=Quarantine(platform.clock.now(), "hedy"))
        platform.store.put(records.instance_item(held, stored.version))
        platform.watch = platform.another_watch()
    else:
        platform.machines.sandbox_seen = SandboxSeen(name=None, why="not installed", is_trusted=False)
    platform.clock.set(MONDAY + 30 * HOUR)
    await beat(platform, 2)
    assert platform.get().status == "stopped"


# --- beside other things ----------------------------------------------------------------------------------------------


async def test_a_policy_does_not_change_what_a_crash_costs() -> None:
    platform = platform_with(PolicyIn(max_lifetime=3600, idle_stop_after=600))
    running = await platform.run()
    await pass_time(platform, 20)
    platform.clock.advance(2)
    platform.machines.crash(running.id)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    failed = platform.get()
    assert (failed.status, failed.usage_seconds, failed.stops_at, failed.warning) == ("failed", 20, None, "")
