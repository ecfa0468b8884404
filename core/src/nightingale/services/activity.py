"""Activity: when a server was last used, and whether that is long ago. Only edges are worth a write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from nightingale.domain.instance import Instance
from nightingale.ports.prober import Activity

_WORTH_A_WRITE = timedelta(seconds=15)
"""How far the last activity must have moved."""


def active_at(instance: Instance, seen: Activity, now: datetime) -> datetime:
    """Return when it was last at work: now with a busy kernel or a job; activity of an earlier start counts as none."""
    worked_at = instance.work.used_at(now) or seen.last_activity_at
    return now if seen.is_busy else min(now, max(seen.last_activity_at, worked_at, instance.running_since or now))


def activity_edge(
    instance: Instance, seen: Activity | None, now: datetime, idle_after: timedelta
) -> Callable[[Instance], Instance] | None:
    """Return what to change of a running instance after this look, None when there is nothing worth a write."""
    if seen is None:
        return None
    last = active_at(instance, seen, now)
    is_idle = now - last >= idle_after
    known = instance.last_activity_at
    if is_idle == instance.is_idle and known is not None and abs(last - known) < _WORTH_A_WRITE:
        return None
    return partial(with_activity, last_activity_at=last, is_idle=is_idle)


def with_activity(instance: Instance, last_activity_at: datetime, *, is_idle: bool) -> Instance:
    """Return the instance with what was seen of its activity."""
    return replace(instance, last_activity_at=last_activity_at, is_idle=is_idle)
