"""admin scan and admin rules: offline, from files to findings."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from nightingale_tui.cli.documents import RuleOut, RulesOut, RuleTestOut, ScanOut
from nightingale_tui.cli.scanning import SOURCES
from tui.cli.command_line import CommandLine

RULE = """
title: Somebody made a function
name: function_made
id: 5f1f1c0c-3b0f-4a71-9d42-1f0a5a3f7f10
status: test
description: Ours.
author: The hospital
logsource: {product: azure, service: activitylogs}
detection:
  selection: {operationName|endswith: SITES/WRITE}
  condition: selection
level: high
tags: [attack.execution, attack.t1648]
"""
REFUSED = RULE.replace("operationName|endswith: SITES/WRITE", "operationName|re: '(?=look)ahead'").replace("f10", "f11")


def azure(operation: str, number: int = 0, at: str = "09:00:00") -> dict[str, Any]:
    return {
        "time": f"2026-03-02T{at}Z",
        "operationName": operation,
        "resultType": "Success",
        "eventDataId": f"e{number}",
        "identity": {"claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "ana@example.org"}},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two events of note, an ordinary one, one that is there twice, and a broken line."""
    below = tmp_path / "log/2026"
    below.mkdir(parents=True)
    events = [
        azure("Microsoft.Insights/diagnosticSettings/delete", 1),
        azure("MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS/DELETE", 2, "09:10:00"),
        azure("MICROSOFT.WEB/SITES/WRITE", 3),
    ]
    text = "\n".join(json.dumps(event) for event in [*events, events[0]])
    (below / "a.json.gz").write_bytes(gzip.compress(f"{text}\n{{broken".encode()))
    return tmp_path / "log"


def test_a_scan_prints_one_object_with_what_was_read_set_aside_and_found(bare: CommandLine, folder: Path) -> None:
    ran = bare("admin", "scan", "--source", "azure_activity", str(folder), "--json")
    assert ran.status == 0, ran.err
    told = ran.json(ScanOut)
    assert (told.events_read, told.duplicates, told.set_aside) == (3, 1, 1)
    assert [aside.line for aside in told.set_aside_first] == [5]
    (found,) = told.findings
    assert (found.rule, found.severity, found.person) == ("azure_diagnostics_removed", "high", "ana@example.org")
    assert found.event_ids == ("e1", "e2")
    assert "T1562.008" in found.techniques
    assert f"{found.first_seen:%H:%M} {found.last_seen:%H:%M} {found.first_seen.tzname()}" == "09:00 09:10 UTC"


def test_a_scan_shows_people_a_table_and_what_was_set_aside(bare: CommandLine, folder: Path) -> None:
    ran = bare("admin", "scan", "--source", "azure_activity", str(folder))
    assert ran.status == 0
    assert "azure_diagnostics_removed" in ran.out
    assert "1 findings (1 high) in 3 events." in ran.out
    assert "set aside" in ran.err
    assert "a.json.gz:5: the line is not JSON" in ran.err


@pytest.mark.slow
def test_rules_of_an_organisation_join_and_what_is_refused_is_told(bare: CommandLine, folder: Path) -> None:
    rules = folder.parent / "rules"
    rules.mkdir()
    (rules / "made.yml").write_text(RULE)
    (rules / "refused.yml").write_text(REFUSED)
    ran = bare("admin", "scan", "--source", "azure_activity", str(folder), "--rules", str(rules), "--json")
    told = ran.json(ScanOut)
    assert {found.rule for found in told.findings} == {"azure_diagnostics_removed", "function_made"}
    own = next(found for found in told.findings if found.rule == "function_made")
    assert (own.origin, own.author, own.techniques) == ("organisation", "The hospital", ("T1648",))
    assert len(told.rules_refused) == 1
    assert "refused.yml" in ran.err


@pytest.mark.slow
def test_only_severe_findings_are_told_on_request(bare: CommandLine, folder: Path) -> None:
    ran = bare("admin", "scan", "--source", "azure_activity", str(folder), "--level", "critical", "--json")
    assert ran.json(ScanOut).findings == ()


def test_a_folder_that_is_not_there_is_wrong_usage(bare: CommandLine, tmp_path: Path) -> None:
    ran = bare("admin", "scan", "--source", "cloudtrail", str(tmp_path / "nothing"), "--json")
    assert ran.status == 2
    assert json.loads(ran.err)["code"] == "usage"
    assert ran.out == ""


def test_every_source_that_the_command_names_is_one() -> None:
    from nightingale_findings.sources.clouds import CLOUDS  # noqa: PLC0415 - the command line loads it late, too

    assert set(SOURCES) == set(CLOUDS)


def test_rules_are_listed_by_source_and_severity(bare: CommandLine) -> None:
    told = bare("admin", "rules", "list", "--source", "cloudtrail", "--level", "high", "--json").json(RulesOut)
    assert {(rule.source, rule.severity) for rule in told.rules} == {("cloudtrail", "high")}
    assert "trail_stopped" in bare("admin", "rules", "list").out


def test_a_rule_is_shown_with_what_to_do_first_and_a_wrong_name_with_near_ones(bare: CommandLine) -> None:
    told = bare("admin", "rules", "show", "trail_stopped", "--json").json(RuleOut)
    assert told.next_step
    assert "eventName" in told.fields
    assert "do first:" in bare("admin", "rules", "show", "trail_stopped").out
    wrong = bare("admin", "rules", "show", "trail_stoped")
    assert wrong.status == 2
    assert "trail_stopped" in wrong.err


def test_a_rule_is_tried_on_events_and_says_why(bare: CommandLine, tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    login = {
        "eventName": "ConsoleLogin",
        "eventTime": "2026-03-02T09:00:00Z",
        "eventID": "x",
        "userIdentity": {"type": "Root"},
        "responseElements": {"ConsoleLogin": "Success"},
    }
    events.write_text(json.dumps([login, {**login, "eventID": "y", "userIdentity": {"type": "IAMUser"}}]))
    ran = bare("admin", "rules", "test", "root_login", str(events), "--json")
    told = ran.json(RuleTestOut)
    assert (ran.status, told.fires) == (0, True)
    assert [(event.event_id, event.matches, event.fields["userIdentity.type"]) for event in told.events] == [
        ("x", True, "Root"),
        ("y", False, "IAMUser"),
    ]
    events.write_text(json.dumps([{**login, "userIdentity": {"type": "IAMUser"}}]))
    ran = bare("admin", "rules", "test", "root_login", str(events))
    assert ran.status == 1
    assert "does not fire: none of 1 events matches" in ran.out


def test_a_rule_in_a_file_is_tried_and_one_that_cannot_run_is_refused_by_name(bare: CommandLine, folder: Path) -> None:
    own, refused = folder.parent / "own.yml", folder.parent / "refused.yml"
    own.write_text(RULE)
    refused.write_text(REFUSED)
    events = folder / "2026/a.json.gz"
    assert bare("admin", "rules", "test", str(own), str(events)).status == 0
    ran = bare("admin", "rules", "test", str(refused), str(events), "--json")
    assert ran.status == 1
    assert json.loads(ran.err)["code"] == "rule_refused"


def test_a_correlation_says_when_matches_are_not_enough(bare: CommandLine, tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    read = {
        "eventName": "GetPasswordData",
        "eventSource": "ec2.amazonaws.com",
        "eventTime": "2026-03-02T09:00:00Z",
        "userIdentity": {"arn": "a"},
    }
    events.write_text(json.dumps([{**read, "requestParameters": {"instanceId": str(n)}} for n in range(3)]))
    ran = bare("admin", "rules", "test", "passwords_of_machines_read_in_bulk", str(events))
    assert ran.status == 1
    assert "3 events match, and that is not enough" in ran.out


def test_rows_of_the_platforms_own_sources_are_tried_too(bare: CommandLine, tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    row = {"source": "reads", "event_id": "reads/1", "at": "2026-11-02T10:00:00Z", "person": "ada", "is_honeypot": True}
    events.write_text(json.dumps([row, {"source": "nothing"}]))
    ran = bare("admin", "rules", "test", "honeypot_file", str(events), "--json")
    assert ran.json(RuleTestOut).set_aside == 1
    assert ran.status == 0
