"""Quarantine: a property beside the status, in which an instance stays as it is until an administrator lets it go.

    event        where                                      what it sets
    quarantine   not terminated, not in quarantine          a new one, not settled
    release      not terminated, in quarantine              its end, not settled

    in quarantine                          who
    start, retry, resize, extend           nobody: release it first
    stop, delete                           an administrator, who says so (`Event.is_despite_quarantine`)
    what builds and machines do by itself  goes on: the status follows what is there
    a server that was starting             stands still and is not over time; released, it has its whole time again

It is settled once its machine was seen to be as it should: cut off and frozen, or let go again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, Reason

if TYPE_CHECKING:
    from nightingale.domain.instance import Instance

COMMANDED = frozenset({EventName.START, EventName.RETRY, EventName.RESIZE, EventName.EXTEND})
"""What nobody can ask of an instance in quarantine."""

ENDING = frozenset({EventName.STOP, EventName.DELETE})
"""What an administrator can."""

CHANGES = frozenset({EventName.QUARANTINE, EventName.RELEASE})

WORDS = {
    EventName.QUARANTINE: Reason(
        ReasonCode.QUARANTINED, "It was put in quarantine.", "Talk to the administrators of the platform."
    ),
    EventName.RELEASE: Reason(ReasonCode.RELEASED, "It was released from quarantine."),
}
"""What its history says of it to everybody; why is for administrators (`HistoryEntry.note`)."""


@dataclass(frozen=True)
class Quarantine:
    """The latest quarantine of an instance. `why` and `by_rule` are for administrators, `why` stays in the platform."""

    since: datetime
    by: str
    why: str = ""
    by_rule: str = ""
    released_at: datetime | None = None
    released_by: str = ""
    released_why: str = ""
    settled_at: datetime | None = None
    """When its machine was first seen to be as this asks; None until then."""
    trouble: str = ""
    """Why that is not so yet."""

    @property
    def is_held(self) -> bool:
        """Whether it lasts."""
        return self.released_at is None


def with_change(instance: Instance, event: Event, at: datetime) -> Quarantine | None:
    """Return the quarantine as one of the events of CHANGES leaves it."""
    if event.name is EventName.QUARANTINE:
        return Quarantine(since=at, by=event.actor, why=event.note, by_rule=event.by_rule)
    held = instance.quarantine
    if held is None:
        return None
    return replace(held, released_at=at, released_by=event.actor, released_why=event.note, settled_at=None, trouble="")


def accepts_change(instance: Instance, event: EventName) -> bool:
    """Return whether it can be put in quarantine, or released, now."""
    is_wanted = event is EventName.QUARANTINE
    return instance.status is not Status.TERMINATED and instance.is_quarantined is not is_wanted


def require_free(instance: Instance, event: Event) -> None:
    """Refuse what nobody, or not this one, can ask of an instance in quarantine. Raises RefusedError `forbidden`."""
    if not instance.is_quarantined or event.name not in COMMANDED | ENDING:
        return
    if event.name in ENDING and event.is_despite_quarantine:
        return
    raise RefusedError(
        ErrorCode.FORBIDDEN,
        f"{instance.name} is in quarantine: it stays as it is",
        "Talk to the administrator, who can release it: nightingale admin release.",
    )
