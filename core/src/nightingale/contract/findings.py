"""Findings on the wire: what a rule saw, how bad it is, what was done about it and by whom."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from nightingale.contract.schemas import In, Out

MOST_NOTE = 1000


class Severity(StrEnum):
    """How bad, as Sigma's levels say it; least first."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return 0 for the least."""
        return list(Severity).index(self)


class FindingState(StrEnum):
    """Where people stand with a finding."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    FALSE_ALARM = "false_alarm"

    @property
    def is_closed(self) -> bool:
        """Return whether nobody has to look at it any more."""
        return self in {FindingState.RESOLVED, FindingState.FALSE_ALARM}


class ResponseKind(StrEnum):
    """What the platform does about a finding."""

    NOTIFY = "notify"
    QUARANTINE = "quarantine"
    REVOKE = "revoke"


class ResponseState(StrEnum):
    """Where such an action stands."""

    DUE = "due"
    """To be done by the platform itself, at once."""
    ASKED = "asked"
    """Waits for an administrator's yes."""
    DONE = "done"
    FAILED = "failed"
    WITHHELD = "withheld"
    """Not done by itself: too many were in the last hour. An administrator may confirm it."""
    DISMISSED = "dismissed"


class FindingActionOut(Out, frozen=True):
    """One action: what, where it stands, who did it or asked for it, when, and why it stands so in words."""

    kind: ResponseKind
    state: ResponseState
    at: datetime
    actor: str
    words: str = ""


class FindingChangeOut(Out, frozen=True):
    """One change of a finding by a person or the platform."""

    at: datetime
    actor: str
    change: str
    note: str = ""


class FindingEventOut(Out, frozen=True):
    """One event behind a finding, as the audit log holds it; only `id` where it does not."""

    id: str
    at: datetime | None = None
    tag: str = ""
    actor: str = ""
    subject: str = ""
    words: str = ""


class FindingOut(Out, frozen=True, kw_only=True):
    """A finding: one rule, one person, instance and project, one episode."""

    id: str
    rule: str
    """The rule's name, as people type it."""
    rule_id: str
    title: str
    severity: Severity
    state: FindingState
    revision: int
    """Of what people and the platform did about it: a change names the one it was made from."""
    person: str | None
    instance: str | None
    project: str | None
    group: dict[str, str] = field(default_factory=dict)
    first_seen: datetime
    last_seen: datetime
    opened_at: datetime
    event_count: int
    """At least so many: exact for up to 200 events, and for more whenever one scan saw them all."""
    value: float | None = None
    techniques: tuple[str, ...] = ()
    author: str = ""
    origin: str = ""
    next_step: str = ""
    tier: int | None = None
    is_quarantined: bool = False
    """Whether the platform quarantined the instance because of this finding; a release is not seen here."""
    merged_into: str | None = None
    """The finding of which this one turned out to be a part."""
    actions: tuple[FindingActionOut, ...] = ()
    history: tuple[FindingChangeOut, ...] = ()


class ScanSourceOut(Out, frozen=True):
    """How the scan of one log does."""

    source: str
    """`nightingale` for the platform's own log, else the source that the cluster file names."""
    state: str
    """`ok`; `behind` (files wait for the next scans); `partial` (something of a file was left out); `failing`;
    `late` (not looked at now, because the platform's own log is not scanned); of the platform's own also `never`."""
    log: str = ""
    """The folder or bucket, as the cluster file names it."""
    last_ok_at: datetime | None = None
    """When it was last read."""
    failing_since: datetime | None = None
    words: str = ""
    next_step: str = ""
    waiting: int = 0
    """Files that the next scans read."""
    left_out: int = 0
    """Files of which something was left out for good, since ever: a gzip bomb, or one that is too large to bring."""
    left_out_at: datetime | None = None
    """When that last was; for a day from then on the state is `partial`."""
    left_out_words: str = ""
    """Which file that was, and why."""


class ScanRuleOut(Out, frozen=True):
    """A rule that is not run, or was not when something new was last logged; the others are."""

    rule: str
    author: str
    failing_since: datetime
    words: str
    next_step: str = ""


class ScanOut(Out, frozen=True):
    """How the scan of the logs does, as a whole and log by log. `failing_since` is since when it fails, if it does."""

    state: str
    """`ok`; `partial` (the platform's own log is scanned, something else is not); `late` (nothing heard for two
    minutes); `failing` (the platform's own log is not scanned); or `never` (no scan has run yet)."""
    sources: tuple[ScanSourceOut, ...] = ()
    """The platform's own log first, then those of clouds."""
    rules: tuple[ScanRuleOut, ...] = ()
    """The rules that are not run: the first 50 of `rules_failing`."""
    rules_failing: int = 0
    last_ok_at: datetime | None = None
    """When the platform's own log was last scanned."""
    failing_since: datetime | None = None
    words: str = ""
    events_read: int = 0
    set_aside: int = 0
    undelivered: int = 0
    """Notices to the outside that wait, or were given up."""


class FindingsOut(Out, frozen=True):
    """A page of findings, the newest first, and how the scan does."""

    findings: tuple[FindingOut, ...]
    scan: ScanOut
    next_cursor: str | None = None


class FindingDetailOut(Out, frozen=True):
    """A finding and the events behind it, oldest first: the first and the last ones where there are many."""

    finding: FindingOut
    events: tuple[FindingEventOut, ...]
    events_left_out: int = 0


class FindingUpdateIn(In, frozen=True):
    """What a person says of a finding. `revision` is the one they looked at: another since refuses the change."""

    state: FindingState
    revision: Annotated[int, Meta(ge=0)]
    note: Annotated[str, Meta(max_length=MOST_NOTE)] = ""


class FindingDecisionIn(In, frozen=True):
    """A yes or a no to an action that waits. `revision` as in an update."""

    action: ResponseKind
    revision: Annotated[int, Meta(ge=0)]
    note: Annotated[str, Meta(max_length=MOST_NOTE)] = ""
