"""Quarantine: an instance is kept as it is, cut off and frozen, until an administrator lets it go.

    saved ── machine told ──┬── it is so: settled
                            └── it is not: why is shown, and the watcher tells it again each second until it is so

What is saved decides: the gateway's next question (5 s at most), a browser's next code and the owner's next command are
refused at once, whatever the machine says. Everything here may be done twice, and by several at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import ClusterApplyIn, ClusterIn
from nightingale.contract.vocabulary import AuditTag, Status
from nightingale.domain.access import Principal
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName
from nightingale.domain.instance import Instance
from nightingale.domain.quarantine import Quarantine
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock
from nightingale.ports.machines import Machines, MachineUnavailableError
from nightingale.ports.store import ConditionFailedError, Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.cluster import ClusterService
from nightingale.services.lifecycle import Lifecycle, not_found

_LOG = logging.getLogger(__name__)
_TRIES = 20
_ACTOR = "platform"


@dataclass(frozen=True)
class QuarantineService:
    """Puts instances in quarantine, releases them, and sees to it that their machines follow."""

    store: Store
    clock: Clock
    lifecycle: Lifecycle
    machines: Mapping[str, Machines]
    catalog: CatalogService
    cluster: ClusterService
    audit: AuditLog

    def quarantine(self, actor: str, project: str, instance: str, why: str, by_rule: str | None = None) -> Instance:
        """Put an instance, by its name or id, in quarantine; one that is in quarantine stays in the one it has.

        `why` is shown to administrators only and leaves the platform nowhere. Returns the instance as it then is: its
        quarantine says whether its machine has followed. Raises RefusedError: `not_found`, `not_allowed_now` once it is
        terminated. Raises AuditLogUnavailableError, StoreUnavailableError: nothing has happened then, or the quarantine
        is saved and the watcher goes on; called again, it says which.
        """
        event = Event(EventName.QUARANTINE, actor, note=why, by_rule=by_rule or "")
        detail = {"rule": by_rule} if by_rule else {}
        return self._change(event, project, instance, AuditTag.INSTANCE_QUARANTINED, detail)

    def release(self, actor: str, project: str, instance: str, why: str) -> Instance:
        """Let an instance go on where it was; one that is in no quarantine stays so. Returns and raises as above."""
        event = Event(EventName.RELEASE, actor, note=why)
        return self._change(event, project, instance, AuditTag.INSTANCE_RELEASED, {})

    def _change(self, event: Event, project: str, name: str, tag: AuditTag, detail: Mapping[str, str]) -> Instance:
        is_wanted = event.name is EventName.QUARANTINE
        found = self._find(project, name)
        for _ in range(_TRIES):
            if found.is_quarantined is is_wanted:
                return self.settle(found)
            try:
                changed = self.lifecycle.apply(
                    project, found.id, event, announce=lambda one: self._record(tag, event.actor, one, detail)
                )
            except RefusedError as refusal:
                found = self._find(project, found.id)
                if refusal.code is ErrorCode.NOT_ALLOWED_NOW and found.is_quarantined is is_wanted:
                    continue  # somebody else was quicker with the same
                raise
            return self.settle(changed)
        words = f"{name} is being changed by others at this moment"
        raise RefusedError(ErrorCode.BUSY, words, "Try again in a second.")

    def settle(self, instance: Instance) -> Instance:
        """Make its machine follow what is saved, write down whether it did, and return the instance as it then is.

        Whoever was quicker meanwhile is followed too: the machine ends as the last of them wanted it.
        """
        stored = self.lifecycle.find(instance.project, instance.id)  # what a watcher remembers may be of yesterday
        instance = stored.instance if stored is not None else instance
        for number in range(_TRIES):
            asked = instance.quarantine
            if asked is None or instance.status is Status.TERMINATED:
                break
            # A machine that was let go is left alone, unless it was just told otherwise here.
            if asked.settled_at is not None and not asked.is_held and not number:
                break
            instance = self._note(instance, asked, self._tell(instance, asked))
            if (now := instance.quarantine) is not None and _is_same(now, asked):
                break
        return instance

    def _tell(self, instance: Instance, asked: Quarantine) -> str:
        """Return why the machine is not as asked; empty once it is."""
        machines = self.machines.get(instance.place)
        if machines is None:
            return f"this platform runs no machines in {instance.place}"
        try:
            if asked.is_held:
                machines.quarantine(instance.id)
            else:
                machines.release(instance.id)
        except MachineUnavailableError as error:
            _LOG.warning("a machine does not follow its quarantine", extra={"instance": instance.id, "why": str(error)})
            return str(error)
        return ""

    def _note(self, instance: Instance, asked: Quarantine, trouble: str) -> Instance:
        """Write down how it went, unless that is known; it makes no history."""
        stored = self.lifecycle.find(instance.project, instance.id)
        for _ in range(_TRIES):
            if stored is None or stored.instance.status is Status.TERMINATED:
                break
            held = stored.instance.quarantine
            if held is None or not _is_same(held, asked):
                return stored.instance
            if held.trouble == trouble and bool(trouble) is (held.settled_at is None):
                return stored.instance  # known
            is_held, has_failed = asked.is_held, bool(trouble)
            tag = {
                (True, False): AuditTag.INSTANCE_HELD,
                (True, True): AuditTag.INSTANCE_NOT_HELD,
                (False, False): AuditTag.INSTANCE_LET_GO,
                (False, True): AuditTag.INSTANCE_NOT_LET_GO,
            }[is_held, has_failed]
            self._record(tag, _ACTOR, stored.instance, {"why": trouble} if trouble else {})
            settled_at = None if trouble else self.clock.now()
            changed = replace(stored.instance, quarantine=replace(held, settled_at=settled_at, trouble=trouble))
            try:
                self.store.put(records.instance_item(changed, stored.version))
            except ConditionFailedError:
                stored = self.lifecycle.find(instance.project, instance.id)
                continue
            return changed
        return stored.instance if stored is not None else instance

    def revoke_person(self, actor: str, person: str, why: str, by_rule: str | None = None) -> bool:
        """Take a person out of the cluster, as `nightingale admin user revoke` does; return whether they were in it.

        Their sessions end with the next request and their tunnels with the next renewal; files, instances and bills
        stay. `why` stays in the platform's own record. Raises RefusedError: `not_found`, `invalid` where the cluster
        cannot be without them (its last administrator), `cluster_changed` when others change it all the time.
        """
        known = self.catalog.find_person(person)
        if known is None:
            raise RefusedError(ErrorCode.NOT_FOUND, f"there is no person {person}", "Check the name.")
        acting = Principal(name=actor, is_admin=True, is_person=False)
        for left in reversed(range(_TRIES)):
            current = self.catalog.find_person(person)
            if current is None or not current.is_active:
                return False
            stands = self.cluster.get(acting)
            try:
                self.cluster.apply(
                    acting, ClusterApplyIn(cluster=_without(stands.cluster, person), base=stands.revision)
                )
            except RefusedError as refusal:
                if refusal.code is not ErrorCode.CLUSTER_CHANGED or not left:
                    raise
                continue
            detail = {"why": why, **({"rule": by_rule} if by_rule else {})}
            tag = AuditTag.PERSON_REVOKED.value
            self.audit.append(AuditEvent(PLATFORM_STREAM, self.clock.now(), tag, actor, person, detail))
            return True
        return False

    def _find(self, project: str, name: str) -> Instance:
        is_id = name.startswith("i-")
        found = self.lifecycle.find(project, name) if is_id else self.lifecycle.find_named(project, name)
        if found is None:
            raise not_found(name, project)
        return found.instance

    def _record(self, tag: AuditTag, actor: str, instance: Instance, detail: Mapping[str, str]) -> None:
        full = {"project": instance.project, "name": instance.name, "tier": str(instance.tier), **detail}
        self.audit.append(AuditEvent(instance.id, self.clock.now(), tag.value, actor, instance.id, full))


def _is_same(one: Quarantine, other: Quarantine) -> bool:
    return (one.since, one.released_at) == (other.since, other.released_at)


def _without(cluster: ClusterIn, person: str) -> ClusterIn:
    return msgspec.structs.replace(
        cluster,
        people=tuple(one for one in cluster.people if one.name != person),
        projects=tuple(
            msgspec.structs.replace(project, members=tuple(one for one in project.members if one.person != person))
            for project in cluster.projects
        ),
    )
