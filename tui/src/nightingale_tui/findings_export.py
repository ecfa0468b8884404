"""Findings for other tools: OCSF events (schema.ocsf.io, class 2004 Detection Finding) and OpenSearch bulk lines.

Notes and words of people stay inside: they may hold anything. What is written is what the rule and the platform say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from nightingale.contract.findings import FindingOut, FindingState, Severity

OCSF_VERSION = "1.3.0"
OPENSEARCH_INDEX = "nightingale-findings"

_CATEGORY, _CLASS = 2, 2004
_CREATE, _UPDATE, _CLOSE = 1, 2, 3
_SEVERITIES = {
    Severity.INFORMATIONAL: (1, "Informational"),
    Severity.LOW: (2, "Low"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.HIGH: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}
_STATUSES = {
    FindingState.OPEN: (1, "New"),
    FindingState.ACKNOWLEDGED: (2, "In Progress"),
    FindingState.FALSE_ALARM: (3, "Suppressed"),
    FindingState.RESOLVED: (4, "Resolved"),
}
_ACTIVITIES = {_CREATE: "Create", _UPDATE: "Update", _CLOSE: "Close"}


def ocsf(finding: FindingOut, version: str) -> dict[str, Any]:
    """Return the finding as one OCSF Detection Finding; `version` is the platform's."""
    activity = _activity(finding)
    severity_id, severity = _SEVERITIES[finding.severity]
    status_id, status = _STATUSES[finding.state]
    event = {
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity],
        "category_uid": _CATEGORY,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "type_uid": _CLASS * 100 + activity,
        "type_name": f"Detection Finding: {_ACTIVITIES[activity]}",
        "time": _millis(finding.opened_at),
        "start_time": _millis(finding.first_seen),
        "end_time": _millis(finding.last_seen),
        "count": finding.event_count,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "is_alert": activity == _CREATE,
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Nightingale", "vendor_name": "Nightingale", "version": version},
            "uid": f"{finding.id}-{finding.revision}",
        },
        "finding_info": {
            "uid": finding.id,
            "title": finding.title,
            "created_time": _millis(finding.opened_at),
            "first_seen_time": _millis(finding.first_seen),
            "last_seen_time": _millis(finding.last_seen),
            "analytic": {"type_id": 1, "type": "Rule", "name": finding.rule, "uid": finding.rule_id},
            "attacks": [_attack(one) for one in finding.techniques],
        },
        "resources": [
            {"uid": uid, "type": kind}
            for uid, kind in ((finding.instance, "instance"), (finding.project, "project"))
            if uid is not None
        ],
    }
    whose = {"rule_author": finding.author, "rule_origin": finding.origin}
    if told := {name: text for name, text in whose.items() if text}:
        event["unmapped"] = told  # OCSF has no place for who wrote a rule
    if finding.person is not None:
        event["evidences"] = [{"actor": {"user": {"name": finding.person}}}]
    if finding.next_step:
        event["remediation"] = {"desc": finding.next_step}
    return event


def _activity(finding: FindingOut) -> int:
    if finding.state.is_closed:
        return _CLOSE
    return _CREATE if finding.state is FindingState.OPEN and len(finding.history) <= 1 else _UPDATE


def _attack(technique: str) -> dict[str, Any]:
    if "." in technique:
        return {"technique": {"uid": technique.partition(".")[0]}, "sub_technique": {"uid": technique}}
    return {"technique": {"uid": technique}}


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def ocsf_lines(findings: Iterable[FindingOut], version: str) -> Iterator[str]:
    """Yield one line of JSON for each finding."""
    for finding in findings:
        yield json.dumps(ocsf(finding, version), separators=(",", ":")) + "\n"


def opensearch_lines(findings: Iterable[FindingOut]) -> Iterator[str]:
    """Yield the lines of a bulk file: indexing it again overwrites what is there, by the finding's id."""
    for finding in findings:
        document = msgspec.to_builtins(finding)
        for kind in ("history", "actions"):
            for line in document[kind]:
                line.pop("note", None)
                line.pop("words", None)
        yield json.dumps({"index": {"_index": OPENSEARCH_INDEX, "_id": finding.id}}) + "\n"
        yield json.dumps(document, separators=(",", ":")) + "\n"
