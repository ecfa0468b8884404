"""The fake platform's findings, and its answers about them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from nightingale.contract import findings as f
from nightingale.contract import rules as r
from nightingale.contract.errors import ErrorCode
from tui.api.fake_state import FakeState, Refused, page_of


def sample_finding(number: int, now: datetime, **changes: Any) -> f.FindingOut:
    """Return a critical finding of a decoy that grace read an hour ago; `changes` are FindingOut's fields."""
    first = now - timedelta(hours=1)
    found = f.FindingOut(
        id=f"f-{number:010d}",
        rule="honeypot_touched",
        rule_id=f"11111111-1111-4111-8111-{number:012d}",
        title="A decoy file was read",
        severity=f.Severity.CRITICAL,
        state=f.FindingState.OPEN,
        revision=1,
        person="grace",
        instance="i-0000000001",
        project="heart",
        first_seen=first,
        last_seen=first + timedelta(minutes=10),
        opened_at=first + timedelta(seconds=3),
        event_count=3,
        techniques=("T1530", "T1078.004"),
        author="Nightingale",
        origin="nightingale",
        next_step="Ask the person, then look at what else they read.",
        tier=2,
        is_quarantined=True,
        actions=(
            f.FindingActionOut(
                kind=f.ResponseKind.NOTIFY,
                state=f.ResponseState.DONE,
                at=first + timedelta(seconds=3),
                actor="platform",
                words="shown to administrators",
            ),
            f.FindingActionOut(
                kind=f.ResponseKind.QUARANTINE,
                state=f.ResponseState.DONE,
                at=first + timedelta(seconds=4),
                actor="platform",
                words="it is in quarantine",
            ),
        ),
        history=(f.FindingChangeOut(at=first + timedelta(seconds=3), actor="platform", change="opened"),),
    )
    return msgspec.structs.replace(found, **changes)


def sample_events(finding: f.FindingOut) -> tuple[f.FindingEventOut, ...]:
    """Return three reads behind a finding."""
    return tuple(
        f.FindingEventOut(
            id=f"reads-{finding.instance}/{number}",
            at=finding.first_seen + timedelta(minutes=5 * number),
            tag="dataset:read:recorded",
            actor=finding.person or "",
            subject=finding.instance or "",
            words=f"read demo/patients/list-{number}.csv: 4,096 bytes by python3",
        )
        for number in range(3)
    )


class FakeFindings(FakeState):
    """One method per operation about findings."""

    def __init__(self) -> None:
        super().__init__()
        self.findings: dict[str, f.FindingOut] = {}
        self.has_auditors = True
        """Whether members of a project audit it."""
        self.scan = f.ScanOut(state="ok", last_ok_at=self.now, events_read=100)

    def add_finding(self, **changes: Any) -> f.FindingOut:
        """Add a finding, the newest of all."""
        found = sample_finding(len(self.findings) + 1, self.now, **changes)
        self.findings[found.id] = found
        return found

    def on_list_findings(
        self,
        who: str,
        cursor: str | None = None,
        limit: int | None = None,
        **filters: str,
    ) -> f.FindingsOut:
        if who not in self.admins:
            raise Refused(ErrorCode.FORBIDDEN, f"{who} may not findings:read")
        return self._page(cursor, limit, filters)

    def on_list_project_findings(
        self, who: str, project: str, cursor: str | None = None, limit: int | None = None, **filters: str
    ) -> f.FindingsOut:
        if who not in self.admins and not self.has_auditors:
            raise Refused(ErrorCode.FORBIDDEN, f"{who} may not project:findings:read")
        return self._page(cursor, limit, filters | {"project": project})

    def _page(self, cursor: str | None, limit: int | None, filters: dict[str, str]) -> f.FindingsOut:
        rows = [one for one in reversed(self.findings.values()) if _fits(one, filters)]
        page, next_cursor = page_of(rows, cursor, limit)
        return f.FindingsOut(findings=page, scan=self.scan, next_cursor=next_cursor)

    def on_get_finding(self, _: str, finding: str) -> f.FindingDetailOut:
        found = self._finding(finding)
        return f.FindingDetailOut(finding=found, events=sample_events(found))

    def on_update_finding(self, person: str, finding: str, body: f.FindingUpdateIn) -> f.FindingOut:
        found = self._at(finding, body.revision)
        return self._changed(found, person, body.state.value, body.note, state=body.state)

    def on_confirm_finding_action(self, person: str, finding: str, body: f.FindingDecisionIn) -> f.FindingOut:
        return self._decided(person, finding, body, f.ResponseState.DONE)

    def on_dismiss_finding_action(self, person: str, finding: str, body: f.FindingDecisionIn) -> f.FindingOut:
        return self._decided(person, finding, body, f.ResponseState.DISMISSED)

    def _decided(self, person: str, finding: str, body: f.FindingDecisionIn, state: f.ResponseState) -> f.FindingOut:
        found = self._at(finding, body.revision)
        actions = tuple(
            msgspec.structs.replace(one, state=state, actor=person) if one.kind is body.action else one
            for one in found.actions
        )
        return self._changed(found, person, f"{state.value} {body.action.value}", body.note, actions=actions)

    def _changed(self, found: f.FindingOut, person: str, change: str, note: str, **fields: Any) -> f.FindingOut:
        line = f.FindingChangeOut(at=self.now, actor=person, change=change, note=note)
        after = msgspec.structs.replace(found, revision=found.revision + 1, history=(*found.history, line), **fields)
        self.findings[found.id] = after
        return after

    def _at(self, finding: str, revision: int) -> f.FindingOut:
        found = self._finding(finding)
        if found.revision != revision:
            raise Refused(ErrorCode.FINDING_CHANGED, f"{finding} is at revision {found.revision} by now.")
        return found

    def _finding(self, finding: str) -> f.FindingOut:
        if finding not in self.findings:
            raise Refused(ErrorCode.NOT_FOUND, f"there is no finding {finding}")
        return self.findings[finding]

    def on_upload_rules(self, _: str, body: r.RulesPartIn) -> r.RulesTakenOut:
        parts = self.rule_parts.setdefault(body.digest, {})
        parts[body.part] = body.rules
        missing = tuple(part for part in range(1, body.parts + 1) if part not in parts)
        return r.RulesTakenOut(digest=body.digest, is_whole=not missing, missing=missing)

    def on_list_rules(self, _: str, cursor: str | None = None, limit: int | None = None) -> r.OwnRulesOut:
        named = self.cluster.findings.rules_digest if self.cluster and self.cluster.findings else None
        rules = [rule for _, part in sorted(self.rule_parts.get(named or "", {}).items()) for rule in part]
        rows = [
            r.OwnRuleOut(
                id=rule.id,
                name=rule.name,
                title=rule.title,
                level=rule.level,
                author=rule.author,
                source=rule.source,
                digest=r.rule_digest(rule),
            )
            for rule in rules
        ]
        page, next_cursor = page_of(rows, cursor, limit)
        return r.OwnRulesOut(digest=named or "", rules=page, next_cursor=next_cursor)


def _fits(finding: f.FindingOut, filters: dict[str, str]) -> bool:
    state = filters.get("state")
    if state == "unresolved" and finding.state.is_closed:
        return False
    if state not in {None, "unresolved", finding.state.value}:
        return False
    if "severity" in filters and finding.severity.rank < f.Severity(filters["severity"]).rank:
        return False
    return all(getattr(finding, name) == filters.get(name, getattr(finding, name)) for name in _NAMES)


_NAMES = ("project", "person", "rule")
