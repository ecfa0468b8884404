"""How long things may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nightingale.contract.vocabulary import Status

if TYPE_CHECKING:
    from nightingale.domain.instance import Instance


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


def timed_from(instance: Instance) -> datetime | None:
    """Return from when its status is timed, None while it stands still.

    A server that is frozen while it starts cannot come up: it is not over time, and has its whole time again once it is
    released.
    """
    held = instance.quarantine
    if instance.status is not Status.STARTING or held is None:
        return instance.status_at
    return None if held.released_at is None else max(instance.status_at, held.released_at)
