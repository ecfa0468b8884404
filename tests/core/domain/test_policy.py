"""Why it is up, when it stops and why: the earliest wins, ties have an order, and nothing goes round it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.lives import SIZES
from nightingale.contract.schemas import HoursIn, PolicyIn, ProjectIn, ScheduleIn
from nightingale.contract.vocabulary import ReasonCode, Status, Weekday
from nightingale.domain.catalog import Cluster, Sizes
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, Reason
from nightingale.domain.instance import Instance
from nightingale.domain.policy import Policy, Uses, policy_for, span, why_up
from nightingale.domain.policy_checks import require_allowed
from nightingale.domain.schedule import Hours, Schedule

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
"""A Monday."""
DAY_HOURS = Schedule("UTC", (Hours(tuple(range(7)), time(7), time(19)),))


def launched(at: datetime = NOON, stops_at: datetime | None = None) -> Instance:
    instance, _ = Instance.launch(
        instance_id="i-k3m9x0q2ab",
        name="scan",
        project="brain",
        owner="grace",
        size=SIZES[0],
        place="local",
        image="default",
        mounts=(),
        tier=0,
        at=at,
        build_id="b-1",
        request_id="",
        stops_at=stops_at,
    )
    return instance


def running(at: datetime = NOON, stops_at: datetime | None = None) -> Instance:
    instance = launched(at, stops_at)
    for name in (EventName.BUILD_STARTED, EventName.BUILD_SUCCEEDED, EventName.BECAME_READY):
        instance, _ = instance.apply(Event(name, "platform"), at)
    return instance


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


# --- the earliest -----------------------------------------------------------------------------------------------------


def test_without_any_limit_nothing_stops_it() -> None:
    verdict = why_up(running(), Policy("brain"), NOON, Uses(NOON))
    assert (verdict.stops_at, verdict.stops_why, verdict.warnings) == (None, None, ())
    assert verdict.why == "Up since 2026-11-02 12:00 UTC, last used 2026-11-02 12:00 UTC. Nothing stops it by itself."


def test_of_two_at_the_same_second_the_person_s_own_time_is_the_reason() -> None:
    policy = Policy("brain", idle_stop_after_seconds=3600, max_lifetime_seconds=3600)
    verdict = why_up(running(stops_at=NOON + hours(1)), policy, NOON, Uses(NOON))
    assert [bound.over for bound in verdict.bounds] == [
        "the time it was launched for is over",
        "it was up for 1 hour, the longest that brain allows",
        "it was not used for 1 hour: no kernel was busy and nothing was asked of it",
    ]


@given(
    own=st.none() | st.integers(60, 90_000),
    longest=st.none() | st.integers(60, 90_000),
    idle=st.none() | st.integers(60, 90_000),
    used=st.integers(0, 20_000),
    has_hours=st.booleans(),
    passed=st.integers(0, 100_000),
)
def test_it_stops_at_the_earliest_of_all(
    *, own: int | None, longest: int | None, idle: int | None, used: int, has_hours: bool, passed: int
) -> None:
    second = timedelta(seconds=1)
    policy = Policy("brain", idle, longest, schedule=DAY_HOURS if has_hours else None)
    instance = running(stops_at=NOON + own * second if own is not None else None)
    now = NOON + passed * second
    ends = [
        (NOON + own * second) if own is not None else None,
        (NOON + longest * second) if longest is not None else None,
        (NOON + (used + idle) * second) if idle is not None else None,
    ]
    if has_hours:  # started within the hours of day one: their end, or the first after it where the hours are open anew
        closing = datetime(2026, 11, 2, 19, tzinfo=UTC)
        opening = datetime(2026, 11, 3, 7, tzinfo=UTC)
        ends.append(closing if now < opening else closing + hours(24))
    known = [end for end in ends if end is not None]
    verdict = why_up(instance, policy, now, Uses(NOON + used * second))
    assert verdict.stops_at == (min(known) if known else None)
    assert list(verdict.bounds) == sorted(verdict.bounds, key=lambda bound: bound.at)
    for bound in verdict.bounds:
        warned = 900 if bound.code is not ReasonCode.IDLE else min(900, (idle or 0) // 2)
        assert any(bound.ends in words for words in verdict.warnings) is (now >= bound.at - warned * second)


# --- idleness ---------------------------------------------------------------------------------------------------------


def test_idleness_counts_from_the_last_use_of_any_kind() -> None:
    policy = Policy("brain", idle_stop_after_seconds=600)
    now = NOON + hours(2)
    read = Uses(NOON, read_at=NOON + hours(1))
    assert why_up(running(), policy, now, read).stops_at == NOON + hours(1) + timedelta(seconds=600)
    job = Uses(NOON, running_jobs=1)
    assert why_up(running(), policy, now, job).stops_at == now + timedelta(seconds=600)
    assert why_up(running(), policy, now, Uses(NOON, running_jobs=0)).stops_at == NOON + timedelta(seconds=600)


def test_who_has_not_looked_calls_nothing_idle() -> None:
    policy = Policy("brain", idle_stop_after_seconds=600)
    assert why_up(running(), policy, NOON + hours(9)).stops_at is None
    assert why_up(running(), policy, NOON + hours(9), Uses(None)).stops_at is None


def test_an_extension_is_a_person_s_word_that_it_is_in_use() -> None:
    extended, _ = running().apply(Event(EventName.EXTEND, "grace", stops_at=NOON + hours(5)), NOON + hours(1))
    verdict = why_up(extended, Policy("brain", idle_stop_after_seconds=3600), NOON + hours(1), Uses(NOON))
    assert verdict.stops_at == NOON + hours(2)


# --- lifetime ---------------------------------------------------------------------------------------------------------


def test_a_lifetime_counts_from_the_accepted_launch_or_start_and_a_resize_does_not_renew_it() -> None:
    policy = Policy("brain", max_lifetime_seconds=3600)
    instance = running()
    later = NOON + timedelta(minutes=30)
    resized, _ = instance.apply(Event(EventName.RESIZE, "grace", size=SIZES[1], build_id="b-2"), later)
    assert why_up(resized, policy, later).stops_at == NOON + hours(1)
    stopping, _ = instance.apply(Event(EventName.STOP, "grace", build_id="b-2"), later)
    stopped, _ = stopping.apply(Event(EventName.BUILD_SUCCEEDED, "platform"), later)
    assert why_up(stopped, policy, later).stops_at is None
    started, _ = stopped.apply(Event(EventName.START, "grace", build_id="b-3"), later)
    assert why_up(started, policy, later).stops_at == later + hours(1)


def test_an_instance_of_before_there_were_policies_counts_from_when_it_ran() -> None:
    old = replace(running(NOON + hours(1)), up_since=None)
    assert why_up(old, Policy("brain", max_lifetime_seconds=3600), NOON + hours(1)).stops_at == NOON + hours(2)


def test_what_has_failed_or_stopped_has_no_time_to_stop() -> None:
    crashed, _ = running(stops_at=NOON + hours(1)).apply(
        Event(EventName.CRASHED, "platform", reason=Reason(ReasonCode.JUPYTER_EXITED, "it ended")), NOON
    )
    assert crashed.status is Status.FAILED
    assert why_up(crashed, Policy("brain", max_lifetime_seconds=60), NOON, Uses(NOON)).bounds == ()


# --- what nobody may ask for ------------------------------------------------------------------------------------------


@given(st.integers(60, 90_000), st.integers(60, 90_000))
def test_a_time_is_refused_exactly_when_it_is_beyond_the_longest(asked: int, longest: int) -> None:
    instance = launched(stops_at=NOON + timedelta(seconds=asked))
    policy = Policy("brain", max_lifetime_seconds=longest)
    if asked <= longest:
        require_allowed(instance, EventName.LAUNCH, policy, NOON)
        return
    with pytest.raises(RefusedError) as caught:
        require_allowed(instance, EventName.LAUNCH, policy, NOON)
    assert span(longest) in caught.value.message
    assert caught.value.details[0][0] == "stop_after_seconds"


def test_strict_hours_refuse_what_would_bring_it_up_and_nothing_else() -> None:
    strict = Policy("brain", schedule=replace(DAY_HOURS, is_strict=True))
    night = NOON + hours(9)
    for event in (EventName.LAUNCH, EventName.START, EventName.RETRY, EventName.RESIZE):
        with pytest.raises(RefusedError, match=r"before 2026-11-03 07:00 UTC"):
            require_allowed(launched(), event, strict, night)
        require_allowed(launched(), event, strict, NOON)
        require_allowed(launched(), event, Policy("brain", schedule=DAY_HOURS), night)
    stopping, _ = running().apply(Event(EventName.STOP, "grace", build_id="b-2"), night)
    for event in (EventName.STOP, EventName.DELETE, EventName.RETRY):
        require_allowed(stopping, event, strict, night)


# --- whose words hold -------------------------------------------------------------------------------------------------


def cluster(default: PolicyIn | None, own: PolicyIn | None) -> Cluster:
    return Cluster(
        revision=1,
        version=1,
        currency="EUR",
        projects={"brain": ProjectIn(name="brain", policy=own)},
        sizes=Sizes.of((), (), (), ()),
        images={},
        datasets={},
        places={},
        rates=(),
        policy=default,
    )


def test_a_project_s_own_words_go_before_the_cluster_s_and_nought_means_none() -> None:
    days = tuple(Weekday)[:5]
    default = PolicyIn(
        idle_stop_after=3600,
        max_lifetime=7200,
        schedule=ScheduleIn(time_zone="Europe/Berlin", hours=(HoursIn(days=days, start_at="07:00", stop_at="19:00"),)),
    )
    assert policy_for(cluster(None, None), "brain") == Policy("brain")
    inherited = policy_for(cluster(default, PolicyIn(max_lifetime=60)), "brain")
    assert (inherited.idle_stop_after_seconds, inherited.max_lifetime_seconds) == (3600, 60)
    assert inherited.schedule == Schedule("Europe/Berlin", (Hours((0, 1, 2, 3, 4), time(7), time(19)),))
    free = policy_for(cluster(default, PolicyIn(idle_stop_after=0, max_lifetime=0, schedule=ScheduleIn())), "brain")
    assert free == Policy("brain")
    assert policy_for(cluster(PolicyIn(warn_before=60), PolicyIn(warn_before=0)), "brain").warn_before_seconds == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(60, "1 minute"), (5400, "90 minutes"), (28_800, "8 hours"), (86_400, "1 day"), (61, "61 seconds")],
)
def test_a_span_is_told_in_the_largest_unit_that_is_exact(seconds: int, words: str) -> None:
    assert span(seconds) == words
