"""Weekly hours as moments: against a minute-by-minute look, over clock changes, past midnight."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightingale.domain.schedule import Hours, Schedule, overlaps, zone_of

WORKDAYS = (0, 1, 2, 3, 4)
EVERY_DAY = tuple(range(7))
BERLIN = "Europe/Berlin"
ZONES = ("UTC", BERLIN, "America/New_York", "Pacific/Auckland", "Asia/Kathmandu", "Australia/Lord_Howe")


def at(text: str) -> datetime:
    """Return `2026-11-02 09:00` as aware UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def office(zone: str = "UTC") -> Schedule:
    return Schedule(zone, (Hours(WORKDAYS, time(7), time(19)),))


@pytest.mark.parametrize(
    ("now", "is_open", "closes_at", "opens_at"),
    [
        ("2026-11-02 06:59", False, "2026-11-02 19:00", "2026-11-02 07:00"),
        ("2026-11-02 07:00", True, "2026-11-02 19:00", "2026-11-03 07:00"),
        ("2026-11-02 18:59", True, "2026-11-02 19:00", "2026-11-03 07:00"),
        ("2026-11-02 19:00", False, "2026-11-03 19:00", "2026-11-03 07:00"),
        ("2026-11-06 20:00", False, "2026-11-09 19:00", "2026-11-09 07:00"),  # over the weekend
    ],
)
def test_hours_are_open_from_their_beginning_to_just_before_their_end(
    *, now: str, is_open: bool, closes_at: str, opens_at: str
) -> None:
    standing = office().standing(at(now))
    assert (standing.is_open, standing.closes_at, standing.opens_at) == (is_open, at(closes_at), at(opens_at))


def test_hours_past_midnight_end_on_the_next_day() -> None:
    night = Schedule("UTC", (Hours((4,), time(22), time(6)),))
    assert night.standing(at("2026-11-07 05:00")).closes_at == at("2026-11-07 06:00")
    assert night.standing(at("2026-11-07 05:00")).is_open
    assert not night.standing(at("2026-11-06 05:00")).is_open


def test_a_row_without_a_beginning_only_ends() -> None:
    standing = Schedule("UTC", (Hours(EVERY_DAY, None, time(20)),)).standing(at("2026-11-02 21:00"))
    assert (standing.is_open, standing.opens_at) == (False, None)
    assert (standing.closed_at, standing.closes_at) == (at("2026-11-02 20:00"), at("2026-11-03 20:00"))


def test_hours_that_follow_each_other_have_no_end_between_them() -> None:
    halves = Schedule("UTC", (Hours(WORKDAYS, time(7), time(12)), Hours(WORKDAYS, time(12), time(19))))
    assert halves.standing(at("2026-11-02 12:00")).closes_at == at("2026-11-02 19:00")


def test_hours_round_the_clock_never_end_and_never_begin() -> None:
    standing = Schedule(BERLIN, (Hours(EVERY_DAY, time(0), time(0)),)).standing(at("2026-11-02 09:00"))
    assert (standing.is_open, standing.closed_at, standing.closes_at, standing.opens_at) == (True, None, None, None)


# --- clock changes ----------------------------------------------------------------------------------------------------


def test_the_wall_clock_stays_what_it_says_over_both_clock_changes() -> None:
    assert office(BERLIN).standing(at("2026-03-27 12:00")).closes_at == at("2026-03-27 18:00")  # winter: UTC+1
    assert office(BERLIN).standing(at("2026-03-30 12:00")).closes_at == at("2026-03-30 17:00")  # summer: UTC+2
    assert office(BERLIN).standing(at("2026-10-26 12:00")).closes_at == at("2026-10-26 18:00")


def test_a_time_that_the_clock_skips_is_as_long_after_the_jump() -> None:
    # Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC, so 02:30 is 03:30 of the new time.
    stop = Schedule(BERLIN, (Hours((6,), None, time(2, 30)),)).standing(at("2026-03-29 00:00"))
    assert stop.closes_at == at("2026-03-29 01:30")


def test_a_time_that_the_clock_shows_twice_is_the_first() -> None:
    # Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC; 02:30 comes at 00:30 and at 01:30 UTC.
    standing = Schedule(BERLIN, (Hours((6,), None, time(2, 30)),)).standing(at("2026-10-25 00:00"))
    assert standing.closes_at == at("2026-10-25 00:30")
    after = Schedule(BERLIN, (Hours((6,), None, time(2, 30)),)).standing(at("2026-10-25 00:45"))
    assert after.closes_at == at("2026-11-01 01:30")


def test_hours_that_the_jump_swallows_do_not_open_and_still_end() -> None:
    swallowed = Schedule(BERLIN, (Hours((6,), time(2, 30), time(3, 15)),))
    standing = swallowed.standing(at("2026-03-29 00:00"))
    assert standing.closes_at == at("2026-03-29 01:15")
    assert standing.opens_at == at("2026-04-05 00:30")


# --- properties -------------------------------------------------------------------------------------------------------

minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))
days = st.sets(st.integers(0, 6), min_size=1).map(lambda found: tuple(sorted(found)))
rows = st.builds(Hours, weekdays=days, start_at=st.none() | minutes, stop_at=minutes)
schedules = st.builds(
    Schedule, time_zone=st.sampled_from(ZONES), hours=st.lists(rows, min_size=1, max_size=4).map(tuple)
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(  # noqa: DTZ001 - made aware right here
    lambda found: found.replace(tzinfo=UTC, microsecond=0)
)


@given(schedules, moments)
def test_what_is_next_is_after_now_and_what_was_is_not(schedule: Schedule, now: datetime) -> None:
    standing = schedule.standing(now)
    assert standing.closed_at is None or standing.closed_at <= now
    assert standing.closes_at is None or now < standing.closes_at <= now + timedelta(days=8)
    assert standing.opens_at is None or now < standing.opens_at
    if standing.closes_at is not None and standing.opens_at is not None and not standing.is_open:
        assert schedule.standing(standing.opens_at).is_open
    if standing.closes_at is not None:
        assert not schedule.standing(standing.closes_at).is_open
        assert schedule.standing(standing.closes_at).closed_at == standing.closes_at


@given(schedules, moments)
def test_nothing_changes_between_now_and_what_is_next(schedule: Schedule, now: datetime) -> None:
    standing = schedule.standing(now)
    following = [moment for moment in (standing.closes_at, standing.opens_at) if moment is not None]
    if following:
        just_before = schedule.standing(min(following) - timedelta(seconds=1))
        assert just_before == standing


@given(st.lists(rows, min_size=1, max_size=3).map(tuple), moments)
def test_without_clock_changes_it_is_what_a_look_at_the_wall_clock_says(
    hours: tuple[Hours, ...], now: datetime
) -> None:
    local = now.astimezone(ZoneInfo("Asia/Kathmandu"))
    wall, today, yesterday = local.time(), local.weekday(), (local.weekday() - 1) % 7
    is_open = False
    for row in hours:
        if row.start_at is None:
            continue
        if row.start_at < row.stop_at:
            is_open |= today in row.weekdays and row.start_at <= wall < row.stop_at
        else:
            is_open |= today in row.weekdays and wall >= row.start_at
            is_open |= yesterday in row.weekdays and wall < row.stop_at
    assert Schedule("Asia/Kathmandu", hours).standing(now).is_open == is_open


# --- what a file may say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "is_bad"),
    [
        ((Hours(WORKDAYS, time(7), time(19)),), False),
        ((Hours((0,), time(7), time(12)), Hours((0,), time(12), time(19))), False),
        ((Hours((0,), time(7), time(12)), Hours((0,), time(11), time(19))), True),
        ((Hours((0,), time(7), time(19)), Hours((0,), None, time(12))), True),
        ((Hours((0,), time(7), time(19)), Hours((0,), None, time(20))), False),
        ((Hours((6,), time(22), time(6)), Hours((0,), time(5), time(7))), True),  # over the end of the week
        ((Hours((0,), None, time(12)), Hours((0,), None, time(12))), True),
        ((Hours(EVERY_DAY, time(0), time(0)),), False),
    ],
)
def test_rows_that_claim_the_same_minute_overlap(*, hours: tuple[Hours, ...], is_bad: bool) -> None:
    assert overlaps(hours) is is_bad
    assert overlaps(tuple(reversed(hours))) is is_bad


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_a_time_zone_that_is_none_is_an_error_of_one_kind(name: str) -> None:
    with pytest.raises(LookupError):
        zone_of(name)
