"""What an instance does about itself, by the token inside its sandbox: its own commands, and nobody else's.

The token acts for the owner and no further than the owner could: who left the project commands nothing from inside
either. Renewals of a lease and progress are not recorded as facts: they are many, and nothing follows from them that
the job's beginning and end do not tell. Free text goes into the instance's record, never into the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.own_instance import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    BeginJobIn,
    CheckpointIn,
    ContentsIn,
    ContentsRecord,
    EndJobIn,
    JobGrantOut,
    NotifiedOut,
    NotifyIn,
    ProgressIn,
)
from nightingale.contract.schemas import Empty, ExtendIn, InstanceOut, ResizeIn
from nightingale.contract.vocabulary import AuditTag, Permission, Reach, Status
from nightingale.domain.access import Access, InstanceIdentity, Principal
from nightingale.domain.errors import RefusedError
from nightingale.domain.instance import Instance
from nightingale.domain.work import LEASE, MOST_JOBS, Checkpoint, Job, Notification, Work
from nightingale.ports.audit_log import AuditEvent, AuditLog
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.store import ConditionFailedError, Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.instance_views import InstanceViews
from nightingale.services.instances import InstanceService
from nightingale.services.lifecycle import Lifecycle, not_found
from nightingale.services.rate_limit import Bucket, Rate, RateLimiter

_TRIES = 20
_WORKS = frozenset({Status.STARTING, Status.RUNNING})
_TOLD = Rate(120, timedelta(seconds=1))
_CONTENTS = Rate(120, timedelta(milliseconds=500))


@dataclass(frozen=True)
class OwnInstanceService:
    """The use cases of `/v1/instance`. Each is handed the principal of an instance's own token."""

    store: Store
    clock: Clock
    ids: Ids
    lifecycle: Lifecycle
    catalog: CatalogService
    views: InstanceViews
    instances: InstanceService
    audit: AuditLog

    # --- commands -----------------------------------------------------------------------------------------------------

    def get(self, principal: Principal) -> InstanceOut:
        """Return the instance as its owner sees it."""
        own = _own(principal)
        return self.views.get(self._as_owner(own), own.id)

    def stop(self, principal: Principal) -> InstanceOut:
        """Stop it: the answer is the last that its caller sees of it."""
        return self._command(principal, self.instances.stop)

    def delete(self, principal: Principal) -> InstanceOut:
        """Delete it with its home."""
        return self._command(principal, self.instances.delete)

    def resize(self, principal: Principal, body: ResizeIn) -> InstanceOut:
        """Give it another size; it restarts."""
        return self._command(principal, lambda access, name: self.instances.resize(access, name, body))

    def extend(self, principal: Principal, body: ExtendIn) -> InstanceOut:
        """Set the time at which it stops by itself."""
        return self._command(principal, lambda access, name: self.instances.extend(access, name, body))

    def _command(self, principal: Principal, command: Callable[[Access, str], InstanceOut]) -> InstanceOut:
        own = _own(principal)
        instance = self._find(own)
        owner = self._as_owner(own)
        if owner.principal.reach(Permission.INSTANCE_CONTROL, own.project) is Reach.NONE:
            words = f"{own.owner} may no longer command instances of {own.project}"
            raise RefusedError(ErrorCode.FORBIDDEN, words, "Ask the project's lead.")
        _check_free(instance)
        acting = Principal(name=_actor(instance), is_person=False, instance=own)
        command(Access(acting, own.project, Reach.ANY), own.id)
        return self.views.get(owner, own.id)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def begin_job(self, principal: Principal, body: BeginJobIn) -> JobGrantOut:
        """Let a job keep the instance up while its lease is renewed. Raises RefusedError `not_allowed_now`."""
        instance = self._told(principal)
        now = self.clock.now()
        if instance.work.running(now) >= MOST_JOBS:
            words = f"{MOST_JOBS} jobs run in {instance.name} already"
            raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, "Wait for one of them to end.")
        job = Job(id=self.ids.new("j"), name=body.name, begun_at=now, lease_until=now + LEASE)
        self._record(AuditTag.JOB_BEGUN, instance, {"job": job.id, "job_name": job.name})
        self._amend(instance, lambda work: work.with_job(job, now))
        return JobGrantOut(job_id=job.id, lease_seconds=LEASE_SECONDS, renew_seconds=RENEW_SECONDS)

    def renew_job(self, principal: Principal, job_id: str) -> Empty:
        """Renew a job's lease. Raises RefusedError `not_found` when it has run out: begin anew."""
        instance = self._find(_own(principal))
        job = self._running(instance, job_id)
        until = self.clock.now() + LEASE
        self._amend(instance, lambda work: work.with_changed(job.id, lambda one: replace(one, lease_until=until)))
        return Empty()

    def end_job(self, principal: Principal, job_id: str, body: EndJobIn) -> Empty:
        """Note how a job ended; one that ended badly becomes a notification. A second call changes nothing."""
        instance = self._find(_own(principal))
        job = next((one for one in instance.work.jobs if one.id == job_id and job_id), None)
        if job is None:
            return Empty()
        progress = "" if job.percent is None else str(job.percent)
        detail = {"job": job.id, "job_name": job.name, "exit_code": str(body.exit_code), "percent": progress}
        self._record(AuditTag.JOB_ENDED, instance, detail)
        words = f"{job.name} ended with exit status {body.exit_code}"
        told = Notification(self.ids.new("n"), self.clock.now(), words, tuple(plain(line) for line in body.last_lines))
        has_failed = body.exit_code != 0

        def ended(work: Work) -> Work:
            work = work.with_ended(job.id, told.at)
            return work.with_notification(told) if has_failed else work

        self._amend(instance, ended)
        return Empty()

    def report_progress(self, principal: Principal, body: ProgressIn) -> Empty:
        """Note how far a job is. Without any job it is the instance's own, which keeps nothing up."""
        instance = self._find(_own(principal))
        now = self.clock.now()
        job = self._running(instance, body.job_id) if body.job_id else instance.work.find("", now)
        if job is None:
            begun = next((one.begun_at for one in instance.work.jobs if one.id == ""), now)
            bare = Job("", "", begun, now, body.percent, plain(body.note))
            self._amend(instance, lambda work: work.without_job("").with_job(bare, now))
            return Empty()
        change = replace(job, percent=body.percent, note=plain(body.note))
        self._amend(
            instance,
            lambda work: work.with_changed(job.id, lambda one: replace(one, percent=change.percent, note=change.note)),
        )
        return Empty()

    # --- words --------------------------------------------------------------------------------------------------------

    def notify(self, principal: Principal, body: NotifyIn) -> NotifiedOut:
        """Show words to the owner, in the platform only. Raises RefusedError `too_many_requests`."""
        instance = self._told(principal)
        told = Notification(self.ids.new("n"), self.clock.now(), plain(body.message))
        self._record(AuditTag.NOTIFICATION_SENT, instance, {"notification": told.id})
        self._amend(instance, lambda work: work.with_notification(told))
        return NotifiedOut(id=told.id)

    def mark_checkpoint(self, principal: Principal, body: CheckpointIn) -> InstanceOut:
        """Mark this moment's work as one to keep."""
        own = _own(principal)
        instance = self._told(principal)
        mark = Checkpoint(self.clock.now(), plain(body.note))
        self._record(AuditTag.CHECKPOINT_MARKED, instance, {"generation": str(instance.generation)})
        self._amend(instance, lambda work: work.with_checkpoint(mark))
        return self.views.get(self._as_owner(own), own.id)

    def record_contents(self, principal: Principal, body: ContentsIn) -> Empty:
        """Keep what left through Jupyter, or was refused, as facts of the instance's stream: all of a batch or none.

        They are made inside the sandbox, so their time is the platform's and theirs a detail.
        """
        own = _own(principal)
        self._take("batches of records were sent", f"contents#{own.id}", _CONTENTS)
        now = self.clock.now()
        self.audit.append_all(
            [AuditEvent(own.id, now, contents_tag(one), own.owner, own.id, _detail(one)) for one in body.records]
        )
        return Empty()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _told(self, principal: Principal) -> Instance:
        """Return the instance for one more thing to keep of it, none of which it may tell without end."""
        own = _own(principal)
        instance = self._find(own)
        _check_free(instance)
        _check_works(instance)  # before anything is recorded as accepted
        self._take("things were told", f"told#{own.id}", _TOLD)
        return instance

    def _take(self, what: str, bucket: str, rate: Rate) -> None:
        RateLimiter(self.store, self.clock).take(what, (Bucket(bucket, rate, "by this instance"),))

    def _find(self, own: InstanceIdentity) -> Instance:
        stored = self.lifecycle.find(own.project, own.id)
        if stored is None:
            raise not_found(own.id, own.project)
        return stored.instance

    def _running(self, instance: Instance, job_id: str) -> Job:
        job = instance.work.find(job_id, self.clock.now()) if job_id else None
        if job is None:
            words = f"no job {job_id} runs in {instance.name}: its lease of {LEASE_SECONDS} s ran out, or it has ended"
            raise RefusedError(ErrorCode.NOT_FOUND, words, "Begin it anew.")
        return job

    def _amend(self, instance: Instance, change: Callable[[Work], Work]) -> None:
        """Write what the instance tells of its work; it makes no history, and nothing else of the record changes."""
        for _ in range(_TRIES):
            stored = self.lifecycle.find(instance.project, instance.id)
            if stored is None:
                raise not_found(instance.id, instance.project)
            _check_free(stored.instance)
            _check_works(stored.instance)
            changed = replace(stored.instance, work=change(stored.instance.work))
            try:
                self.store.put(records.instance_item(changed, stored.version))
            except ConditionFailedError:
                continue
            return
        raise RefusedError(ErrorCode.BUSY, f"{instance.name} is being changed by others", "Try again in a second.")

    def _as_owner(self, own: InstanceIdentity) -> Access:
        """Return the access that the owner has to the instance now: none, for one who is no longer active."""
        person = self.catalog.find_person(own.owner)
        roles = person.roles if person is not None and person.is_active else ()
        return Access(Principal(name=own.owner, roles=roles), own.project, Reach.OWN)

    def _record(self, tag: AuditTag, instance: Instance, detail: Mapping[str, str]) -> None:
        full = {"project": instance.project, "name": instance.name, **detail}
        event = AuditEvent(instance.id, self.clock.now(), tag.value, _actor(instance), instance.id, full)
        self.audit.append(event)


def contents_tag(record: ContentsRecord) -> str:
    """Return the tag of the fact that a record becomes, such as `contents:download:refused`."""
    return f"contents:{record.kind.value}:{'allowed' if record.is_allowed else 'refused'}"


def plain(text: str) -> str:
    """Return a text from inside as one that is safe to show: nothing in it moves a terminal's cursor or its words."""
    return "".join(one if one.isprintable() else " " for one in text)


def _check_works(instance: Instance) -> None:
    if instance.status not in _WORKS:
        words = f"{instance.name} is {instance.status.value}"
        raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, "Nothing more is kept of its work.")


def _check_free(instance: Instance) -> None:
    if instance.is_quarantined:
        words = f"{instance.name} is in quarantine: commands from inside are refused"
        raise RefusedError(ErrorCode.FORBIDDEN, words, "Talk to the administrator.")


def _own(principal: Principal) -> InstanceIdentity:
    if principal.instance is None or principal.instance.is_shipper:
        words = "only an instance itself may ask this"
        raise RefusedError(ErrorCode.FORBIDDEN, words, "Use nightingale-instance inside of it.")
    return principal.instance


def _actor(instance: Instance) -> str:
    return f"{instance.owner} (from {instance.name})"


def _detail(record: ContentsRecord) -> dict[str, str]:
    return {
        "at": record.at.astimezone(UTC).isoformat(),
        "path": record.path,
        "bytes": str(record.bytes),
        "reason": record.reason,
    }
