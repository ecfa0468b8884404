"""The clock steps back or forward by an hour: nothing is billed twice, ends at once or never ends."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from doubles.clocks import FixedClock, StepBackClock
from doubles.lives import naive_quantities
from doubles.platforms import FakePlatform, given, pass_time, socket_of, team_cluster
from nightingale.contract.schemas import PolicyIn
from nightingale.domain.billing import UsageRecord
from nightingale.domain.history import HistoryEntry
from nightingale.ports.prober import Activity, ProbeOutcome
from nightingale.services import records
from nightingale.services.clock_steps import ClockSteps
from nightingale.services.metering import read_history, read_mark

HOUR = 3600


@pytest.fixture
def clock() -> StepBackClock:
    return StepBackClock()


@pytest.fixture
def platform(clock: StepBackClock) -> FakePlatform:
    return FakePlatform(clock=clock)


def history_of(platform: FakePlatform, instance_id: str) -> tuple[HistoryEntry, ...]:
    """Return the history, whose times must never go back."""
    found = read_history(platform.store, instance_id)
    assert [entry.at for entry in found] == sorted(entry.at for entry in found)
    assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
    return found


def billed(platform: FakePlatform, instance_id: str) -> dict[datetime, int]:
    """Return the seconds of compute by hour as the newest records say, compared with a look at every second."""
    instance = platform.stored(instance_id).instance
    until = read_mark(platform.store, instance)[0].closed_until
    latest: dict[datetime, UsageRecord] = {}
    for item in platform.store.query(records.usage_partition("brain", "2026-11")).items:
        record = records.decode(item, UsageRecord)
        latest[record.hour] = record
    found = {
        hour: sum(line.seconds for line in record.lines if line.kind == "compute") for hour, record in latest.items()
    }
    naive = naive_quantities(history_of(platform, instance_id), until, {"s": 5, "m": 20})
    seconds = {hour: sum(n for (kind, _), n in kinds.items() if kind == "compute") for hour, kinds in naive.items()}
    assert found == seconds
    assert all(0 <= one <= HOUR for one in found.values())
    return found


# --- back ------------------------------------------------------------------------------------------------------------


async def test_a_step_back_while_it_runs_bills_no_second_twice_and_none_below_zero(
    platform: FakePlatform, clock: StepBackClock
) -> None:
    running = await platform.run()
    clock.advance(50 * 60)
    platform.made.metering.run_once()
    clock.step_back(HOUR)
    await pass_time(platform, 3)
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    assert platform.get().status == "stopped"
    assert platform.get().usage_seconds == 0  # its clock went back behind its beginning: nothing is billed, not less
    clock.advance(5 * HOUR)
    platform.made.metering.run_once()
    assert sum(billed(platform, running.id).values()) == 0


async def test_an_hour_that_was_closed_before_the_step_is_corrected_and_not_counted_again(
    platform: FakePlatform, clock: StepBackClock
) -> None:
    running = await platform.run()  # at nine
    clock.advance(65 * 60)
    platform.made.metering.run_once()
    assert list(billed(platform, running.id).values()) == [HOUR]
    clock.step_back(HOUR)
    platform.made.metering.run_once()
    clock.advance(10 * 60)  # a quarter past nine, once more
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    clock.advance(2 * HOUR)
    platform.made.metering.run_once()
    assert next(iter(billed(platform, running.id).values())) == 15 * 60


async def test_a_build_that_was_not_started_is_started_soon_after_a_step_back(
    platform: FakePlatform, clock: StepBackClock
) -> None:
    platform.builder.refuse()
    platform.launch()
    clock.step_back(HOUR)
    platform.builder.accept()
    await pass_time(platform, 2)
    assert len(platform.builder.specs) == 1


async def test_what_is_in_flight_still_has_its_deadline_after_a_step_back(
    platform: FakePlatform, clock: StepBackClock
) -> None:
    platform.launch()
    await pass_time(platform, 5)
    clock.step_back(HOUR)
    await pass_time(platform, 599)
    assert platform.get().status == "provisioning"
    await pass_time(platform, 3)
    failed = platform.get()
    assert (failed.status, given(failed.reason).code) == ("failed", "build_timeout")


async def test_a_server_that_falls_silent_after_a_step_back_is_noticed_in_time(
    platform: FakePlatform, clock: StepBackClock
) -> None:
    running = await platform.run()
    await pass_time(platform, 20)
    platform.machines.bring_up(running.id)
    clock.step_back(HOUR)
    platform.prober.default = ProbeOutcome.SILENT
    await pass_time(platform, 7)
    assert platform.get().unreachable_since is not None
    await pass_time(platform, 32)
    failed = platform.get()
    assert (failed.status, given(failed.reason).code) == ("failed", "unreachable")
    history_of(platform, running.id)


async def test_silence_that_began_before_a_step_back_ends_in_time(platform: FakePlatform, clock: StepBackClock) -> None:
    await platform.run()
    platform.prober.default = ProbeOutcome.SILENT
    await pass_time(platform, 10)
    assert platform.get().unreachable_since is not None
    clock.step_back(HOUR)
    await pass_time(platform, 32)
    assert given(platform.get().reason).code == "unreachable"


async def test_an_orphan_is_ended_after_a_step_back_too(platform: FakePlatform, clock: StepBackClock) -> None:
    running = await platform.run()
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    clock.step_back(HOUR)
    platform.machines.bring_up(running.id)
    assert platform.made.reconcile().end_orphans() == 1


async def test_a_token_lives_no_longer_than_the_clock_says_and_is_good_while_it_does(
    platform: FakePlatform, clock: StepBackClock
) -> None:
    expires_at = datetime.fromisoformat(platform.ask("get_me", "grace")["expires_at"])
    clock.step_back(HOUR)
    assert platform.handle("get_me", "grace").status == 200
    clock.advance(expires_at - clock.now())
    assert platform.refusal("get_me", "grace") in {"token_expired", "unauthenticated"}


# --- forward ---------------------------------------------------------------------------------------------------------


async def test_a_step_forward_ends_nothing_that_is_in_flight(platform: FakePlatform, clock: FixedClock) -> None:
    platform.launch()
    await pass_time(platform, 5)
    clock.advance(HOUR)
    await platform.watch.beat_running()
    await pass_time(platform, 30)
    assert platform.get().status == "provisioning"
    await platform.settle()
    assert platform.get().status == "running"


async def test_a_step_forward_does_not_make_what_was_just_used_idle(clock: StepBackClock) -> None:
    platform = FakePlatform(clock=clock, cluster=team_cluster(policy=PolicyIn(idle_stop_after=1800)))
    running = await platform.run()
    await pass_time(platform, 5)
    platform.prober.activities[socket_of(running.id)] = Activity(clock.now(), is_busy=False, kernels=1, connections=1)
    await platform.watch.beat_activity()
    clock.advance(HOUR)
    await platform.watch.beat_running()
    await platform.watch.beat_activity()
    assert platform.get().status == "running"
    for _ in range(31):
        clock.advance(59)
        await platform.watch.beat_running()
    await platform.watch.beat_activity()
    assert given(platform.get().reason).code == "idle"


async def test_an_hour_closed_by_a_clock_that_ran_ahead_is_corrected_when_it_is_set_right(
    platform: FakePlatform, clock: StepBackClock
) -> None:
    running = await platform.run()  # at nine
    clock.advance(10 * 60)
    clock.advance(HOUR)
    platform.made.metering.run_once()
    assert list(billed(platform, running.id).values()) == [HOUR]
    clock.step_back(HOUR)
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    clock.advance(2 * HOUR)
    platform.made.metering.run_once()
    assert next(iter(billed(platform, running.id).values())) == 10 * 60


# --- what is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "way"), [(HOUR, "forward"), (-HOUR, "back")])
def test_a_step_is_told_in_the_log_and_a_steady_clock_is_not(
    step: int, way: str, caplog: pytest.LogCaptureFixture, clock: StepBackClock
) -> None:
    steps = ClockSteps()
    caplog.set_level(logging.INFO)
    for _ in range(3):
        steps.note(clock.now())
        clock.advance(1)
    assert not caplog.records
    clock.step_back(-step)
    steps.note(clock.now())
    (told,) = caplog.records
    more: Any = told
    assert (told.levelname, more.code) == ("ERROR", "clock_stepped")
    assert way in told.message
    assert timedelta(seconds=abs(more.seconds)) >= timedelta(minutes=59)
