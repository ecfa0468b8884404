"""What is done about a finding: by its rule, else by the tier of the data (DESIGN: decision 8), within a brake.

    severity    tier 0, none    1                    2, 3
    critical    notify          notify, ask first    notify, quarantine
    below       notify          notify               notify

A rule's own `response` beats the table. What the cluster's policy does not let the platform do by itself is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightingale.contract.findings import ResponseKind, ResponseState, Severity
from nightingale.domain.finding import Finding, ResponseAction

_ASKS_FROM_TIER = 1
_ACTS_FROM_TIER = 2
BRAKE_SPAN = timedelta(hours=1)


@dataclass(frozen=True)
class ResponsePolicy:
    """What the cluster lets the platform do by itself."""

    max_auto_quarantines_per_hour: int = 5
    automatic: frozenset[ResponseKind] = frozenset({ResponseKind.QUARANTINE})


def planned(finding: Finding, policy: ResponsePolicy, at: datetime) -> tuple[ResponseAction, ...]:
    """Return what is to be done about a finding that was just opened, or opened again."""
    notify = ResponseAction(ResponseKind.NOTIFY, ResponseState.DUE, at)
    kind, is_asked = _wanted(finding)
    if kind is ResponseKind.NOTIFY:
        return (notify,)
    if words := _cannot(finding, kind):
        return notify, ResponseAction(kind, ResponseState.FAILED, at, words=words)
    if is_asked or kind not in policy.automatic:
        why = "the data is of tier 1" if is_asked else "the cluster file leaves it to an administrator"
        return notify, ResponseAction(kind, ResponseState.ASKED, at, words=f"waits for an administrator: {why}")
    return notify, ResponseAction(kind, ResponseState.DUE, at)


def _wanted(finding: Finding) -> tuple[ResponseKind, bool]:
    """Return what to do, and whether an administrator has to say yes to it."""
    if finding.rule.response is not None:
        return finding.rule.response, False
    tier = finding.tier or 0
    if finding.rule.severity is not Severity.CRITICAL or tier < _ASKS_FROM_TIER:
        return ResponseKind.NOTIFY, False
    return ResponseKind.QUARANTINE, tier < _ACTS_FROM_TIER


def _cannot(finding: Finding, kind: ResponseKind) -> str:
    if kind is ResponseKind.QUARANTINE and (finding.instance is None or finding.project is None):
        return "the events name no instance, so there is nothing to quarantine"
    if kind is ResponseKind.REVOKE and finding.person is None:
        return "the events name no person, so there is nobody to revoke"
    return ""


@dataclass(frozen=True)
class Brake:
    """When the platform quarantined by itself: finding's id to time. Wrong rules must not stop a whole place."""

    taken: Mapping[str, datetime]

    def take(self, finding_id: str, policy: ResponsePolicy, now: datetime) -> Brake | None:
        """Return the brake with this quarantine in it, or None: there were as many in the last hour as may be.

        A finding that has its turn already has it still: an action that is tried again takes no second one.
        """
        recent = {one: at for one, at in self.taken.items() if at > now - BRAKE_SPAN}
        if finding_id not in recent and len(recent) >= policy.max_auto_quarantines_per_hour:
            return None
        return Brake({finding_id: now} | recent)
