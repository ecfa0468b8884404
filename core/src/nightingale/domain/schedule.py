"""The weekly hours in which instances are up: which are open now, and when they end and begin next.

Wall-clock times of a time zone become moments as RFC 5545 (3.3.5) says: one that the clock skips in spring is counted
from the offset before the jump (02:30 becomes 03:30), one that it shows twice in autumn is the first of the two. Hours
whose beginning the jump carries past their end do not open on that day; their end stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

_DAY = timedelta(days=1)
_DAYS_AROUND = 9
"""A week and a day each way, and one for the distance between any place and UTC."""

_FARTHEST = timedelta(days=8)
"""A later end is none: hours that follow each other all week end only where we stopped to look."""

_WEEK_MINUTES = 7 * 24 * 60


@dataclass(frozen=True)
class Hours:
    """One row: on these weekdays (Monday is 0) from `start_at` to `stop_at`, past midnight where that is not later.

    Without `start_at` nothing opens: whatever is up at `stop_at` stops.
    """

    weekdays: tuple[int, ...]
    start_at: time | None
    stop_at: time


@dataclass(frozen=True)
class Standing:
    """A schedule at one moment, in aware UTC."""

    is_open: bool
    closed_at: datetime | None
    """The last time at which hours ended, up to now."""
    closes_at: datetime | None
    opens_at: datetime | None
    """The next times, after now."""


@dataclass(frozen=True)
class Schedule:
    """The rows of a week in one time zone (an IANA name). Strict: nothing is up outside of them."""

    time_zone: str
    hours: tuple[Hours, ...]
    is_strict: bool = False

    def standing(self, now: datetime) -> Standing:
        """Return how it stands at `now`. Raises LookupError for a time zone that this machine lacks."""
        spans = _spans(self, now.astimezone(UTC).date())
        ends = [stop for _, stop in spans]
        return Standing(
            is_open=any(start <= now < stop for start, stop in spans),
            closed_at=max((at for at in ends if at <= now), default=None),
            closes_at=min((at for at in ends if now < at < now + _FARTHEST), default=None),
            opens_at=min((start for start, stop in spans if start > now and start < stop), default=None),
        )


def zone_of(name: str) -> tzinfo:
    """Return the time zone of this IANA name. Raises LookupError when this machine has none."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - reads the build's settings: only where needed

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder's name is an OSError
        raise LookupError(name) from error


@lru_cache(maxsize=512)
def _spans(schedule: Schedule, day: date) -> tuple[tuple[datetime, datetime], ...]:
    """Return the hours around a day as moments, those that touch or overlap as one; empty ones are bare ends."""
    zone = zone_of(schedule.time_zone)
    spans: list[tuple[datetime, datetime]] = []
    for distance in range(-_DAYS_AROUND, _DAYS_AROUND + 1):
        on = day + distance * _DAY
        for row in schedule.hours:
            if on.weekday() not in row.weekdays:
                continue
            is_next_day = row.start_at is not None and row.stop_at <= row.start_at
            stop = _moment(on + _DAY if is_next_day else on, row.stop_at, zone)
            start = stop if row.start_at is None else min(_moment(on, row.start_at, zone), stop)
            spans.append((start, stop))
    merged: list[tuple[datetime, datetime]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return tuple(merged)


def _moment(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


def overlaps(hours: tuple[Hours, ...]) -> bool:
    """Return whether two rows claim the same minute of the week, or one's end lies inside another."""
    spans = sorted(
        (day * 24 * 60 + begin, length) for row in hours for day in row.weekdays for begin, length in [_minutes(row)]
    )
    following = [*spans[1:], *((begin + _WEEK_MINUTES, length) for begin, length in spans[:1])]
    return any(
        begin + length > after or (begin == after and length == other == 0)
        for (begin, length), (after, other) in zip(spans, following, strict=True)
        if len(spans) > 1
    )


def _minutes(row: Hours) -> tuple[int, int]:
    """Return the minute of the day at which a row begins and how many it lasts."""
    stop = row.stop_at.hour * 60 + row.stop_at.minute
    if row.start_at is None:
        return stop, 0
    start = row.start_at.hour * 60 + row.start_at.minute
    return start, (stop - start) % (24 * 60) or 24 * 60
