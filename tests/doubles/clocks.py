"""Clocks that move only when told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 2, 9, 0, 0, tzinfo=UTC)
"""A Monday at nine: where every fixed clock begins unless told otherwise."""


class FixedClock:
    """Stands still until `advance` or `set`."""

    def __init__(self, at: datetime = START) -> None:
        if at.tzinfo is None:
            message = "a clock's time is aware"
            raise ValueError(message)
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self._at.replace(microsecond=0)

    def advance(self, step: float | timedelta) -> datetime:
        """Move forward by seconds or a timedelta (parts of a second add up); return the new time."""
        delta = step if isinstance(step, timedelta) else timedelta(seconds=step)
        if delta < timedelta(0):
            message = "this clock only moves forward; StepBackClock goes back"
            raise ValueError(message)
        self._at += delta
        return self.now()

    def set(self, at: datetime) -> None:
        """Move forward to `at`."""
        self.advance(at - self._at)


class StepBackClock(FixedClock):
    """A clock that somebody sets back: `step_back`, or at its `after`-th reading by `back_s` seconds."""

    def __init__(self, at: datetime = START, *, after: int | None = None, back_s: float = 60) -> None:
        super().__init__(at)
        self._after = after
        self._back_s = back_s
        self.readings = 0

    def now(self) -> datetime:
        self.readings += 1
        if self.readings == self._after:
            self.step_back(self._back_s)
        return self._at.replace(microsecond=0)

    def step_back(self, seconds: float) -> None:
        self._at -= timedelta(seconds=seconds)
