"""What the end of a build is to its instance."""

from __future__ import annotations

from nightingale.contract.build import BuildResult
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale.domain.history import Event, EventName
from nightingale.domain.instance import Instance
from nightingale.ports.clock import Ids


def end_event(instance: Instance, result: BuildResult, ids: Ids) -> Event:
    """Return the event; one by which the launch goes on in another place carries the id of the build for it."""
    if result.is_ok:
        is_arriving = instance.moving.is_leaving and instance.status is Status.PROVISIONING
        return Event(EventName.BUILD_SUCCEEDED, "platform", build_id=ids.new("b") if is_arriving else None)
    if result.code is ReasonCode.NO_CAPACITY and instance.accepts(EventName.MOVED_ON):
        return Event(EventName.MOVED_ON, "platform", build_id=ids.new("b"))
    return Event(EventName.BUILD_FAILED, "platform")
