"""The client's calls about findings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from nightingale.contract import findings as f
from nightingale.contract import rules as r

Filters = Mapping[str, str | None]
NONE: Filters = MappingProxyType({})


class FindingCalls:
    """Mixed into Api, which says how a call is made."""

    def _call(
        self, operation: str, *path: str, body: msgspec.Struct | None = None, **query: str | int | bool | None
    ) -> Any:
        raise NotImplementedError

    def list_findings(
        self,
        *,
        project: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        filters: Filters = NONE,
    ) -> f.FindingsOut:
        """Return a page of findings, newest first; filters are `state`, `severity`, `person`, `rule`."""
        told: dict[str, Any] = {"project": project, "cursor": cursor, "limit": limit, **filters}
        answer: f.FindingsOut = self._call("list_findings", **told)
        return answer

    def list_project_findings(
        self,
        project: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        filters: Filters = NONE,
    ) -> f.FindingsOut:
        """Return the same of one project: what its auditors may ask."""
        told: dict[str, Any] = {"cursor": cursor, "limit": limit, **filters}
        answer: f.FindingsOut = self._call("list_project_findings", project, **told)
        return answer

    def get_finding(self, finding: str) -> f.FindingDetailOut:
        """Return a finding and the events behind it."""
        answer: f.FindingDetailOut = self._call("get_finding", finding)
        return answer

    def update_finding(self, finding: str, body: f.FindingUpdateIn) -> f.FindingOut:
        """Move it to another state."""
        answer: f.FindingOut = self._call("update_finding", finding, body=body)
        return answer

    def confirm_finding_action(self, finding: str, body: f.FindingDecisionIn) -> f.FindingOut:
        """Say yes to an action that waits: it is done at once."""
        answer: f.FindingOut = self._call("confirm_finding_action", finding, body=body)
        return answer

    def dismiss_finding_action(self, finding: str, body: f.FindingDecisionIn) -> f.FindingOut:
        """Say no to it."""
        answer: f.FindingOut = self._call("dismiss_finding_action", finding, body=body)
        return answer

    def upload_rules(self, body: r.RulesPartIn) -> r.RulesTakenOut:
        """Upload one part of the organisation's compiled rules; again is no harm."""
        answer: r.RulesTakenOut = self._call("upload_rules", body=body)
        return answer

    def list_rules(self, *, cursor: str | None = None, limit: int | None = None) -> r.OwnRulesOut:
        """Return a page of the organisation's rules that the platform runs, in order of name."""
        answer: r.OwnRulesOut = self._call("list_rules", cursor=cursor, limit=limit)
        return answer
