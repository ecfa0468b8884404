"""What the observer of an instance's reads says of itself: what is wrong now, and the last few things that were.

    fact              trouble before      trouble after
    spool_full        none                spool_full
    spool_drained     spool_full          none
    spool_damaged     any                 spool_damaged, for good
    observer_restarted  any               the same: readers waited, and wait no more

It is told by the observer's shipper, outside the sandbox, and so apart from what the instance says of its own work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nightingale.contract.reads import ReadKind, ReadRecord

MOST_TOLD = 5


@dataclass(frozen=True)
class Trouble:
    """What keeps reads from being recorded, since when, and what the observer added."""

    kind: ReadKind
    since: datetime
    note: str

    @property
    def words(self) -> str:
        """What it means."""
        note = f" ({self.note})" if self.note else ""
        if self.kind is ReadKind.SPOOL_DAMAGED:
            return f"The spool of its reads is damaged{note}: what lies behind is not recorded, and readers will wait."
        return f"The spool of its reads is full{note}: readers of its datasets wait since {moment(self.since)}."

    @property
    def next_step(self) -> str:
        """What to do."""
        if self.kind is ReadKind.SPOOL_DAMAGED:
            return "An administrator keeps its folder `reads` as evidence and looks who wrote there; launch another."
        return (
            "It goes on by itself once the platform takes records and its disk has room: an administrator sees to it."
        )


@dataclass(frozen=True)
class Told:
    """One thing that was. `number` is that of its record."""

    number: int
    at: datetime
    words: str


@dataclass(frozen=True)
class Watching:
    """All of it, oldest first."""

    trouble: Trouble | None = None
    told: tuple[Told, ...] = ()

    def with_fact(self, fact: ReadRecord) -> Watching:
        """Return it with a fact added, once: one of a number that was told before changes nothing."""
        if any(fact.number <= one.number for one in self.told):
            return self
        told = Told(fact.number, fact.at, _words(fact, self.trouble))
        return replace(self, trouble=_trouble(fact, self.trouble), told=(*self.told[-(MOST_TOLD - 1) :], told))


NO_WATCHING = Watching()


def moment(at: datetime) -> str:
    """Return a time as people compare it with their own records."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _trouble(fact: ReadRecord, before: Trouble | None) -> Trouble | None:
    if before is not None and before.kind is ReadKind.SPOOL_DAMAGED:
        return before
    if fact.kind in {ReadKind.SPOOL_FULL, ReadKind.SPOOL_DAMAGED}:
        return Trouble(fact.kind, fact.at, fact.note)
    return None if fact.kind is ReadKind.SPOOL_DRAINED else before


def _words(fact: ReadRecord, before: Trouble | None) -> str:
    if fact.kind is ReadKind.OBSERVER_RESTARTED:
        return (
            "The observer of its reads was killed and replaced: readers waited meanwhile, and what it had not answered "
            "was refused."
        )
    if fact.kind is ReadKind.SPOOL_DRAINED:
        since = f" from {moment(before.since)}" if before is not None else ""
        return (
            f"The spool of its reads has room again: readers waited{since} until {moment(fact.at)}. None went unseen."
        )
    return Trouble(fact.kind, fact.at, fact.note).words
