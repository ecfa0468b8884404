"""What has been in flight for longer than it may be."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial

from nightingale.contract.vocabulary import Status
from nightingale.domain.deadlines import timed_from
from nightingale.domain.instance import Instance
from nightingale.services.clock_steps import ClockSteps
from nightingale.services.known_instances import KnownInstances
from nightingale.services.lifecycle import Lifecycle
from nightingale.services.reasons import deadline_reason

Keep = Callable[[Instance, Callable[[], Instance]], None]
"""Runs a change and remembers the instance as it is afterwards."""


def fail_overdue(
    lifecycle: Lifecycle,
    known: KnownInstances,
    steps: ClockSteps,
    now: datetime,
    keep: Keep,
    *,
    places: Collection[str],
) -> None:
    """Fail every instance of these places whose status has lasted for as long as it may.

    One whose build nobody has taken yet is offered to the builder once more (a watcher that has only begun has not
    asked): while the builder says that others are in front, it may wait longer.
    """
    deadlines = lifecycle.deadlines
    for instance in known.in_flight():
        since = timed_from(instance)
        if since is None:
            continue
        lasted = steps.lasted(f"{instance.id}/{instance.seq}", since, now)
        if lasted < deadlines.of(instance.status) or instance.place not in places:
            continue
        is_queued = False
        if instance.status is Status.REQUESTED:
            keep(instance, partial(lifecycle.start_build, instance))
            there = known.find(instance.id)
            if there is None or there.seq != instance.seq:
                continue  # it was taken at last
            is_queued = instance.build_id in lifecycle.waiting
        if not is_queued or lasted >= deadlines.queued:
            reason = deadline_reason(instance, deadlines, is_queued=is_queued)
            keep(instance, partial(lifecycle.expire, instance, reason))
