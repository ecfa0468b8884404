"""What the SSH gateway asks for: whose key, may this channel open, does it still stand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import (
    ChannelCloseIn,
    ChannelIn,
    ChannelOut,
    ChannelRenewIn,
    Empty,
    GatewayKeyIn,
    GatewayKeyOut,
    GatewayOut,
    RefusalIn,
)
from nightingale.contract.vocabulary import AuditTag, Permission, Reach, Status
from nightingale.domain.access import Principal
from nightingale.domain.catalog import Person
from nightingale.domain.errors import RefusedError
from nightingale.domain.instance import Instance
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.machines import Machines
from nightingale.ports.signatures import SignatureError, SignatureVerifier
from nightingale.ports.store import ConditionFailedError, Item, Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.instances import JUPYTER_PORT
from nightingale.services.lifecycle import Lifecycle
from nightingale.services.multi_factor import VerifiedLogins

LEASE_SECONDS = 30
NO_TUNNEL_FROM = 3
"""The tier from which no tunnel is granted at all."""

_CHANNEL_KEPT = timedelta(days=2)
_TOLD_BYTES = 64 << 20
"""What a channel carries to its person is recorded each time it is so much more, and not at its end only."""


@dataclass(frozen=True)
class GatewayService:
    """The gateway knows nothing by itself; every answer here is looked up when it is asked."""

    store: Store
    clock: Clock
    ids: Ids
    lifecycle: Lifecycle
    catalog: CatalogService
    machines: Mapping[str, Machines]
    signatures: SignatureVerifier
    audit: AuditLog
    find_gateway: Callable[[], GatewayOut | None]
    """Where the gateway listens, as its host knows; None while it is not up."""

    @property
    def _verified(self) -> VerifiedLogins:
        return VerifiedLogins(self.store, self.clock)

    def get(self) -> GatewayOut:
        """Return the gateway's address and host key. Raises RefusedError `unavailable`."""
        found = self.find_gateway()
        if found is None:
            raise RefusedError(
                ErrorCode.UNAVAILABLE, "the SSH gateway is not up", "Try again in a few seconds; then ask the operator."
            )
        return found

    def identify_key(self, body: GatewayKeyIn) -> GatewayKeyOut:
        """Return whose key it is. Raises RefusedError `not_found`."""
        try:
            fingerprint = self.signatures.fingerprint_of(body.public_key)
        except SignatureError as error:
            raise RefusedError(ErrorCode.INVALID, str(error)) from error
        person = self.catalog.person_by_fingerprint(fingerprint)
        if person is None or not person.is_active:
            raise RefusedError(ErrorCode.NOT_FOUND, f"the key {fingerprint} belongs to no active person here")
        return GatewayKeyOut(person=person.name)

    def open_channel(self, body: ChannelIn) -> ChannelOut:
        """Grant one channel to a person's own running instance. Raises RefusedError, which is recorded."""
        detail = {"target": body.target, "port": str(body.port), "client": body.client, "key": body.fingerprint}
        try:
            person = self._person(body.person, body.fingerprint)
            instance = self._target(person, body.target)
            self._require_port(body)
            self._require_running(instance)
            self._verified.require(self.catalog.load(), body.fingerprint, instance.tier)
        except RefusedError as refusal:
            why = {**detail, "why": refusal.message}
            self._record(AuditTag.CHANNEL_REFUSED, PLATFORM_STREAM, body.person, body.target, why)
            raise
        machines = self.machines.get(instance.place)
        if machines is None:
            raise RefusedError(ErrorCode.UNAVAILABLE, f"the place {instance.place} is not run by this platform")
        kind, _, where = machines.address(instance.id).partition(":")
        door = machines.door(instance.id)
        channel_id = self.ids.new("c")
        now = self.clock.now()
        document = {
            "person": person.name,
            "fingerprint": body.fingerprint,
            "project": instance.project,
            "instance_id": instance.id,
            "generation": instance.generation,
        }
        key = records.channel_key(channel_id)
        self.store.put(Item(key, document, expires_at=now + _CHANNEL_KEPT))
        self._record(AuditTag.CHANNEL_OPENED, instance.id, person.name, channel_id, detail)
        return ChannelOut(
            channel_id=channel_id,
            instance_id=instance.id,
            lease_seconds=LEASE_SECONDS,
            socket=where if kind == "unix" else None,
            address=where if kind == "tcp" else None,
            door_certificate=door.certificate if door is not None else None,
            door_key=door.key if door is not None else None,
        )

    def renew_channel(self, channel_id: str, body: ChannelRenewIn) -> Empty:
        """Let the channel stand a while longer, if its person may still have it. Raises RefusedError `forbidden`."""
        item = self.store.get(records.channel_key(channel_id))
        if item is None:
            raise RefusedError(ErrorCode.NOT_FOUND, f"no channel {channel_id}")
        document = item.document
        try:
            person = self._person(document["person"], document["fingerprint"])
            instance = self._same(document["project"], document["instance_id"], document["generation"])
            self._require_reach(person, instance)
            self._require_running(instance)
            self._verified.require(self.catalog.load(), document["fingerprint"], instance.tier)
        except RefusedError as refusal:
            detail = {"why": refusal.message, "sent": str(body.sent), "received": str(body.received)}
            self._record(AuditTag.CHANNEL_REVOKED, document["instance_id"], document["person"], channel_id, detail)
            raise
        self._keep(channel_id, item, body)
        return Empty()

    def _keep(self, channel_id: str, item: Item, body: ChannelRenewIn) -> None:
        """Record much that went through, and let the store keep a channel that stands for days.

        Both seldom, since leases are renewed every few seconds. The record holds sums: one made twice changes none.
        """
        now, document = self.clock.now(), item.document
        is_much = body.received - int(document.get("told", 0)) >= _TOLD_BYTES
        if is_much:
            detail = {"sent": str(body.sent), "received": str(body.received)}
            self._record(AuditTag.CHANNEL_CARRIED, document["instance_id"], document["person"], channel_id, detail)
            item = replace(item, document={**document, "told": body.received})
        elif item.expires_at is None or item.expires_at - now > _CHANNEL_KEPT / 2:
            return
        with contextlib.suppress(ConditionFailedError):  # renewed or closed twice at once
            self.store.put(replace(item, expires_at=now + _CHANNEL_KEPT))

    def close_channel(self, channel_id: str, body: ChannelCloseIn) -> Empty:
        """Record how much went through the channel; a second call changes nothing."""
        item = self.store.get(records.channel_key(channel_id))
        if item is None:
            return Empty()
        detail = {
            "sent": str(body.sent),
            "received": str(body.received),
            "seconds": str(body.seconds),
            "why": body.why,
        }
        self._record(AuditTag.CHANNEL_CLOSED, item.document["instance_id"], item.document["person"], channel_id, detail)
        with contextlib.suppress(ConditionFailedError):  # closed twice at once: the audit log has both
            self.store.delete(item.key, item.version)
        return Empty()

    def record_refusal(self, body: RefusalIn) -> Empty:
        """Record what the gateway refused by itself."""
        detail = {"what": body.what, "fingerprint": body.fingerprint, "client": body.client}
        self._record(AuditTag.CHANNEL_REFUSED, PLATFORM_STREAM, body.person or "unknown", "gateway", detail)
        return Empty()

    def _person(self, name: str, fingerprint: str) -> Person:
        person = self.catalog.person_by_fingerprint(fingerprint)
        if person is None or not person.is_active or person.name != name:
            raise RefusedError(
                ErrorCode.FORBIDDEN, "this key is no longer good for this person", "Log in again: nightingale login."
            )
        return person

    def _target(self, person: Person, target: str) -> Instance:
        """Return the person's own instance that `NAME`, `NAME.PROJECT` or an instance id means."""
        name, _, project = target.partition(".")
        projects = {known for known, _ in person.roles}
        found: list[Instance] = []
        if project:
            stored = self.lifecycle.find_named(project, name) if project in projects else None
            found = [stored.instance] if stored is not None else []
        elif name.startswith("i-"):
            hits = [self.lifecycle.find(known, name) for known in sorted(projects)]
            found = [stored.instance for stored in hits if stored is not None]
        else:
            hits = [self.lifecycle.find_named(known, name) for known in sorted(projects)]
            found = [stored.instance for stored in hits if stored is not None]
        own = [instance for instance in found if instance.owner == person.name]
        if len(own) > 1:
            where = ", ".join(f"{name}.{instance.project}" for instance in own)
            raise RefusedError(ErrorCode.FORBIDDEN, f"{name} is in several projects", f"Say which: {where}.")
        if not own:
            raise RefusedError(
                ErrorCode.FORBIDDEN,
                f"{person.name} has no instance {target}",
                "A tunnel leads to one's own running instances only: nightingale ps.",
            )
        self._require_reach(person, own[0])
        return own[0]

    def _same(self, project: str, instance_id: str, generation: int) -> Instance:
        """Return the instance if it is still the start that the channel was opened to."""
        stored = self.lifecycle.find(project, instance_id)
        if stored is None or stored.instance.generation != generation:
            raise RefusedError(ErrorCode.FORBIDDEN, "the instance behind this tunnel has ended")
        return stored.instance

    @staticmethod
    def _require_reach(person: Person, instance: Instance) -> None:
        principal = Principal(name=person.name, is_admin=person.is_admin, roles=person.roles)
        if principal.reach(Permission.INSTANCE_OPEN, instance.project) is Reach.NONE:
            raise RefusedError(ErrorCode.FORBIDDEN, f"{person.name} may no longer open instances of {instance.project}")

    @staticmethod
    def _require_port(body: ChannelIn) -> None:
        if body.port != JUPYTER_PORT:
            raise RefusedError(
                ErrorCode.FORBIDDEN,
                f"port {body.port} of an instance is not open to anyone",
                f"Jupyter is at {body.target}:{JUPYTER_PORT}.",
            )

    @staticmethod
    def _require_running(instance: Instance) -> None:
        if instance.is_quarantined:
            raise RefusedError(ErrorCode.FORBIDDEN, f"{instance.name} is in quarantine", "Talk to the administrator.")
        if instance.tier >= NO_TUNNEL_FROM:
            raise RefusedError(
                ErrorCode.FORBIDDEN,
                f"{instance.name} holds data of tier {instance.tier}: no tunnel leads to it",
                "Submit code, or enter it by the platform's browser where that is offered.",
            )
        if instance.status is not Status.RUNNING:
            raise RefusedError(
                ErrorCode.NOT_ALLOWED_NOW,
                f"{instance.name} is {instance.status.value}",
                f"Start it first: nightingale start {instance.name}.",
            )

    def _record(self, tag: AuditTag, stream: str, actor: str, subject: str, detail: Mapping[str, str]) -> None:
        self.audit.append(AuditEvent(stream, self.clock.now(), tag.value, actor, subject, detail))
