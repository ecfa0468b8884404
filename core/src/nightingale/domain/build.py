"""A build: one Terraform run for one instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from nightingale.contract.build import BuildResult
from nightingale.contract.vocabulary import Action, BuildState, DesiredState
from nightingale.domain.history import Reason
from nightingale.domain.instance import Instance

_MOST_TEXT = 400
"""An id of Azure names subscription, group, kind and machine."""


@dataclass(frozen=True)
class Build:
    """Its id is also the key under which the builder starts it once."""

    id: str
    instance_id: str
    project: str
    generation: int
    action: Action
    desired_state: DesiredState
    state: BuildState
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    init_ms: int | None = None
    apply_ms: int | None = None
    """Milliseconds: the store keeps no floats."""
    reason: Reason | None = None
    machine_id: str | None = None
    """The cloud's own id of the machine that this build made or kept."""
    identity_id: str | None = None
    """The id of that machine's own identity, where it proves itself by one: in Azure."""
    address: str | None = None
    """Where Jupyter listens there."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What Terraform was told, fixed when the build was queued: a retry of the same build asks for the same thing."""

    @staticmethod
    def queue(build_id: str, instance: Instance, at: datetime, variables: Mapping[str, Any]) -> Build:
        """Return the queued build of the status that the instance has just entered."""
        return Build(
            id=build_id,
            instance_id=instance.id,
            project=instance.project,
            generation=instance.generation,
            action=instance.action,
            desired_state=instance.desired_state,
            state=BuildState.QUEUED,
            created_at=at,
            variables=variables,
        )

    @property
    def proves_as(self) -> str | None:
        """Return what the cloud will say that this build's machine is; None when it made none."""
        return self.machine_id if self.identity_id is None else self.identity_id.lower()

    def started(self, at: datetime) -> Build:
        """Return it as running."""
        return replace(self, state=BuildState.RUNNING, started_at=max(at, self.created_at))

    def ended(self, result: BuildResult) -> Build:
        """Return it as its result says."""
        reason = None
        if result.code is not None:
            reason = Reason(result.code, result.words, result.next_step, self.action, result.log_tail)
        return replace(
            self,
            state=BuildState.SUCCEEDED if result.is_ok else BuildState.FAILED,
            started_at=self.started_at or result.started_at,
            finished_at=result.finished_at,
            init_ms=round(result.init_s * 1000),
            apply_ms=round(result.apply_s * 1000),
            reason=reason,
            machine_id=_text(_of(result.outputs, "resource_ids").get("instance")),
            identity_id=_text(_of(result.outputs, "resource_ids").get("identity")),
            address=_text(result.outputs.get("address")),
        )


def _of(outputs: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = outputs.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(value: object) -> str | None:
    return value[:_MOST_TEXT] if isinstance(value, str) and value else None
