"""Findings: what a rule saw of one group in one episode, and where people stand with it.

    firings of one group     ──A──      ─B─                 ──C──        (A, B no further apart than the rule's episode)
    findings                 ├──── f-1 ───┤                 ├ f-2 ┤

    state      a firing of the same episode                          a firing of a later episode
    open, acknowledged: it grows                                     a new finding
    resolved   it grows; open again when the firing goes on after    a new finding
               it was resolved
    false      it grows and stays closed                             a new finding
    alarm

Merging is the same for any order, any split and any repetition of the firings: spans take the least and the greatest,
counts and values the greatest, events the first and last hundred; whom they are about is nobody once they differ. A
firing between two findings of one group makes them one: the older stays, the other says which one it is part of.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from nightingale.contract.findings import FindingState, ResponseKind, ResponseState, Severity

Number = TypeVar("Number", int, float)

MOST_KEPT = 100
"""Ids of events kept from either end of a finding."""
MOST_HISTORY = 100
"""Changes kept: the first, and the last ones."""

PLATFORM = "platform"


@dataclass(frozen=True)
class RuleFacts:
    """What a finding says of its rule, as it was when the finding was opened."""

    id: str
    name: str
    title: str
    severity: Severity
    techniques: tuple[str, ...] = ()
    author: str = ""
    origin: str = "nightingale"
    response: ResponseKind | None = None
    """What to do whatever the tier; None: the tier decides."""
    next_step: str = ""
    episode_s: int = 3600


@dataclass(frozen=True)
class Hit:
    """One firing of a rule, with the rule: what a scan hands over. Times are aware, UTC."""

    rule: RuleFacts
    person: str | None
    instance: str | None
    project: str | None
    first_seen: datetime
    last_seen: datetime
    event_count: int
    events: tuple[str, ...]
    group: tuple[tuple[str, str], ...] = ()
    value: float | None = None
    grouped_by: tuple[str, ...] = ("person", "instance", "project")
    """Which of these three the rule groups by. Another says whom all events name, and nobody once they differ."""

    @property
    def subject(self) -> str:
        """Return what tells this group of this rule from every other (64 hexadecimal digits)."""
        named = [(name, getattr(self, name)) for name in sorted(self.grouped_by)]
        parts = [self.rule.id, named, sorted(self.group)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def is_near(self, first: datetime, last: datetime) -> bool:
        """Return whether a span of the same group belongs to the same episode."""
        gap = timedelta(seconds=self.rule.episode_s)
        return self.first_seen <= last + gap and first <= self.last_seen + gap


@dataclass(frozen=True)
class ResponseAction:
    """What the platform does about a finding, or would: see `ResponseState`."""

    kind: ResponseKind
    state: ResponseState
    at: datetime
    actor: str = PLATFORM
    words: str = ""


@dataclass(frozen=True)
class Change:
    """One change of a finding: who, when, what."""

    at: datetime
    actor: str
    change: str
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One rule, one group, one episode."""

    id: str
    subject: str
    rule: RuleFacts
    person: str | None
    instance: str | None
    project: str | None
    first_seen: datetime
    last_seen: datetime
    event_count: int
    events: tuple[str, ...]
    opened_at: datetime
    group: tuple[tuple[str, str], ...] = ()
    value: float | None = None
    tier: int | None = None
    state: FindingState = FindingState.OPEN
    revision: int = 0
    closed_at: datetime | None = None
    merged_into: str | None = None
    actions: tuple[ResponseAction, ...] = ()
    history: tuple[Change, ...] = ()

    def action(self, kind: ResponseKind) -> ResponseAction | None:
        """Return the latest action of this kind, or None."""
        return next((one for one in reversed(self.actions) if one.kind is kind), None)

    def with_action(self, action: ResponseAction) -> Finding:
        """Return it with the action in the place of the one of its kind, or behind the others."""
        others = tuple(one for one in self.actions if one.kind is not action.kind)
        return replace(self, actions=(*others, action), revision=self.revision + 1)

    def changed(self, at: datetime, actor: str, change: str, note: str = "") -> Finding:
        """Return it with one more line of history."""
        history = (*self.history, Change(at, actor, change, note))
        if len(history) > MOST_HISTORY:
            history = (history[0], *history[1 - MOST_HISTORY :])
        return replace(self, history=history, revision=self.revision + 1)

    def moved_to(self, state: FindingState, at: datetime, actor: str, note: str) -> Finding:
        """Return it in another state, with the line that says who moved it."""
        moved = replace(self, state=state, closed_at=at if state.is_closed else None)
        return moved.changed(at, actor, state.value, note)


def opened(hit: Hit, finding_id: str, at: datetime) -> Finding:
    """Return a new finding of a firing that belongs to no other."""
    finding = Finding(
        id=finding_id,
        subject=hit.subject,
        rule=hit.rule,
        person=hit.person,
        instance=hit.instance,
        project=hit.project,
        first_seen=hit.first_seen,
        last_seen=hit.last_seen,
        event_count=0,
        events=(),
        opened_at=at,
        group=tuple(sorted(hit.group)),
    )
    return _grown(finding, hit).changed(at, PLATFORM, "opened")


def merged(near: Sequence[Finding], hit: Hit, at: datetime) -> tuple[Finding, ...]:
    """Return those findings that the firing changes, each as it is after it; `near` are the ones it belongs to.

    The first of the answer is the one that stays; others became part of it. Nothing for a firing that says nothing new.
    """
    oldest, *others = sorted(near, key=lambda one: (one.first_seen, one.id))
    stays = _grown(oldest, hit)
    for other in others:
        stays = _grown(stays, other)
        kinds = {action.kind for action in stays.actions}
        taken = tuple(action for action in other.actions if action.kind not in kinds)
        stays = replace(stays, actions=stays.actions + taken, tier=_greatest(stays.tier, other.tier))
        if _OPENNESS[other.state] > _OPENNESS[stays.state]:
            stays = replace(stays, state=other.state, closed_at=other.closed_at)
        stays = stays.changed(at, PLATFORM, "merged", f"{other.id} is part of it")
    if oldest.closed_at is not None and stays.state is FindingState.RESOLVED and hit.last_seen > oldest.closed_at:
        stays = stays.moved_to(FindingState.OPEN, at, PLATFORM, "it went on after it was resolved")
    gone = tuple(_gone(other, stays.id, at) for other in others)
    return (stays, *gone) if others or stays != oldest else ()


_OPENNESS = {
    FindingState.FALSE_ALARM: 0,
    FindingState.RESOLVED: 1,
    FindingState.ACKNOWLEDGED: 2,
    FindingState.OPEN: 3,
}


def _gone(finding: Finding, stays: str, at: datetime) -> Finding:
    closed = replace(finding, merged_into=stays, closed_at=at, state=FindingState.RESOLVED, actions=())
    return closed.changed(at, PLATFORM, "merged", f"it is part of {stays}")


def _grown(finding: Finding, by: Hit | Finding) -> Finding:
    kept = _kept({*finding.events, *by.events})
    return replace(
        finding,
        first_seen=min(finding.first_seen, by.first_seen),
        last_seen=max(finding.last_seen, by.last_seen),
        person=finding.person if finding.person == by.person else None,
        instance=finding.instance if finding.instance == by.instance else None,
        project=finding.project if finding.project == by.project else None,
        event_count=max(finding.event_count, by.event_count, len(kept)),
        events=kept,
        value=_greatest(finding.value, by.value),
    )


def _kept(events: set[str]) -> tuple[str, ...]:
    """Return the first and the last ids in their order: of parts or of the whole, the same ones are left."""
    in_order = sorted(events, key=_natural)
    return tuple(in_order if len(in_order) <= 2 * MOST_KEPT else in_order[:MOST_KEPT] + in_order[-MOST_KEPT:])


def _natural(event_id: str) -> tuple[tuple[int, int, str], ...]:
    """Return what sorts `reads-i-1/9` before `reads-i-1/10`: numbers of records count as numbers, however long."""
    pieces = re.split(r"([0-9]+)", event_id)
    return (*(_piece(piece, is_number=at % 2 == 1) for at, piece in enumerate(pieces)), (2, 0, event_id))


def _piece(piece: str, *, is_number: bool) -> tuple[int, int, str]:
    digits = piece.lstrip("0")
    return (1, len(digits), digits) if is_number else (0, 0, piece)


def _greatest(one: Number | None, other: Number | None) -> Number | None:
    return one if other is None else other if one is None else max(one, other)
