"""Clocks that step: a machine's time is set, or the machine slept, and what lasts must neither end at once nor never.

The watcher beats every second. Where the clock says something else between two beats, it stepped:

    forward   nothing was seen of the time between, so nothing that is waited for has lasted longer than since then
    back      times written before lie ahead of now; what began at such a time began when it was first looked at

Times that people set (stop at six, up for eight hours at most) follow the clock wherever it goes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

_LOG = logging.getLogger(__name__)

LONGEST_BEAT = timedelta(seconds=60)
"""A beat that comes later than this found a clock that stepped, or a machine that slept."""


@dataclass
class ClockSteps:
    """What one watcher knows of its clock's steps. Its methods may be called from many threads."""

    _beat_at: datetime | None = None
    _forward_at: datetime | None = None
    _ahead: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)

    def note(self, now: datetime) -> None:
        """Take up the time of a beat; a step is told in the log."""
        before, self._beat_at = self._beat_at, now
        self._ahead = {what: seen for what, seen in tuple(self._ahead.items()) if seen[0] > now}
        passed = now - before if before is not None else timedelta()
        if timedelta() <= passed <= LONGEST_BEAT:
            return
        self._forward_at = now if passed > timedelta() else None
        way = "forward, or this machine slept" if passed > timedelta() else "back"
        _LOG.error("the clock stepped %s", way, extra={"code": "clock_stepped", "seconds": passed.total_seconds()})

    def lasted(self, what: str, at: datetime, now: datetime) -> timedelta:
        """Return for how long `what`, which by its record began at `at`, has lasted as this watcher saw it."""
        if at <= now:
            return now - self.after_step(at, now)
        known = self._ahead.get(what)
        if known is None or known[0] != at or known[1] > now:
            known = self._ahead[what] = (at, now)
        return now - known[1]

    def after_step(self, at: datetime, now: datetime) -> datetime:
        """Return `at`, or the moment after the last step forward where that came later."""
        forward = self._forward_at
        return max(at, forward) if forward is not None and forward <= now else at
