"""How long things may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from nightingale.contract.vocabulary import Status


@dataclass(frozen=True)
class Deadlines:
    """How long each status in flight may last, and how long a running server may stay silent."""

    requested: timedelta = timedelta(seconds=60)
    queued: timedelta = timedelta(minutes=15)
    """In place of `requested`, while the builder says that others are in front."""
    provisioning: timedelta = timedelta(minutes=10)
    starting: timedelta = timedelta(minutes=2)
    stopping: timedelta = timedelta(minutes=5)
    resizing: timedelta = timedelta(minutes=10)
    terminating: timedelta = timedelta(minutes=10)
    unreachable: timedelta = timedelta(seconds=30)

    def of(self, status: Status) -> timedelta:
        """Return the longest time in `status`, which is one in flight."""
        span: timedelta = getattr(self, status.value)
        return span
