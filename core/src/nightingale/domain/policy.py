"""Policy: why an instance is up, when it stops by itself and why, when its schedule starts it again.

This is the one place where that is worked out; the watcher, the API's answers and `policy_checks` all ask it.

An instance stops at the earliest of: the time its person asked for; the project's longest lifetime, counted from the
launch, start or retry that was accepted (a resize and a restart of the platform do not renew it); a time without use;
the end of the schedule's hours. Of two at the same second the one named first here is the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache

from nightingale.contract.schemas import PolicyIn, ScheduleIn
from nightingale.contract.vocabulary import DesiredState, ReasonCode, Status, Weekday
from nightingale.domain.catalog import Cluster
from nightingale.domain.history import Reason
from nightingale.domain.instance import Instance
from nightingale.domain.schedule import Hours, Schedule, Standing

WARN_BEFORE_SECONDS = 900
"""Where no policy says another time."""

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_WEEKDAYS = tuple(Weekday)


@dataclass(frozen=True)
class Policy:
    """What holds in one project. None: no such limit."""

    project: str
    idle_stop_after_seconds: int | None = None
    max_lifetime_seconds: int | None = None
    warn_before_seconds: int = WARN_BEFORE_SECONDS
    schedule: Schedule | None = None


@dataclass(frozen=True)
class Uses:
    """What counts as use of an instance. None: nobody looks at that yet, which says neither yes nor no."""

    active_at: datetime | None
    """When its server was last at work; a busy kernel is at work now."""
    running_jobs: int | None = None
    read_at: datetime | None = None

    def last(self, now: datetime) -> datetime | None:
        """Return when it was last used, `now` while a job runs, None when nobody has looked."""
        if self.running_jobs:
            return now
        return max((at for at in (self.active_at, self.read_at) if at is not None), default=None)


@dataclass(frozen=True)
class Bound:
    """One thing that ends its time."""

    at: datetime
    code: ReasonCode
    ends: str
    """What will have happened, after "when"."""
    over: str
    """What has happened, as the reason's words."""
    keep: str
    """What can be done before."""
    next_step: str
    """What can be done afterwards."""

    @property
    def reason(self) -> Reason:
        """Return it as the reason of a stop."""
        return Reason(self.code, self.over, self.next_step)


@dataclass(frozen=True)
class Verdict:
    """What is to be said of an instance at one moment."""

    bounds: tuple[Bound, ...] = ()
    """Everything that ends its time, the earliest first."""
    why: str = ""
    warnings: tuple[str, ...] = ()
    will_start_at: datetime | None = None
    """When the schedule starts it again; not later than now: it is to be started now."""

    @property
    def stop(self) -> Bound | None:
        """Return what stops it first, None when nothing does."""
        return self.bounds[0] if self.bounds else None

    @property
    def stops_at(self) -> datetime | None:
        """Return when it stops by itself."""
        return self.stop.at if self.stop is not None else None

    @property
    def stops_why(self) -> ReasonCode | None:
        """Return the code of what stops it."""
        return self.stop.code if self.stop is not None else None


def policy_for(cluster: Cluster, project: str) -> Policy:
    """Return what holds in the project: its own words, the cluster's where it has none."""
    own = cluster.projects.get(project)
    return _merged(project, cluster.policy or PolicyIn(), (own.policy if own is not None else None) or PolicyIn())


@lru_cache(maxsize=4096)
def _merged(project: str, default: PolicyIn, own: PolicyIn) -> Policy:
    def said(name: str) -> int | None:
        value: int | None = getattr(own, name)
        return getattr(default, name) if value is None else value

    warn = said("warn_before")
    schedule = own.schedule if own.schedule is not None else default.schedule
    return Policy(
        project=project,
        idle_stop_after_seconds=said("idle_stop_after") or None,
        max_lifetime_seconds=said("max_lifetime") or None,
        warn_before_seconds=WARN_BEFORE_SECONDS if warn is None else warn,
        schedule=schedule_of(schedule) if schedule is not None and schedule.hours else None,
    )


def schedule_of(wanted: ScheduleIn) -> Schedule:
    """Return the schedule that the cluster file describes."""
    return Schedule(
        wanted.time_zone,
        tuple(
            Hours(
                tuple(_WEEKDAYS.index(day) for day in row.days),
                time.fromisoformat(row.start_at) if row.start_at is not None else None,
                time.fromisoformat(row.stop_at),
            )
            for row in wanted.hours
        ),
        wanted.is_strict,
    )


def why_up(instance: Instance, policy: Policy, now: datetime, uses: Uses | None = None) -> Verdict:
    """Return what is to be said of the instance now. Without `uses` nothing is said about idleness.

    Only what is up, or on its way there, stops by itself; a failed one has ended already.
    """
    standing = policy.schedule.standing(now) if policy.schedule is not None else None
    if instance.is_quarantined:
        return Verdict(why="In quarantine: nothing stops or starts it until an administrator does, and it is billed.")
    if instance.is_off_by_schedule and instance.status in {Status.STOPPING, Status.STOPPED}:
        return _off(policy, standing, now)
    if not _is_up(instance):
        return Verdict()
    last = uses.last(now) if uses is not None and instance.status is Status.RUNNING else None
    bounds = [
        _own(instance),
        _lifetime(instance, policy),
        _idle(instance, policy, last),
        _hours(instance, policy, standing),
    ]
    ordered = tuple(sorted((bound for bound in bounds if bound is not None), key=lambda bound: bound.at))
    return Verdict(
        bounds=ordered,
        why=_words(instance, ordered, last),
        warnings=tuple(
            f"Stops at {utc(bound.at)}, when {bound.ends}. {bound.keep}"
            for bound in ordered
            if now >= bound.at - _warned_before(bound, policy)
        ),
    )


def _warned_before(bound: Bound, policy: Policy) -> timedelta:
    """Return how long before to warn; of idleness not before half of its time, so that use is no warning."""
    seconds = policy.warn_before_seconds
    if bound.code is ReasonCode.IDLE and policy.idle_stop_after_seconds is not None:
        seconds = min(seconds, policy.idle_stop_after_seconds // 2)
    return timedelta(seconds=seconds)


def _is_up(instance: Instance) -> bool:
    is_moving = instance.is_in_flight and instance.desired_state is DesiredState.RUNNING
    return instance.status is Status.RUNNING or is_moving


def _off(policy: Policy, standing: Standing | None, now: datetime) -> Verdict:
    if standing is None:
        return Verdict(why="The schedule stopped it, and there is none any more: start it when it is needed.")
    at = now if standing.is_open else standing.opens_at
    again = f"and starts it at {utc(at)}" if at is not None else "and starts nothing again"
    return Verdict(why=f"The schedule of {policy.project} stopped it {again}.", will_start_at=at)


def _own(instance: Instance) -> Bound | None:
    if instance.stops_at is None:
        return None
    return Bound(
        instance.stops_at,
        ReasonCode.LIFETIME_REACHED,
        ends="the time asked for is over",
        over="the time it was launched for is over",
        keep="nightingale extend moves the time.",
        next_step="Start it again; nightingale extend moves the time while it runs.",
    )


def _lifetime(instance: Instance, policy: Policy) -> Bound | None:
    ends_at = lifetime_end(instance, policy)
    if ends_at is None or policy.max_lifetime_seconds is None:
        return None
    longest = f"{span(policy.max_lifetime_seconds)}, the longest that {policy.project} allows"
    return Bound(
        ends_at,
        ReasonCode.LIFETIME_REACHED,
        ends=f"it has been up for {longest}",
        over=f"it was up for {longest}",
        keep="No extension goes beyond that: save your work, then start it anew.",
        next_step="Start it again: the time then counts from there.",
    )


def lifetime_end(instance: Instance, policy: Policy) -> datetime | None:
    """Return when its longest lifetime is over, None where there is none."""
    longest = policy.max_lifetime_seconds
    return instance.begun_at + timedelta(seconds=longest) if longest is not None else None


def _idle(instance: Instance, policy: Policy, last: datetime | None) -> Bound | None:
    if policy.idle_stop_after_seconds is None or last is None:
        return None
    released_at = instance.quarantine.released_at if instance.quarantine is not None else None
    known = (last, instance.running_since, instance.extended_at, released_at)
    since = max(at for at in known if at is not None)
    idle = span(policy.idle_stop_after_seconds)
    return Bound(
        since + timedelta(seconds=policy.idle_stop_after_seconds),
        ReasonCode.IDLE,
        ends=f"it has not been used for {idle}",
        over=f"it was not used for {idle}: no kernel was busy and nothing was asked of it",
        keep="Run something in it, or extend it.",
        next_step="Start it again when it is needed.",
    )


def _hours(instance: Instance, policy: Policy, standing: Standing | None) -> Bound | None:
    if policy.schedule is None or standing is None:
        return None
    at = standing.closes_at
    if not standing.is_open and standing.closed_at is not None:
        is_overdue = policy.schedule.is_strict or instance.begun_at < standing.closed_at
        at = standing.closed_at if is_overdue else at
    if at is None:
        return None
    again = f" It starts again at {utc(standing.opens_at)}." if standing.opens_at is not None else ""
    return Bound(
        at,
        ReasonCode.SCHEDULE,
        ends=f"the hours of {policy.project} end ({policy.schedule.time_zone})",
        over=f"the hours of {policy.project} ended",
        keep=f"Save your work.{again}",
        next_step=again.strip() or "Start it again when it is needed.",
    )


def _words(instance: Instance, bounds: tuple[Bound, ...], last: datetime | None) -> str:
    used = f", last used {utc(last)}" if last is not None else ""
    ends = f"Stops at {utc(bounds[0].at)}, when {bounds[0].ends}." if bounds else "Nothing stops it by itself."
    return f"Up since {utc(instance.begun_at)}{used}. {ends}"


def span(seconds: int) -> str:
    """Return a length of time in the largest unit that tells it exactly: `90 minutes`, `8 hours`."""
    for length, unit in _UNITS:
        if seconds % length == 0 and seconds:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "no time"


def utc(at: datetime) -> str:
    """Return a moment as people read it."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
