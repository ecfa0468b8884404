"""Findings of the sample platform, as an administrator sees them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from nightingale.contract import findings as f
from tui.api.fake_findings import sample_events, sample_finding
from tui.app.sample_data import NOW

ASKED = f.FindingActionOut(
    kind=f.ResponseKind.QUARANTINE,
    state=f.ResponseState.ASKED,
    at=NOW - timedelta(minutes=50),
    actor="platform",
    words="waits for an administrator: the data is of tier 1",
)
FINDINGS: tuple[f.FindingOut, ...] = (
    sample_finding(1, NOW, project="heart-mri", rule="honeypot_file", title="Decoy file of a dataset touched"),
    sample_finding(
        2,
        NOW,
        rule="bulk_enumeration",
        title="Very many files of a dataset at once",
        severity=f.Severity.HIGH,
        person="tomas",
        project="heart-mri",
        actions=(),
        event_count=1812,
        state=f.FindingState.ACKNOWLEDGED,
        techniques=("T1119",),
        next_step="Compare with the job that they run.",
    ),
    sample_finding(3, NOW, rule="gateway_out_hour", instance="i-0000000002", person="mei", actions=(ASKED,)),
    sample_finding(4, NOW, rule="unusual_hour", severity=f.Severity.LOW, person="ada", instance=None, actions=()),
    sample_finding(5, NOW, rule="dataset_first_read", severity=f.Severity.INFORMATIONAL, actions=(), person="ada"),
    sample_finding(
        6, NOW, rule="read_volume", severity=f.Severity.MEDIUM, state=f.FindingState.FALSE_ALARM, actions=()
    ),
)
LONG = sample_finding(
    7,
    NOW,
    rule="organisation_wide_exfiltration_through_the_notebook_proxy_of_a_partner",
    title="Very many files of a dataset of very long name leave through the notebook's proxy, at night and piecemeal",
    person="maximiliane-von-und-zu-hohenstein",
    project="cardiac-imaging-follow-up-study-north",
    techniques=("T1530", "T1078.004", "T1567.002", "T1119", "T1048.003"),
    next_step="Ask the person by telephone, not by mail; then look at what else they read in the week before, and at "
    "whoever shares their instance. Tell the data protection officer.",
    group={"dataset": "cine-mri-very-long-name-2026-09", "folder": "demo/patients/with/a/deep/path/of/folders/in/it"},
)
"""Everything in it is too long for a small terminal."""


class SampleFindings:
    """Answers about findings; mixed into SamplePlatform."""

    def __init__(self) -> None:
        self.findings = {one.id: one for one in FINDINGS}
        self.scan = f.ScanOut(state="ok", last_ok_at=NOW)

    def on_list_findings(self, state: str = "", limit: str = "", **_: str) -> f.FindingsOut:
        found = [one for one in self.findings.values() if state != "unresolved" or not one.state.is_closed]
        return f.FindingsOut(findings=tuple(found[: int(limit or 500)]), scan=self.scan)

    def on_list_project_findings(self, project: str, **told: str) -> f.FindingsOut:
        page = self.on_list_findings(**told)
        return msgspec.structs.replace(page, findings=tuple(one for one in page.findings if one.project == project))

    def on_get_finding(self, finding: str) -> f.FindingDetailOut:
        found = self.findings[finding]
        left_out = max(0, found.event_count - 3)
        return f.FindingDetailOut(finding=found, events=sample_events(found), events_left_out=left_out)

    def on_update_finding(self, finding: str, body: f.FindingUpdateIn) -> f.FindingOut:
        return self._changed(finding, body.state.value, body.note, state=body.state)

    def on_confirm_finding_action(self, finding: str, body: f.FindingDecisionIn) -> f.FindingOut:
        return self._changed(finding, "confirmed", body.note, actions=self._decided(finding, f.ResponseState.DONE))

    def on_dismiss_finding_action(self, finding: str, body: f.FindingDecisionIn) -> f.FindingOut:
        return self._changed(finding, "dismissed", body.note, actions=self._decided(finding, f.ResponseState.DISMISSED))

    def _decided(self, finding: str, state: f.ResponseState) -> tuple[f.FindingActionOut, ...]:
        return tuple(msgspec.structs.replace(one, state=state) for one in self.findings[finding].actions)

    def _changed(self, finding: str, change: str, note: str, **fields: Any) -> f.FindingOut:
        before = self.findings[finding]
        line = f.FindingChangeOut(at=NOW, actor="ada", change=change, note=note)
        after = msgspec.structs.replace(before, revision=before.revision + 1, history=(*before.history, line), **fields)
        self.findings[finding] = after
        return after
