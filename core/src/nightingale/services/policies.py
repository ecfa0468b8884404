"""Policies of projects, as the cluster has them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.findings import ResponseKind
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale.domain.catalog import Cluster
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName
from nightingale.domain.instance import Instance
from nightingale.domain.policy import Bound, Policy, Uses, policy_for, why_up
from nightingale.domain.policy_checks import CHECKED, require_allowed
from nightingale.domain.relaunch import Relaunch, relaunch_of
from nightingale.domain.response import ResponsePolicy
from nightingale.ports.clock import Ids
from nightingale.ports.machines import Machines
from nightingale.services.build_variables import require_startable
from nightingale.services.catalog import CatalogService
from nightingale.services.sandboxes import require_sandbox


@dataclass(frozen=True)
class Policies:
    """What the projects' policies let happen, and what they make happen."""

    catalog: CatalogService

    def of(self, project: str) -> Policy:
        """Return what holds in the project now. Raises StoreUnavailableError."""
        return policy_for(self.catalog.load(), project)

    def require(self, after: Instance, event: EventName, now: datetime) -> None:
        """Refuse a change that the policy does not allow, as `policy_checks.require_allowed`, or that came too late.

        Whoever calls an instance idle may have looked before a job began in it. Raises RefusedError.
        """
        if event is EventName.STOP and after.reason is not None and after.reason.code is ReasonCode.IDLE:
            worked_at, idle = after.work.used_at(now), self.of(after.project).idle_stop_after_seconds or 0
            if worked_at is not None and now - worked_at < timedelta(seconds=idle):
                raise RefusedError(
                    ErrorCode.NOT_ALLOWED_NOW, f"a job worked in {after.name} of late", "It is not idle."
                )
        if event in CHECKED:
            require_allowed(after, event, self.of(after.project), now)


def response_policy(cluster: Cluster) -> ResponsePolicy:
    """Return what the cluster lets the platform do by itself about findings."""
    found = cluster.findings
    automatic = frozenset(ResponseKind(name) for name in found.automatic)
    return ResponsePolicy(found.max_auto_quarantines_per_hour, automatic)


def uses_of(instance: Instance, now: datetime) -> Uses:
    """Return what is known of its use: kernels, and the jobs that it told of."""
    known = [at for at in (instance.last_activity_at, instance.work.used_at(now)) if at is not None]
    return Uses(active_at=max(known, default=None), running_jobs=instance.work.running(now))


@dataclass(frozen=True)
class Times:
    """Tells what the times of instances ask for, by the cluster as it was read at `now`."""

    cluster: Cluster
    machines: Mapping[str, Machines]
    ids: Ids
    now: datetime

    def due(self, instance: Instance, uses: Uses | None = None) -> Event | None:
        """Return the stop, start or relaunch that is due, or None.

        Idleness counts only with `uses`, as just seen: what nobody could look at is not called idle.
        """
        if instance.status is Status.FAILED:
            return self._relaunch(instance)
        is_off = instance.is_off_by_schedule and instance.status is Status.STOPPED
        if instance.status is not Status.RUNNING and not is_off:
            return None
        policy = policy_for(self.cluster, instance.project)
        has_times = policy.max_lifetime_seconds is not None or policy.schedule is not None
        if instance.stops_at is None and uses is None and not has_times:
            return None  # asked of every running instance each second
        verdict = why_up(instance, policy, self.now, uses)
        if instance.status is Status.RUNNING:
            stop = verdict.stop if verdict.stop is not None and self.now >= verdict.stop.at else None
            return self._stop(stop) if stop is not None else None
        is_due = verdict.will_start_at is not None and self.now >= verdict.will_start_at
        if not is_due or not _may_start(instance, self.cluster, self.machines):
            return None
        return Event(EventName.START, "platform", build_id=self.ids.new("b"))

    def _stop(self, bound: Bound) -> Event:
        return Event(EventName.STOP, "platform", reason=bound.reason, build_id=self.ids.new("b"))

    def _relaunch(self, instance: Instance) -> Event | None:
        """Return the retry of an instance that the cloud took back, where one is due."""
        found = find_relaunch(self.cluster, instance, self.now)
        is_due = found is not None and found.at is not None and self.now >= found.at
        if found is None or not is_due or not _may_start(instance, self.cluster, self.machines):
            return None
        return found.event(self.ids.new("b"))


def find_relaunch(cluster: Cluster, instance: Instance, now: datetime) -> Relaunch | None:
    """Return when it is launched again by itself, or why not, as `relaunch_of` and the catalogue say."""
    found = relaunch_of(instance, policy_for(cluster, instance.project), now)
    if found is None or found.at is None:
        return found
    if not _is_member(instance, cluster):
        return replace(found, at=None, words=f"It is not launched again: {instance.owner} left {instance.project}.")
    try:
        require_startable(cluster, instance)
    except RefusedError as refusal:
        return replace(found, at=None, words=f"It is not launched again: {refusal.message}.")
    return found


def _is_member(instance: Instance, cluster: Cluster) -> bool:
    project = cluster.projects.get(instance.project)
    return project is not None and any(member.person == instance.owner for member in project.members)


def _may_start(instance: Instance, cluster: Cluster, machines: Mapping[str, Machines]) -> bool:
    """Return whether its owner could start it now: nobody's instance comes up by itself where they could not."""
    place = machines.get(instance.place)
    if instance.is_quarantined or not _is_member(instance, cluster) or place is None:
        return False
    try:
        require_sandbox(place, instance.tier)
    except RefusedError:
        return False
    return True
