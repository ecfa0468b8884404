"""What people do with instances: one method per operation that changes something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import (
    ExtendIn,
    InstanceOut,
    JupyterOut,
    LaunchIn,
    ResizeIn,
    Size,
)
from nightingale.contract.vocabulary import AuditTag, Permission, Reach, Status
from nightingale.domain.access import Access
from nightingale.domain.catalog import tier_of
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName
from nightingale.domain.instance import Instance
from nightingale.domain.moving import Moving
from nightingale.domain.placement import Wish
from nightingale.domain.quarantine import ENDING
from nightingale.domain.spot import Spot
from nightingale.ports.audit_log import AuditEvent, AuditLog
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.machines import Machines, MachineUnavailableError
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.instance_views import InstanceViews, require_own
from nightingale.services.lifecycle import Announce, Lifecycle
from nightingale.services.multi_factor import require_multi_factor
from nightingale.services.placing import place_launch
from nightingale.services.sandboxes import require_sandbox

JUPYTER_PORT = 8888
"""The one port that an instance's name has behind the gateway."""

ENTER_PATH = "/nightingale/enter?code="
_CODE_LIFETIME = timedelta(seconds=60)

_TAGS = {
    EventName.START: AuditTag.INSTANCE_START,
    EventName.STOP: AuditTag.INSTANCE_STOP,
    EventName.RESIZE: AuditTag.INSTANCE_RESIZE,
    EventName.RETRY: AuditTag.INSTANCE_RETRY,
    EventName.EXTEND: AuditTag.INSTANCE_EXTEND,
    EventName.DELETE: AuditTag.INSTANCE_DELETE,
}


@dataclass(frozen=True)
class InstanceService:
    """The use cases that change an instance, and the way into its Jupyter server."""

    clock: Clock
    ids: Ids
    lifecycle: Lifecycle
    catalog: CatalogService
    views: InstanceViews
    machines: Mapping[str, Machines]
    audit: AuditLog

    def launch(self, access: Access, body: LaunchIn) -> InstanceOut:
        """Launch an instance for the caller. Raises RefusedError: `invalid`, `name_taken`, `sandbox_unavailable`."""
        if (before := self._repeated(access, body)) is not None:
            return self.views.present(access, before)
        cluster = self.catalog.load()
        now = self.clock.now()
        mounts = cluster.mounts(access.project, body.datasets)
        tier = tier_of(mounts)
        require_multi_factor(cluster, access.principal, tier)
        _require_spot(body)
        wish = Wish(access.project, body.size, mounts, now, body.image, body.spot)
        placement = place_launch(cluster, wish, body, self.machines)
        stops_at = now + timedelta(seconds=body.stop_after_seconds) if body.stop_after_seconds is not None else None
        instance, entry = Instance.launch(
            instance_id=self.ids.ordered("i", now),
            name=body.name,
            project=access.project,
            owner=access.principal.name,
            size=body.size,
            place=placement.place,
            image=body.image,
            mounts=mounts,
            tier=tier,
            at=now,
            build_id=self.ids.new("b"),
            request_id=body.request_id,
            stops_at=stops_at,
            moving=Moving(why=placement.why, elsewhere=placement.elsewhere),
            spot=Spot(body.spot, body.relaunch_when_interrupted),
        )
        try:
            launched = self._recorded(
                AuditTag.INSTANCE_LAUNCH, access, lambda announce: self.lifecycle.create(instance, entry, announce)
            )
        except RefusedError as refusal:
            repeated = self._repeated(access, body) if refusal.code is ErrorCode.NAME_TAKEN else None
            if repeated is None:
                raise
            return self.views.present(access, repeated)
        return self.views.present(access, launched)

    def stop(self, access: Access, name: str) -> InstanceOut:
        """Stop it: the machine goes, the home stays."""
        return self._command(access, name, EventName.STOP)

    def start(self, access: Access, name: str) -> InstanceOut:
        """Start it again with the size it has."""
        return self._command(access, name, EventName.START)

    def retry(self, access: Access, name: str) -> InstanceOut:
        """Try the action that failed once more."""
        return self._command(access, name, EventName.RETRY)

    def delete(self, access: Access, name: str, *, destroy_evidence: bool = False) -> InstanceOut:
        """Delete it with its home. In quarantine that destroys evidence: it is done where that is said."""
        instance = self._commanded(access, name, EventName.DELETE)
        if instance.is_quarantined and not destroy_evidence:
            raise RefusedError(
                ErrorCode.NOT_ALLOWED_NOW,
                f"{instance.name} is in quarantine: deleting it destroys what its home could tell",
                "Stop it to keep the disk; or say that you mean it: nightingale delete --destroy-evidence.",
            )
        return self._command(access, name, EventName.DELETE)

    def resize(self, access: Access, name: str, body: ResizeIn) -> InstanceOut:
        """Give it another size; a running one restarts."""
        instance = self._commanded(access, name, EventName.RESIZE)
        old = instance.size
        size = Size(
            cpu=body.cpu or old.cpu,
            memory=body.memory or old.memory,
            gpu=body.gpu or old.gpu,
            disk=body.disk or old.disk,
        )
        cluster = self.catalog.load()
        cluster.machine(instance.place, size, is_spot=instance.spot.is_spot)
        cluster.price(instance.place, size, self.clock.now())
        if cluster.disk_gib(size) < cluster.disk_gib(old):
            raise RefusedError(
                ErrorCode.INVALID,
                "a home cannot shrink",
                "Choose a disk at least as large as it has.",
                details=(("disk", f"{size.disk} is smaller than {old.disk}"),),
            )
        if size == old:
            raise RefusedError(ErrorCode.INVALID, f"{instance.name} has this size already", "Name another size.")
        return self._command(access, name, EventName.RESIZE, size=size, seen=instance)

    def extend(self, access: Access, name: str, body: ExtendIn) -> InstanceOut:
        """Set the time at which it stops by itself."""
        stops_at = self.clock.now() + timedelta(seconds=body.seconds)
        return self._command(access, name, EventName.EXTEND, stops_at=stops_at)

    def open_jupyter(self, access: Access, name: str) -> JupyterOut:
        """Return a code that lets its owner's browser in once, and the token for programs."""
        instance = self.views.find(access, name).instance
        require_own(access, instance)
        _require_free(access, instance, None)
        require_multi_factor(self.catalog.load(), access.principal, instance.tier)
        if instance.status is not Status.RUNNING:
            raise RefusedError(
                ErrorCode.NOT_ALLOWED_NOW,
                f"{instance.name} is {instance.status.value}: there is no Jupyter server to open",
                "Start it first, or wait until it is running (nightingale ps --watch).",
            )
        machines = self._machines(instance.place)
        code = self.ids.secret()
        expires_at = self.clock.now() + _CODE_LIFETIME
        try:
            machines.admit(instance.id, records.hashed(code), expires_at)
            token = machines.token(instance.id)
        except MachineUnavailableError as error:
            raise RefusedError(ErrorCode.UNAVAILABLE, str(error), "Try again in a few seconds.") from error
        self._record(AuditTag.JUPYTER_OPENED, access, instance, {"generation": str(instance.generation)})
        return JupyterOut(
            host=instance.name, port=JUPYTER_PORT, path=ENTER_PATH, code=code, token=token, code_expires_at=expires_at
        )

    def _command(
        self,
        access: Access,
        name: str,
        event: EventName,
        *,
        size: Size | None = None,
        stops_at: datetime | None = None,
        seen: Instance | None = None,
    ) -> InstanceOut:
        instance = self._commanded(access, name, event)
        if event in {EventName.START, EventName.RETRY, EventName.RESIZE}:
            require_multi_factor(self.catalog.load(), access.principal, instance.tier)
            self._require_sandbox(instance.place, instance.tier)
        told = Event(
            event,
            actor=access.principal.name,
            size=size,
            stops_at=stops_at,
            build_id=None if event is EventName.EXTEND else self.ids.new("b"),
            is_despite_quarantine=_may_end(access, instance),
        )
        changed = self._recorded(
            _TAGS[event],
            access,
            lambda announce: self.lifecycle.apply(instance.project, instance.id, told, seen=seen, announce=announce),
        )
        return self.views.present(access, changed)

    def _commanded(self, access: Access, name: str, event: EventName) -> Instance:
        """Return the instance that the command is for, once it is clear that this person may give it now."""
        instance = self.views.find(access, name).instance
        require_own(access, instance)
        _require_free(access, instance, event)
        if not instance.accepts(event):
            asked = Event(event, actor=access.principal.name, is_despite_quarantine=True)
            instance.apply(asked, self.clock.now())  # raises the refusal
        return instance

    def _repeated(self, access: Access, body: LaunchIn) -> Instance | None:
        """Return the instance that an earlier call with the same request id launched."""
        found = self.lifecycle.find_named(access.project, body.name) if body.request_id else None
        if found is None:
            return None
        instance = found.instance
        is_same = instance.request_id == body.request_id and instance.owner == access.principal.name
        return instance if is_same else None

    def _machines(self, place: str) -> Machines:
        """Return the place's machines. Raises RefusedError `invalid` for one that this platform does not run."""
        machines = self.machines.get(place)
        if machines is None or place not in self.lifecycle.builders:
            words = f"this platform runs no instances in {place}"
            raise RefusedError(
                ErrorCode.INVALID, words, f"Places to use: {', '.join(self.machines)}.", details=(("place", words),)
            )
        return machines

    def _require_sandbox(self, place: str, tier: int) -> None:
        require_sandbox(self._machines(place), tier)

    def _recorded(self, tag: AuditTag, access: Access, change: Callable[[Announce], Instance]) -> Instance:
        """Make the change with its fact recorded first; one that is refused after all gets a second fact."""
        announced: list[Instance] = []

        def announce(instance: Instance) -> None:
            self._record(tag, access, instance, {"generation": str(instance.generation), "tier": str(instance.tier)})
            announced.append(instance)

        try:
            return change(announce)
        except RefusedError as refusal:
            for instance in announced:
                self._record(AuditTag.OPERATION_DENIED, access, instance, {"tag": tag.value, "why": refusal.message})
            raise

    def _record(self, tag: AuditTag, access: Access, instance: Instance, detail: Mapping[str, str]) -> None:
        full = {"project": instance.project, "name": instance.name, **detail}
        self.audit.append(
            AuditEvent(instance.id, self.clock.now(), tag.value, access.principal.name, instance.id, full)
        )


def _require_spot(body: LaunchIn) -> None:
    """Refuse relaunches of what nobody takes back."""
    if body.relaunch_when_interrupted and not body.spot:
        words = "only a spot instance is taken back by the cloud, and so launched again"
        details = (("relaunch_when_interrupted", words),)
        raise RefusedError(ErrorCode.INVALID, words, "Ask for spot too, or for neither.", details=details)


def _require_free(access: Access, instance: Instance, event: EventName | None) -> None:
    """Refuse everybody who asks something of an instance in quarantine, but administrators who end another's."""
    if instance.is_quarantined and not (event in ENDING and _may_end(access, instance)):
        raise RefusedError(
            ErrorCode.FORBIDDEN,
            f"{instance.name} is in quarantine: its owner's commands are refused, and it stays as it is",
            "Talk to the administrator, who can release it: nightingale admin release.",
        )


def _may_end(access: Access, instance: Instance) -> bool:
    """Return whether this is an administrator, and not in their own matter."""
    is_admin = access.principal.reach(Permission.INSTANCE_QUARANTINE, access.project) is not Reach.NONE
    return is_admin and instance.owner != access.principal.name
