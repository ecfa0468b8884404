"""The schedules of timers: six fields, `second minute hour day month weekday`, each `*`, numbers, ranges or steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_FIELDS = (("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 6))
_PART = re.compile(r"(?:(\*)|(\d+)(?:-(\d+))?)(?:/(\d+))?")
_FARTHEST = timedelta(days=366)


class ScheduleError(Exception):
    """The text is no schedule; the message says which field is at fault."""


@dataclass(frozen=True)
class Schedule:
    """When a timer is due. Days of the week count from Sunday, which is 0."""

    fields: tuple[frozenset[int], ...]

    @staticmethod
    def read(text: str) -> Schedule:
        """Return the schedule of a text like `0 */5 * * * *`. Raises ScheduleError."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ScheduleError(f"{text!r} has {len(parts)} fields and not {len(_FIELDS)}")
        return Schedule(tuple(_field(part, *told) for part, told in zip(parts, _FIELDS, strict=True)))

    def after(self, moment: datetime) -> datetime:
        """Return the first due time later than this one. Raises ScheduleError when there is none within a year."""
        second, minute, hour, *_ = self.fields
        due = moment.replace(microsecond=0) + timedelta(seconds=1)
        until = moment + _FARTHEST
        while due <= until:
            if not self._is_day(due):
                due = due.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif due.hour not in hour:
                due = due.replace(minute=0, second=0) + timedelta(hours=1)
            elif due.minute not in minute:
                due = due.replace(second=0) + timedelta(minutes=1)
            elif due.second not in second:
                due += timedelta(seconds=1)
            else:
                return due
        raise ScheduleError("the schedule names no time of the next year")

    def _is_day(self, moment: datetime) -> bool:
        *_, day, month, weekday = self.fields
        return moment.day in day and moment.month in month and moment.isoweekday() % 7 in weekday


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ScheduleError(f"{part!r} says no {name}")
        is_any, first, last, step = match.groups()
        begin = low if is_any else int(first)
        end = high if is_any or (step and not last) else int(last or first)
        if not low <= begin <= end <= high or step == "0":
            raise ScheduleError(f"{part!r} is no {name}: it goes from {low} to {high}")
        found |= set(range(begin, end + 1, int(step or 1)))
    return frozenset(found)
