"""What the app shows, as frozen data and pure reducers. No Textual, no HTTP, no clock: `at` and `now` are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from nightingale.contract.schemas import InstanceOut, LogOut, NotificationOut
from nightingale.contract.vocabulary import Status
from nightingale_tui.api.errors import ClientError, NotLoggedInError

STALE_AFTER_S = 5.0
"""Data older than this is shown as stale; a poll that goes well takes some hundredths of a second."""
SLOWEST_POLL_S = 15.0
KEPT_LOG_LINES = 2_000


@dataclass(frozen=True)
class Problem:
    """Why the platform did not do what was asked, for a person: what happened and what to do next."""

    code: str
    words: str
    next_step: str = ""
    is_login: bool = False
    details: tuple[tuple[str, str], ...] = ()


def problem_of(error: ClientError) -> Problem:
    """Return the client's error as words to show; `details` pairs a body's path with its message."""
    return Problem(
        code=error.code,
        words=error.message,
        next_step=error.next_step,
        is_login=isinstance(error, NotLoggedInError),
        details=tuple((detail.path, detail.message) for detail in error.details),
    )


# --- the feed of instances --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """The instances as last heard, when that was, and what went wrong since."""

    instances: tuple[InstanceOut, ...] = ()
    fetched_at: datetime | None = None
    problem: Problem | None = None
    failures: int = 0


def loaded(instances: tuple[InstanceOut, ...], *, at: datetime) -> Feed:
    """Return the feed after a good answer, which forgets every problem before it."""
    return Feed(instances=instances, fetched_at=at)


def untold(known: frozenset[str], feed: Feed) -> tuple[tuple[InstanceOut, NotificationOut], ...]:
    """Return what instances told that is not among the `known` ids, oldest first."""
    news = [(one, told) for one in feed.instances for told in one.notifications if told.id not in known]
    return tuple(sorted(news, key=lambda pair: pair[1].at))


def told_ids(feed: Feed) -> frozenset[str]:
    """Return the ids of everything that instances told."""
    return frozenset(told.id for one in feed.instances for told in one.notifications)


def poll_failed(feed: Feed, problem: Problem) -> Feed:
    """Return the feed after a bad answer: the data stays, its age shows."""
    return replace(feed, problem=problem, failures=feed.failures + 1)


def instance_changed(feed: Feed, instance: InstanceOut) -> Feed:
    """Return the feed with this newer answer about one instance; an unknown one comes first (newest first)."""
    if any(known.id == instance.id for known in feed.instances):
        merged = tuple(instance if known.id == instance.id else known for known in feed.instances)
    else:
        merged = (instance, *feed.instances)
    return replace(feed, instances=merged)


def poll_delay(feed: Feed) -> float:
    """Return the seconds to wait before the next poll: one, doubled with each failure in a row, at most 15."""
    return min(SLOWEST_POLL_S, 2.0 ** min(feed.failures, 10))


def age_s(feed: Feed, now: datetime) -> float | None:
    """Return how many seconds old the data is; None when there never was any."""
    return None if feed.fetched_at is None else max(0.0, (now - feed.fetched_at).total_seconds())


def is_stale(feed: Feed, now: datetime) -> bool:
    """Return whether what is shown may no longer be true."""
    age = age_s(feed, now)
    return feed.problem is not None or (age is not None and age > STALE_AFTER_S)


def shown_now(feed: Feed, now: datetime) -> datetime:
    """Return the moment up to which the data speaks: now while fresh, else a few seconds after it was fetched.

    Everything that ticks is computed up to this moment, so stale numbers stand still instead of being guessed on.
    """
    if feed.fetched_at is None:
        return now
    elapsed = (now - feed.fetched_at).total_seconds()
    return now if 0 <= elapsed <= STALE_AFTER_S and feed.problem is None else feed.fetched_at


def uptime_s(instance: InstanceOut, shown: datetime) -> int | None:
    """Return the seconds since it became running; None when it does not run."""
    if instance.running_since is None or instance.status is not Status.RUNNING:
        return None
    return max(0, int((shown - instance.running_since).total_seconds()))


def find(feed: Feed, instance_id: str | None) -> InstanceOut | None:
    """Return the instance of this id, or None."""
    return next((instance for instance in feed.instances if instance.id == instance_id), None)


# --- how the list is looked at ----------------------------------------------------------------------------------------


class SortKey(StrEnum):
    """What the list is ordered by; the value is the column's title."""

    NEWEST = "NEWEST"
    NAME = "NAME"
    OWNER = "OWNER"
    STATUS = "STATUS"
    COST = "COST"
    PRICE = "$/H"


_STATUS_ORDER = {status: place for place, status in enumerate((
    Status.FAILED, Status.REQUESTED, Status.PROVISIONING, Status.STARTING, Status.RESIZING, Status.RUNNING,
    Status.STOPPING, Status.STOPPED, Status.TERMINATING, Status.TERMINATED,
))}  # what needs a person comes first  # fmt: skip

_SORTS: dict[SortKey, Callable[[InstanceOut], tuple[object, ...]]] = {
    SortKey.NEWEST: lambda one: (-one.created_at.timestamp(),),
    SortKey.NAME: lambda one: (one.name,),
    SortKey.OWNER: lambda one: (one.owner, one.name),
    SortKey.STATUS: lambda one: (_STATUS_ORDER[one.status], one.name),
    SortKey.COST: lambda one: (-one.cost.amount, one.name),
    SortKey.PRICE: lambda one: (-one.price_per_hour.amount, one.name),
}


@dataclass(frozen=True)
class ListView:
    """Filter, order and whether terminated instances show."""

    words: str = ""
    sort: SortKey = SortKey.NEWEST
    is_reversed: bool = False
    shows_terminated: bool = False


def next_sort(view: ListView) -> ListView:
    """Return the view ordered by the next key, in that key's natural direction."""
    keys = list(SortKey)
    return replace(view, sort=keys[(keys.index(view.sort) + 1) % len(keys)], is_reversed=False)


def visible(feed: Feed, view: ListView) -> tuple[InstanceOut, ...]:
    """Return the instances to show, in order. Every word of the filter must occur somewhere in a row."""
    words = view.words.lower().split()
    rows = [
        one
        for one in feed.instances
        if (view.shows_terminated or one.status is not Status.TERMINATED) and _matches(one, words)
    ]
    rows.sort(key=_SORTS[view.sort], reverse=view.is_reversed)
    return tuple(rows)


def _matches(one: InstanceOut, words: list[str]) -> bool:
    datasets = " ".join(mount.dataset for mount in one.datasets)
    reason = one.reason.code if one.reason else ""
    text = f"{one.name} {one.id} {one.owner} {one.status} {one.place} {one.image} {datasets} {reason}".lower()
    return all(word in text for word in words)


@dataclass(frozen=True)
class Totals:
    """The line above the list: how many there are, how many run, and what they cost an hour together."""

    count: int = 0
    running: int = 0
    per_hour: Decimal = Decimal(0)
    currency: str = ""


def totals(feed: Feed) -> Totals:
    """Return the totals over everything that is not terminated; a running one costs its price per hour."""
    alive = [one for one in feed.instances if one.status is not Status.TERMINATED]
    running = [one for one in alive if one.status is Status.RUNNING]
    return Totals(
        count=len(alive),
        running=len(running),
        per_hour=sum((one.price_per_hour.amount for one in running), Decimal(0)),
        currency=alive[0].price_per_hour.currency if alive else "",
    )


# --- a log that is read as it grows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogView:
    """Lines of one log so far. `subject` names what is logged (a build, a generation): another one starts anew."""

    subject: str = ""
    lines: tuple[str, ...] = ()
    next_offset: int | None = None
    is_complete: bool = False
    dropped: int = field(default=0)


def log_subject_changed(log: LogView, subject: str) -> LogView:
    """Return the log to go on with: the same while its subject is the same, else an empty one."""
    return log if log.subject == subject else LogView(subject=subject)


def log_read(log: LogView, answer: LogOut) -> LogView:
    """Return the log with the answer's lines behind its own; only the last 2,000 are kept."""
    lines = log.lines + answer.lines
    excess = max(0, len(lines) - KEPT_LOG_LINES)
    return replace(
        log,
        lines=lines[excess:],
        next_offset=answer.next_offset,
        is_complete=answer.is_complete,
        dropped=log.dropped + excess,
    )
