"""Machines in a cloud: which instance one is, how its start went, whom its Jupyter lets in.

                        signed over server, nonce, start; in Azure a token
    machine ── nonce ──▶ identify ──▶ who is it? (the cloud says) ──▶ is it the machine that the instance's build made?
                                                                        └─▶ the one start of this generation

Which machine an instance has is what its latest build says, never what a machine says of itself. A proof by a machine
whose build has not ended yet is put off, since Terraform waits for nothing that runs inside. Refusals before a proof
are counted, all alike, and tell strangers nothing of what there is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta
from typing import Any

from nightingale.contract.errors import ErrorCode
from nightingale.contract.machines import (
    CodeTakenOut,
    IdentifyMachineIn,
    MachineMountOut,
    MachineOut,
    PackageProxyOut,
    ReportMachineIn,
    StartIn,
    TakeCodeIn,
    start_digest,
)
from nightingale.contract.schemas import Empty
from nightingale.contract.vocabulary import AuditTag, BuildState, Status
from nightingale.domain.access import Principal
from nightingale.domain.build import Build
from nightingale.domain.errors import RefusedError
from nightingale.domain.instance import Instance
from nightingale.domain.machine import MachineIdentity, MachineStart
from nightingale.domain.work import Notification
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.machine_proofs import MachineProofError, MachineProofs, MachineProofUnavailableError
from nightingale.ports.store import ConditionFailedError, Store
from nightingale.services import records
from nightingale.services.lifecycle import Lifecycle
from nightingale.services.machine_reports import cut_exit, cut_launcher, require_limits, require_small
from nightingale.services.nonces import spend
from nightingale.services.rate_limit import Bucket, Rate, RateLimiter, source_of
from nightingale.services.starts import StoredStarts

_LOG = logging.getLogger(__name__)

_BEING_MADE = frozenset({Status.REQUESTED, Status.PROVISIONING, Status.RESIZING})
_STARTED = frozenset({Status.STARTING, Status.RUNNING})
_AGAIN_S = 5
_TRIES = 5

_REPORTS = Rate(30, timedelta(seconds=2))
_CODES = Rate(30, timedelta(seconds=2))


@dataclass(frozen=True)
class MachineLimits:
    """How often proofs may fail: each costs a question to the cloud. Many machines may share one address."""

    of_address: Rate = field(default=Rate(60, timedelta(seconds=2)))
    of_all: Rate = field(default=Rate(300, timedelta(milliseconds=200)))


@dataclass(frozen=True)
class MachineService:
    """The use cases of machines, and of their Jupyter's door."""

    store: Store
    clock: Clock
    ids: Ids
    lifecycle: Lifecycle
    starts: StoredStarts
    proofs: Mapping[str, MachineProofs]
    addresses: frozenset[str]
    audit: AuditLog
    limits: MachineLimits = MachineLimits()

    # --- who it is ----------------------------------------------------------------------------------------------------

    def identify(self, body: IdentifyMachineIn, client: str) -> MachineOut:
        """Return the start that the machine is to make, once it has proven that it is this instance's.

        The same machine may ask again for the same start. Raises RefusedError: `invalid_signature`, `forbidden` for
        what is proven and yet not this instance's machine or its one start, `not_allowed_now` while its build has not
        ended, `too_many_requests`, `unavailable`.
        """
        limiter = RateLimiter(self.store, self.clock)
        buckets = (
            Bucket(f"machine#{source_of(client)}", self.limits.of_address, "from this address"),
            Bucket("machine", self.limits.of_all, "by everybody together"),
        )
        limiter.take("machines were refused", buckets)
        try:
            stored = self.lifecycle.find(body.project, body.instance_id)
            identity = self._prove(body, stored.instance if stored is not None else None)
            if stored is None:
                raise _not_its_own(identity)
            instance, build = self._built(stored.instance, identity)
            self._begin(instance, build, body.start)
            limiter.give_back(buckets)
        except RefusedError as refusal:
            if refusal.code is ErrorCode.NOT_ALLOWED_NOW:
                limiter.give_back(buckets)  # it is asked to come again
            if refusal.code in {ErrorCode.INVALID_SIGNATURE, ErrorCode.FORBIDDEN}:
                detail = {"instance": body.instance_id, "project": body.project, "client": client}
                self._record(
                    PLATFORM_STREAM,
                    AuditTag.MACHINE_REFUSED,
                    "unknown",
                    body.instance_id,
                    {**detail, "why": str(refusal)},
                )
            raise
        detail = {"machine": identity.machine_id, "generation": str(instance.generation), "client": client}
        self._record(instance.id, AuditTag.MACHINE_IDENTIFIED, instance.id, instance.id, detail)
        return _told(instance, build)

    def _prove(self, body: IdentifyMachineIn, instance: Instance | None) -> MachineIdentity:
        """Return who signed. Whatever is asked for, the nonce is spent and the cloud is asked, if there is one."""
        if (why := spend(self.store, self.clock, body.nonce)) is not None:
            raise _unproven(why)
        if body.server not in self.addresses:
            raise _unproven("the proof was made for another server")
        # A stranger who names no instance, or one of another cloud, is asked for a proof like any other.
        proof = body.shown
        own = self.proofs.get(instance.place) if instance is not None else None
        able = [one for one in (own, *self.proofs.values()) if one is not None and one.takes(proof)]
        if not able:
            raise _unproven("no machine proves itself here by such a proof")
        try:
            identity = able[0].check(proof, server=body.server, nonce=body.nonce, start=start_digest(body.start))
        except MachineProofError as error:
            raise _unproven(str(error)) from error
        except MachineProofUnavailableError as error:
            raise RefusedError(
                ErrorCode.UNAVAILABLE, str(error), "Ask again with a new nonce.", retry_after_s=_AGAIN_S
            ) from error
        if able[0] is not own:
            raise _not_its_own(identity)
        return identity

    def _built(self, instance: Instance, identity: MachineIdentity) -> tuple[Instance, Build]:
        """Return the instance and the build that made this very machine. Raises RefusedError."""
        found = self.lifecycle.find_build(instance)
        build = found[0] if found is not None else None
        if instance.status in _BEING_MADE or (build is not None and build.state is BuildState.RUNNING):
            words = f"the build of {instance.name} has not ended, so nobody knows yet which machine it has"
            raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, "Ask again with a new nonce.", retry_after_s=_AGAIN_S)
        is_its_own = build is not None and build.proves_as == identity.machine_id
        if build is None or not is_its_own or not (build.address or "").startswith("tcp:"):
            raise _not_its_own(identity)
        if instance.status not in _STARTED or instance.is_quarantined:
            stands = "in quarantine" if instance.is_quarantined else instance.status.value
            raise RefusedError(ErrorCode.FORBIDDEN, f"{instance.name} is {stands}: nothing of it starts", "Shut down.")
        return instance, build

    def _begin(self, instance: Instance, build: Build, made: StartIn) -> None:
        """Keep this as the one start of the instance's generation. Raises RefusedError."""
        start = MachineStart(
            instance_id=instance.id,
            generation=instance.generation,
            machine_id=build.machine_id or "",
            address=build.address or "",
            at=self.clock.now(),
            digest=start_digest(made),
            instance_token_hash=made.instance_token_hash,
            shipper_token_hash=made.shipper_token_hash,
            jupyter_token=made.jupyter_token,
            door_certificate=made.door_certificate,
            door_key=made.door_key,
        )
        known = self.starts.find(instance.id)
        is_new = known is None or known.generation < instance.generation
        # A running instance has had its start: what begins now is a machine that rebooted, which is one that ended.
        if (is_new and instance.status is not Status.STARTING) or not self.starts.begin(start):
            words = f"start {instance.generation} of {instance.name} was made already, and a start is made once"
            raise RefusedError(ErrorCode.FORBIDDEN, words, "Retry the instance, which makes a new start.")

    # --- how it went --------------------------------------------------------------------------------------------------

    def report(self, principal: Principal, body: ReportMachineIn) -> Empty:
        """Keep how a start went. Raises RefusedError `not_allowed_now` when it is no longer the latest."""
        own = principal.instance
        if own is None or not own.is_shipper:
            raise RefusedError(ErrorCode.FORBIDDEN, "only a machine reports about itself", "Leave it to that.")
        RateLimiter(self.store, self.clock).take(
            "reports were sent", (Bucket(f"report#{own.id}", _REPORTS, "by this machine"),)
        )
        if body.launcher is not None:
            require_limits(body.launcher)
        was_told: list[bool] = []

        def reported(start: MachineStart) -> MachineStart:
            after = start
            if body.launcher is not None:
                after = after.with_launcher(cut_launcher(body.launcher))
            if body.exit is not None:
                after = after.with_exit(cut_exit(body.exit))
            if body.interrupted_at is not None:
                after = after.with_interruption(body.interrupted_at.astimezone(UTC))
            if body.home is not None:
                after = after.with_home(body.home)
            was_told[:] = [start.interrupted_at is None and after.interrupted_at is not None]
            require_small(after)
            return after

        records_match = all(one is None or one.generation == body.generation for one in (body.launcher, body.exit))
        if not records_match or not self.starts.amend(own.id, body.generation, reported):
            words = f"start {body.generation} is not the latest of {own.id}"
            raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, "Nothing more is kept of it.")
        if was_told == [True] and body.interrupted_at is not None:
            at = body.interrupted_at.astimezone(UTC)
            self._record(own.id, AuditTag.MACHINE_INTERRUPTED, own.id, own.id, {"at": at.isoformat()})
            self._notify(
                own.project, own.id, f"The cloud takes this machine back at {at:%H:%M:%S} UTC: save your work."
            )
        return Empty()

    def _notify(self, project: str, instance_id: str, words: str) -> None:
        """Show words to the owner; what others change meanwhile goes first, since the record is kept already."""
        for _ in range(_TRIES):
            stored = self.lifecycle.find(project, instance_id)
            if stored is None or stored.instance.status not in _STARTED:
                return
            told = Notification(self.ids.new("n"), self.clock.now(), words)
            changed = replace(stored.instance, work=stored.instance.work.with_notification(told))
            try:
                self.store.put(records.instance_item(changed, stored.version))
            except ConditionFailedError:
                continue
            return
        _LOG.warning("an interruption was not shown to the owner", extra={"instance": instance_id})

    # --- who enters ---------------------------------------------------------------------------------------------------

    def take_code(self, principal: Principal, body: TakeCodeIn) -> CodeTakenOut:
        """Use up a code that a browser brought to the instance; it is good once. Raises RefusedError."""
        own = principal.instance
        if own is None or own.is_shipper:
            raise RefusedError(ErrorCode.FORBIDDEN, "only an instance itself may ask this", "Leave it to its Jupyter.")
        RateLimiter(self.store, self.clock).take(
            "codes were brought", (Bucket(f"codes#{own.id}", _CODES, "to this instance"),)
        )
        is_good = self.starts.take(own.id, body.code_hash, self.clock.now())
        stored = self.lifecycle.find(own.project, own.id) if is_good else None
        return CodeTakenOut(is_good=stored is not None and not stored.instance.is_quarantined)

    def _record(self, stream: str, tag: AuditTag, actor: str, subject: str, detail: Mapping[str, str]) -> None:
        self.audit.append(AuditEvent(stream, self.clock.now(), tag.value, actor, subject, detail))


def _told(instance: Instance, build: Build) -> MachineOut:
    network: Mapping[str, Any] = build.variables.get("network") or {}
    packages: Mapping[str, Any] | None = network.get("packages")
    return MachineOut(
        name=instance.name,
        owner=instance.owner,
        owner_uid=network.get("owner_uid"),
        generation=instance.generation,
        home_gib=int(build.variables.get("home_gib", 1)),
        container=network.get("container"),
        datasets=tuple(
            MachineMountOut(dataset=one.dataset, version=one.version, tier=one.tier) for one in instance.mounts
        ),
        packages=PackageProxyOut(packages["address"], packages["sha256"]) if packages is not None else None,
    )


def _unproven(why: str) -> RefusedError:
    return RefusedError(ErrorCode.INVALID_SIGNATURE, why, "Sign a new nonce, for this platform's own address.")


def _not_its_own(identity: MachineIdentity) -> RefusedError:
    words = f"{identity.machine_id} is not the machine that this instance's latest build made"
    return RefusedError(ErrorCode.FORBIDDEN, words, "Nothing starts here: shut down.")
