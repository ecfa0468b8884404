"""From domain values to the wire."""

from __future__ import annotations

from datetime import datetime

import msgspec

from nightingale.contract.schemas import (
    BuildOut,
    CheckpointOut,
    HistoryEntryOut,
    HomeOut,
    InstanceOut,
    JobOut,
    Money,
    MountOut,
    NotificationOut,
    QuarantineOut,
    ReasonOut,
    TroubleOut,
)
from nightingale.contract.vocabulary import Action, Status
from nightingale.domain.build import Build
from nightingale.domain.catalog import Cluster
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import HistoryEntry, Reason
from nightingale.domain.instance import Instance
from nightingale.domain.policy import policy_for, why_up
from nightingale.services.policies import find_relaunch, uses_of

_NEARLY_FULL = 90
"""Per cent of a home from which on its people are warned."""


def present_reason(reason: Reason | None, *, with_log: bool) -> ReasonOut | None:
    """Return the reason as the API shows it; the log's last lines only to those who may read the log."""
    if reason is None:
        return None
    return ReasonOut(
        code=reason.code,
        words=reason.words,
        next_step=reason.next_step,
        action=reason.action,
        log_tail=reason.log_tail if with_log else (),
    )


def present_instance(
    instance: Instance,
    cluster: Cluster,
    now: datetime,
    *,
    cost: Money,
    usage_seconds: int,
    actions: tuple[Action, ...],
    with_log: bool,
    with_why: bool = False,
    home: HomeOut | None = None,
) -> InstanceOut:
    """Return the instance as the API shows it; the price is today's, zero where its size has left the catalogue."""
    try:
        price = cluster.price(instance.place, instance.size, now, is_spot=instance.spot.is_spot).total
    except RefusedError:
        price = cost.amount * 0
    verdict = why_up(instance, policy_for(cluster, instance.project), now, uses_of(instance, now))
    relaunch = find_relaunch(cluster, instance, now)
    return InstanceOut(
        id=instance.id,
        name=instance.name,
        project=instance.project,
        owner=instance.owner,
        status=instance.status,
        size=instance.size,
        place=instance.place,
        image=instance.image,
        datasets=tuple(MountOut(dataset=m.dataset, version=m.version, tier=m.tier) for m in instance.mounts),
        tier=instance.tier,
        created_at=instance.created_at,
        status_at=instance.status_at,
        price_per_hour=Money(amount=price, currency=cost.currency),
        cost=cost,
        usage_seconds=usage_seconds,
        generation=instance.generation,
        allowed_actions=actions,
        is_idle=instance.is_idle,
        is_quarantined=instance.is_quarantined,
        quarantine=_quarantine(instance, with_why=with_why),
        running_since=instance.running_since,
        last_activity_at=instance.last_activity_at,
        unreachable_since=instance.unreachable_since,
        stops_at=verdict.stops_at,
        stops_why=verdict.stops_why,
        starts_at=verdict.will_start_at,
        why_up=verdict.why,
        warning=" ".join([*verdict.warnings, *_home_warning(home)]),
        reason=present_reason(instance.reason, with_log=with_log),
        place_why=instance.moving.why,
        elsewhere=instance.moving.elsewhere,
        build_id=instance.build_id,
        sandbox=instance.sandbox,
        image_digest=instance.image_digest,
        limits=instance.limits,
        observer=instance.observer,
        home=home,
        reads_trouble=_trouble(instance),
        job=_job(instance, now, with_note=with_log),
        notifications=_notifications(instance) if with_log else (),
        checkpoints=tuple(CheckpointOut(at=one.at, note=one.note) for one in instance.work.checkpoints)
        if with_log
        else (),
        spot=instance.spot.is_spot,
        relaunch_when_interrupted=instance.spot.is_relaunched,
        relaunches=instance.spot.count(now),
        relaunch_at=relaunch.at if relaunch is not None else None,
        relaunch_why=relaunch.words if relaunch is not None else "",
    )


def _quarantine(instance: Instance, *, with_why: bool) -> QuarantineOut | None:
    """Return its quarantine: to administrators with why, and the last one too; to others only that it lasts."""
    held = instance.quarantine
    if held is None or not (held.is_held or with_why):
        return None
    since = f"{held.since:%Y-%m-%d %H:%M:%S} UTC"
    told = QuarantineOut(
        since=held.since,
        words=f"In quarantine since {since}: nobody can reach it, and its owner's commands are refused. It is billed."
        if held.is_held
        else f"It was in quarantine from {since} to {held.released_at:%Y-%m-%d %H:%M:%S} UTC.",
        next_step="Talk to the administrators of the platform." if held.is_held and not with_why else "",
    )
    if not with_why:
        return told
    return msgspec.structs.replace(
        told,
        by=held.by,
        why=held.why,
        by_rule=held.by_rule,
        released_at=held.released_at,
        released_by=held.released_by,
        released_why=held.released_why,
        settled_at=held.settled_at,
        trouble=held.trouble,
    )


def _home_warning(home: HomeOut | None) -> tuple[str, ...]:
    """Say that the home is full, or nearly."""
    if home is None or home.used_bytes is None or not home.limit_bytes:
        return ()
    if home.is_full:
        return (
            "The home is full: nothing more can be saved. Delete what you do not need, or resize to a larger disk.",
        )
    share = home.used_bytes * 100 // home.limit_bytes
    return (f"The home is {share} % full.",) if share >= _NEARLY_FULL else ()


def _job(instance: Instance, now: datetime, *, with_note: bool) -> JobOut | None:
    job = instance.work.shown(instance.running_since, now) if instance.status is Status.RUNNING else None
    if job is None:
        return None
    return JobOut(
        name=job.name,
        since=job.begun_at,
        percent=job.percent,
        note=job.note if with_note else "",
        is_running=job.runs(now),
    )


def _notifications(instance: Instance) -> tuple[NotificationOut, ...]:
    """Return what was told from inside and by the observer of its reads, oldest first."""
    inside = [
        NotificationOut(id=one.id, at=one.at, text=one.text, log_tail=one.log_tail)
        for one in instance.work.notifications
    ]
    watched = [
        NotificationOut(id=f"{instance.id}-r{one.number}", at=one.at, text=one.words) for one in instance.watching.told
    ]
    return tuple(sorted((*inside, *watched), key=lambda one: one.at))


def _trouble(instance: Instance) -> TroubleOut | None:
    trouble = instance.watching.trouble
    if trouble is None:
        return None
    return TroubleOut(kind=trouble.kind.value, since=trouble.since, words=trouble.words, next_step=trouble.next_step)


def present_entry(entry: HistoryEntry, *, with_log: bool, with_why: bool = False) -> HistoryEntryOut:
    """Return a history entry as the API shows it; why it was put in quarantine only to administrators."""
    return HistoryEntryOut(
        seq=entry.seq,
        at=entry.at,
        event=entry.event.value,
        before=entry.before,
        after=entry.after,
        actor=entry.actor,
        size=entry.size,
        generation=entry.generation,
        billed_until=entry.billed_until,
        build_id=entry.build_id,
        image_digest=entry.image_digest,
        place=entry.place,
        reason=present_reason(entry.reason, with_log=with_log),
        note=entry.note if with_why else "",
    )


def present_build(build: Build, *, with_log: bool) -> BuildOut:
    """Return a build as the API shows it."""
    return BuildOut(
        id=build.id,
        instance_id=build.instance_id,
        generation=build.generation,
        action=build.action,
        state=build.state,
        created_at=build.created_at,
        started_at=build.started_at,
        finished_at=build.finished_at,
        init_s=None if build.init_ms is None else build.init_ms / 1000,
        apply_s=None if build.apply_ms is None else build.apply_ms / 1000,
        reason=present_reason(build.reason, with_log=with_log),
    )
