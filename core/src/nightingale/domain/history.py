"""What happens to an instance, and the numbered entries that record it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nightingale.contract.schemas import LimitOut, ObserverOut, Size
from nightingale.contract.vocabulary import Action, ReasonCode, Status


class EventName(StrEnum):
    """What can happen to an instance."""

    LAUNCH = "launch"
    BUILD_STARTED = "build_started"
    BUILD_SUCCEEDED = "build_succeeded"
    BUILD_FAILED = "build_failed"
    MOVED_ON = "moved_on"
    BECAME_READY = "became_ready"
    CRASHED = "crashed"
    DEADLINE_PASSED = "deadline_passed"
    WENT_UNREACHABLE = "went_unreachable"
    CAME_BACK = "came_back"
    STAYED_AWAY = "stayed_away"
    STOP = "stop"
    START = "start"
    RESIZE = "resize"
    RETRY = "retry"
    DELETE = "delete"
    EXTEND = "extend"
    QUARANTINE = "quarantine"
    RELEASE = "release"


@dataclass(frozen=True)
class Reason:
    """Why it stands where it stands. `log_tail` may hold patients' data: shown in the platform only."""

    code: ReasonCode
    words: str
    next_step: str = ""
    action: Action | None = None
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mount:
    """A dataset version that the instance sees read-only."""

    dataset: str
    version: str
    tier: int


@dataclass(frozen=True)
class Event:
    """One thing that happened. Fields that an event does not use stay at their defaults."""

    name: EventName
    actor: str
    reason: Reason | None = None
    size: Size | None = None
    build_id: str | None = None
    last_good_at: datetime | None = None
    stops_at: datetime | None = None
    sandbox: str | None = None
    limits: tuple[LimitOut, ...] = ()
    observer: ObserverOut | None = None
    image_digest: str | None = None
    note: str = ""
    """Why, in words that only administrators read."""
    by_rule: str = ""
    """The rule or finding for which the platform acted by itself."""
    is_despite_quarantine: bool = False
    """Asked for by an administrator who knows that it is in quarantine."""
    is_relaunch: bool = False
    """A retry by the platform itself: see domain.relaunch."""


@dataclass(frozen=True)
class HistoryEntry:
    """One change, numbered from 1, never altered. Compute billing ends at `billed_until` where that is set."""

    seq: int
    at: datetime
    event: EventName
    before: Status | None
    after: Status
    actor: str
    size: Size
    generation: int
    billed_until: datetime | None = None
    build_id: str | None = None
    reason: Reason | None = None
    image_digest: str | None = None
    """Of the image that this start was made from."""
    place: str = ""
    """Where it was to be after the change."""
    note: str = ""
    """Why, for administrators."""
