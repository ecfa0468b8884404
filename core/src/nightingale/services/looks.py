"""Looks at machines that a place's trouble must not turn into news about an instance."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from nightingale.contract.build import LauncherRecord
from nightingale.contract.schemas import LimitOut, ObserverOut
from nightingale.domain.history import Event, EventName
from nightingale.domain.instance import Instance
from nightingale.ports.builder import Builder, BuilderUnavailableError, BuildSeen
from nightingale.ports.machines import Machines, MachineSeen, MachineUnavailableError
from nightingale.ports.store import StoreUnavailableError

_LOG = logging.getLogger(__name__)
_TAIL_LINES = 20


def look_at(machines: Mapping[str, Machines], instance: Instance) -> MachineSeen | None:
    """Return what is seen of its machine; None when its place cannot be asked now, which says nothing about it."""
    try:
        return machines[instance.place].look(instance.id, instance.generation)
    except (MachineUnavailableError, StoreUnavailableError) as error:
        _LOG.warning("a machine cannot be looked at", extra={"instance": instance.id, "why": str(error)})
        return None


def look_at_build(builders: Mapping[str, Builder], instance: Instance) -> BuildSeen | None:
    """Return how its present build stands; None when it has none, or its builder cannot be asked now."""
    builder = builders.get(instance.place)
    if builder is None or instance.build_id is None:
        return None
    try:
        return builder.look(instance.build_id)
    except BuilderUnavailableError as error:
        _LOG.warning("a build cannot be looked at", extra={"build_id": instance.build_id, "why": str(error)})
        return None


def ready_event(instance: Instance, launcher: LauncherRecord) -> Event:
    """Return the event that its server, started so, is ready."""
    return Event(
        EventName.BECAME_READY,
        "platform",
        sandbox=launcher.sandbox,
        limits=tuple(msgspec.convert(limit, LimitOut) for limit in launcher.limits),
        observer=ObserverOut(name=launcher.observer, words=launcher.observer_words) if instance.mounts else None,
        image_digest=launcher.image_digest,
    )


def tail_of(machines: Mapping[str, Machines], instance: Instance) -> tuple[str, ...]:
    """Return the last lines of its log, none when its place cannot be asked now."""
    place = machines[instance.place]
    try:
        return place.read_log(instance.id, place.log_tail_offset(instance.id, _TAIL_LINES), _TAIL_LINES)[0]
    except (MachineUnavailableError, StoreUnavailableError):
        return ()
