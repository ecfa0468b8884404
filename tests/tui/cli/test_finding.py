"""findings: the list, one of them, what people do with it, and files for other tools."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import boto3  # type: ignore[import-untyped]  # it ships no types
import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from moto import mock_aws

from nightingale.contract import findings as f
from nightingale_tui.findings import timeline
from nightingale_tui.findings_export import ocsf
from tui.api.fake_findings import sample_events, sample_finding
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine

OCSF = {
    "type": "object",
    "required": [
        *("activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time", "metadata", "finding_info"),
    ],
    "properties": {
        "activity_id": {"enum": [1, 2, 3]},
        "category_uid": {"const": 2},
        "class_uid": {"const": 2004},
        "type_uid": {"enum": [200401, 200402, 200403]},
        "severity_id": {"enum": [1, 2, 3, 4, 5]},
        "status_id": {"enum": [1, 2, 3, 4]},
        "time": {"type": "integer", "minimum": 1_600_000_000_000},
        "count": {"type": "integer"},
        "metadata": {
            "type": "object",
            "required": ["product", "version"],
            "properties": {
                "version": {"const": "1.3.0"},
                "product": {"type": "object", "required": ["name", "vendor_name"]},
            },
        },
        "finding_info": {
            "type": "object",
            "required": ["title", "uid"],
            "properties": {
                "analytic": {"type": "object", "required": ["type_id"]},
                "attacks": {"type": "array", "items": {"type": "object", "required": ["technique"]}},
            },
        },
        "evidences": {"type": "array", "items": {"type": "object", "minProperties": 1}},
        "remediation": {"type": "object", "required": ["desc"]},
    },
}
"""What OCSF 1.3.0 requires of a Detection Finding, and of the objects in it that we write."""


def test_the_list_says_how_bad_by_sign_and_word_and_what_was_done(run: CommandLine, platform: FakePlatform) -> None:
    platform.add_finding()
    platform.add_finding(severity=f.Severity.LOW, rule="odd_hours", instance=None, actions=(), person="mary")
    ran = run("findings")
    assert ran.status == 0
    rows = ran.out.splitlines()
    assert "!! critical" in rows[2]
    assert "quarantine done" in rows[2]
    assert "- low" in rows[1]
    assert ran.err == ""


def test_what_is_closed_shows_only_when_it_is_asked_for(run: CommandLine, platform: FakePlatform) -> None:
    platform.add_finding(state=f.FindingState.RESOLVED)
    assert "No findings." in run("findings").err
    assert "resolved" in run("findings", "--state", "all").out
    assert "resolved" in run("findings", "--state", "resolved").out


def test_filters_reach_the_platform(run: CommandLine, platform: FakePlatform) -> None:
    platform.add_finding()
    platform.add_finding(severity=f.Severity.LOW, person="mary", rule="odd_hours")
    assert len(run("findings", "--severity", "high", "--json").json(f.FindingsOut).findings) == 1
    assert [one.person for one in run("findings", "--person", "mary", "--json").json(f.FindingsOut).findings] == [
        "mary"
    ]
    assert run("findings", "--rule", "odd_hours", "--json").json(f.FindingsOut).findings[0].rule == "odd_hours"
    assert run("findings", "--severity", "dreadful").status == 2


def test_an_auditor_looks_at_their_own_project_or_names_one_of_them(run: CommandLine, platform: FakePlatform) -> None:
    platform.admins = set()
    platform.add_finding()
    platform.add_finding(project="lung")
    platform.people["ada"] = ("heart",)
    ran = run("findings")
    assert "f-0000000001" in ran.out
    assert "f-0000000002" not in ran.out
    assert "Findings of heart" in ran.err
    platform.people["ada"] = ("heart", "lung")
    assert run("findings").status == 2
    run.environ["NIGHTINGALE_PROJECT"] = "lung"
    assert "f-0000000002" in run("findings").out
    assert "f-0000000001" in run("findings", "--project", "heart").out
    assert "f-0000000001" not in run("findings", "--project", "lung").out


def test_whoever_may_see_no_findings_is_told_so(run: CommandLine, platform: FakePlatform) -> None:
    platform.admins = set()
    platform.people["ada"] = ("heart",)
    platform.has_auditors = False
    assert run("findings").status == 4


def test_every_page_is_listed(run: CommandLine, platform: FakePlatform) -> None:
    for _ in range(501):
        platform.add_finding()
    assert len(run("findings", "--json").json(f.FindingsOut).findings) == 501


def test_a_scan_that_fails_is_said_above_the_list(run: CommandLine, platform: FakePlatform) -> None:
    platform.scan = f.ScanOut(state="failing", failing_since=platform.now, words="a rule broke", undelivered=2)
    err = run("findings").err
    assert "The scan of the logs fails since 2026-" in err
    assert "a rule broke" in err
    assert "2 notices" in err


def test_what_is_not_scanned_is_said_above_the_list_and_what_is_in_json(
    run: CommandLine, platform: FakePlatform
) -> None:
    trail = f.ScanSourceOut(
        source="cloudtrail", state="failing", log="s3://trails", words="refused", next_step="Let it."
    )
    words = "The CloudTrail of s3://trails has not been read yet: refused. Let it. Everything else is scanned."
    platform.scan = f.ScanOut(state="partial", sources=(f.ScanSourceOut("nightingale", "ok"), trail), words=words)
    told = run("findings")
    assert words in told.err
    assert "fails" not in told.err
    assert run("findings", "--json").json(f.FindingsOut).scan.sources[1] == trail


def test_following_writes_each_finding_once_and_again_when_it_changes(run: CommandLine, platform: FakePlatform) -> None:
    platform.add_finding()
    run.most_sleeps = 3

    def happen(slept: int) -> None:
        if slept == 1:
            platform.add_finding(person="mary")
        if slept == 3:
            platform.findings["f-0000000001"] = msgspec.structs.replace(
                platform.findings["f-0000000001"], state=f.FindingState.ACKNOWLEDGED, revision=2
            )

    run.on_sleep = happen
    ran = run("findings", "--follow", "--json")
    assert ran.status == 130
    lines = [msgspec.json.decode(line, type=f.FindingOut) for line in ran.out.splitlines()]
    assert [(one.id, one.state.value) for one in lines] == [
        ("f-0000000001", "open"),
        ("f-0000000002", "open"),
        ("f-0000000001", "acknowledged"),
    ]


def test_one_finding_shows_facts_events_and_who_changed_it(run: CommandLine, platform: FakePlatform) -> None:
    platform.add_finding()
    out = run("findings", "show", "f-0000000001").out
    for words in ("A decoy file was read", "grace on i-0000000001 in heart", "T1530 T1078.004", "Ask the person"):
        assert words in out
    assert "read demo/patients/list-2.csv" in out
    assert "platform: opened" in out
    assert run("findings", "show", "f-0000000001", "--json").json(f.FindingDetailOut).finding.id == "f-0000000001"
    assert run("findings", "show", "f-9999999999").status == 5


@pytest.mark.parametrize(
    ("act", "state"),
    [("ack", "acknowledged"), ("resolve", "resolved"), ("false-alarm", "false_alarm"), ("reopen", "open")],
)
def test_people_move_a_finding_with_a_note(run: CommandLine, platform: FakePlatform, act: str, state: str) -> None:
    platform.add_finding()
    after = run("findings", act, "f-0000000001", "--note", "looked", "--json").json(f.FindingOut)
    assert (after.state.value, after.history[-1].note, after.history[-1].actor) == (state, "looked", "ada")


def test_a_false_alarm_without_a_note_is_wrong_usage(run: CommandLine, platform: FakePlatform) -> None:
    platform.add_finding()
    ran = run("findings", "false-alarm", "f-0000000001")
    assert ran.status == 2
    assert "--note" in ran.err


def test_a_note_that_is_too_long_is_refused_before_it_is_sent(run: CommandLine, platform: FakePlatform) -> None:
    platform.add_finding()
    assert run("findings", "ack", "f-0000000001", "--note", "x" * 1001).status == 2
    assert platform.findings["f-0000000001"].state is f.FindingState.OPEN


def asked(platform: FakePlatform) -> None:
    action = f.FindingActionOut(
        kind=f.ResponseKind.QUARANTINE, state=f.ResponseState.ASKED, at=platform.now, actor="platform"
    )
    platform.add_finding(actions=(action,))


def test_a_yes_or_a_no_goes_to_the_action_that_waits(run: CommandLine, platform: FakePlatform) -> None:
    asked(platform)
    asked(platform)
    assert "quarantine done" in run("findings", "confirm", "f-0000000001").out
    assert "quarantine dismissed" in run("findings", "dismiss", "f-0000000002").out
    assert run("findings", "confirm", "f-0000000001").status == 2


def test_ocsf_lines_have_what_the_schema_requires(run: CommandLine, platform: FakePlatform, tmp_path: Path) -> None:
    for state in f.FindingState:
        for severity in f.Severity:
            platform.add_finding(state=state, severity=severity)
    ran = run("findings", "export", "--ocsf", str(tmp_path / "out"))
    assert ran.status == 0
    (file,) = (tmp_path / "out").iterdir()
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(events) == 20
    for event in events:
        jsonschema.validate(event, OCSF)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert file.stat().st_mode & 0o077 == 0


def test_ocsf_tells_techniques_and_their_parts_and_no_persons_note() -> None:
    note = f.FindingChangeOut(
        at=sample_finding(1, FakePlatform().now).opened_at, actor="ada", change="acknowledged", note="Mrs Miller's scan"
    )
    event = ocsf(sample_finding(1, FakePlatform().now, history=(note, note)), "0.1.0")
    assert event["unmapped"] == {"rule_author": "Nightingale", "rule_origin": "nightingale"}
    assert event["finding_info"]["attacks"] == [
        {"technique": {"uid": "T1530"}},
        {"technique": {"uid": "T1078"}, "sub_technique": {"uid": "T1078.004"}},
    ]
    assert "Miller" not in json.dumps(event)


def test_a_bulk_file_names_each_finding_before_it(run: CommandLine, platform: FakePlatform, tmp_path: Path) -> None:
    platform.add_finding()
    platform.add_finding()
    run("findings", "ack", "f-0000000001", "--note", "Mrs Miller's scan")
    file = tmp_path / "bulk.ndjson"
    assert run("findings", "export", "--opensearch", str(file), "--json").json()["findings"] == 2
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["index"]["_id"] for line in lines[::2]] == [line["id"] for line in lines[1::2]]
    assert lines[0]["index"]["_index"] == "nightingale-findings"
    assert "Miller" not in file.read_text()


@pytest.mark.slow
def test_an_export_goes_to_a_bucket_and_says_when_it_cannot(
    run: CommandLine, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("ACCESS_KEY_ID", "made-up"),
        ("SECRET_ACCESS_KEY", "made-up"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    platform.add_finding()
    with mock_aws():
        ran = run("findings", "export", "--ocsf", "s3://security/nightingale")
        assert (ran.status, "NoSuchBucket" in ran.err) == (2, True)
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="security")
        assert run("findings", "export", "--ocsf", "s3://security/nightingale").status == 0
        (held,) = s3.list_objects_v2(Bucket="security")["Contents"]
        body = s3.get_object(Bucket="security", Key=held["Key"])["Body"].read()
    assert held["Key"].startswith("nightingale/")
    jsonschema.validate(json.loads(body), OCSF)


def test_an_export_without_a_target_or_into_nowhere_is_wrong_usage(run: CommandLine, tmp_path: Path) -> None:
    assert run("findings", "export").status == 2
    (tmp_path / "file").write_text("")
    assert run("findings", "export", "--ocsf", str(tmp_path / "file" / "under")).status == 2
    assert run("findings", "export", "--ocsf", "s3:///nothing").status == 2


def test_a_timeline_counts_events_in_their_place() -> None:
    finding = sample_finding(1, FakePlatform().now)
    events = sample_events(finding)
    assert timeline(finding.first_seen, finding.last_seen, events, 11) == "1....1....1"
    assert timeline(finding.first_seen, finding.first_seen, events[:1] * 12, 5) == "#...."
    later = finding.last_seen + timedelta(days=1)
    assert timeline(finding.first_seen, later, (), 4) == "...."
