"""Findings as they are shown: pages by filter, and the events behind one in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from nightingale.contract.findings import (
    FindingActionOut,
    FindingChangeOut,
    FindingDetailOut,
    FindingEventOut,
    FindingOut,
    FindingsOut,
    FindingState,
    ResponseKind,
    ResponseState,
    Severity,
)
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.finding import Finding
from nightingale.ports.audit_log import AuditLog, SealedEvent
from nightingale.ports.clock import Clock
from nightingale.ports.store import Store
from nightingale.services import records
from nightingale.services.scan_state import scan_state

_MOST_LOOKED_AT = 1_000
"""Findings that one page looks at; with a rare filter a page may be short, and its cursor goes on."""
MOST_EVENTS = 60
_MOST_DETAIL = 300
_EVENT_ID = re.compile(r"([a-z0-9][a-z0-9-]{0,62})[/:#]([0-9]{1,15})(?:[/:#].*)?")
"""A stream of the audit log and the number of the record; other sources name their events in their own way."""

_OPEN_STATES = frozenset({FindingState.OPEN, FindingState.ACKNOWLEDGED})


@dataclass(frozen=True)
class Wanted:
    """Which findings a page shows; None: all."""

    state: str | None = None
    """A state, or `unresolved` for those that nobody has closed."""
    severity: str | None = None
    """At least so bad."""
    project: str | None = None
    person: str | None = None
    rule: str | None = None

    def fits(self, finding: Finding) -> bool:
        """Return whether it is one of them."""
        if self.state == "unresolved" and finding.state not in _OPEN_STATES:
            return False
        if self.state not in {None, "unresolved", finding.state.value}:
            return False
        if self.severity is not None and finding.rule.severity.rank < Severity(self.severity).rank:
            return False
        return (
            self.person in {None, finding.person}
            and self.rule in {None, finding.rule.name, finding.rule.id}
            and self.project in {None, finding.project}
        )


@dataclass(frozen=True)
class FindingViews:
    """Reads findings."""

    store: Store
    clock: Clock
    audit: AuditLog

    def page(self, wanted: Wanted, cursor: str | None, limit: int) -> FindingsOut:
        """Return a page of findings, the newest first. Raises InvalidCursorError, StoreUnavailableError."""
        found: list[FindingOut] = []
        looked_at = 0
        index, partition = records.INDEX1, records.FINDINGS
        if wanted.project is not None:
            index, partition = records.INDEX2, records.findings_partition(wanted.project)
        while True:
            page = self.store.query_index(index, partition, limit=limit - len(found), cursor=cursor, is_reversed=True)
            looked_at += len(page.items)
            cursor = page.cursor
            findings = (records.decode(item, Finding) for item in page.items)
            found += [present(one) for one in findings if wanted.fits(one)]
            if cursor is None or len(found) >= limit or looked_at >= _MOST_LOOKED_AT:
                return FindingsOut(findings=tuple(found), scan=scan_state(self.store, self.clock), next_cursor=cursor)

    def detail(self, finding: Finding) -> FindingDetailOut:
        """Return the finding with the first and last events behind it, read from the audit log."""
        half = MOST_EVENTS // 2
        ids = finding.events if len(finding.events) <= MOST_EVENTS else finding.events[:half] + finding.events[-half:]
        events = sorted(self._events(ids), key=lambda one: (one.at is None, one.at or finding.first_seen))
        return FindingDetailOut(
            finding=present(finding),
            events=tuple(events),
            events_left_out=max(0, finding.event_count - len(ids)),
        )

    def _events(self, ids: Iterable[str]) -> Iterator[FindingEventOut]:
        numbers: dict[str, list[tuple[int, str]]] = {}
        for event_id in ids:
            match = _EVENT_ID.fullmatch(event_id)
            if match is None:
                yield FindingEventOut(id=event_id)
            else:
                numbers.setdefault(match[1], []).append((int(match[2]), event_id))
        for stream, wanted in numbers.items():
            for run in _runs(sorted(wanted)):
                first = run[0][0]
                sealed = self.audit.read(stream, first - 1, run[-1][0] - first + 1) if first else ()
                by_number = {one.seq: one for one in sealed}
                yield from (_event(event_id, by_number.get(number)) for number, event_id in run)


def _runs(wanted: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Yield neighbours together: one look into the log for all of them."""
    run: list[tuple[int, str]] = []
    for one in wanted:
        if run and one[0] - run[-1][0] > 1:
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _event(event_id: str, sealed: SealedEvent | None) -> FindingEventOut:
    if sealed is None:
        return FindingEventOut(id=event_id)
    event = sealed.event
    return FindingEventOut(
        id=event_id,
        at=event.at,
        tag=event.tag,
        actor=event.actor,
        subject=event.subject,
        words=event_words(event.tag, event.detail),
    )


def event_words(tag: str, detail: Mapping[str, str]) -> str:
    """Return what happened in words, at most 300 characters. For the platform only: it may name a file."""
    if tag == AuditTag.DATASET_READ.value:
        size = f"{int(detail['bytes']):,} bytes" if detail.get("bytes", "").isdecimal() else "opened"
        program = detail.get("program", "").rpartition("/")[2]
        by = f" by {program}" if program else ""
        words = f"read {detail.get('dataset', '')}/{detail.get('path', '')}: {size}{by}"
    else:
        told = " ".join(f"{name}={text}" for name, text in sorted(detail.items()))
        words = f"{tag.replace(':', ' ')} {told}".strip()
    words = "".join(one if one.isprintable() else " " for one in words)
    return words if len(words) <= _MOST_DETAIL else words[: _MOST_DETAIL - 1] + "…"


def present(finding: Finding) -> FindingOut:
    """Return a finding as the API answers it."""
    quarantine = finding.action(ResponseKind.QUARANTINE)
    return FindingOut(
        id=finding.id,
        rule=finding.rule.name,
        rule_id=finding.rule.id,
        title=finding.rule.title,
        severity=finding.rule.severity,
        state=finding.state,
        revision=finding.revision,
        person=finding.person,
        instance=finding.instance,
        project=finding.project,
        group=dict(finding.group),
        first_seen=finding.first_seen,
        last_seen=finding.last_seen,
        opened_at=finding.opened_at,
        event_count=finding.event_count,
        value=finding.value,
        techniques=finding.rule.techniques,
        author=finding.rule.author,
        origin=finding.rule.origin,
        next_step=finding.rule.next_step,
        tier=finding.tier,
        is_quarantined=quarantine is not None and quarantine.state is ResponseState.DONE,
        merged_into=finding.merged_into,
        actions=tuple(
            FindingActionOut(kind=one.kind, state=one.state, at=one.at, actor=one.actor, words=one.words)
            for one in finding.actions
        ),
        history=tuple(
            FindingChangeOut(at=one.at, actor=one.actor, change=one.change, note=one.note) for one in finding.history
        ),
    )
