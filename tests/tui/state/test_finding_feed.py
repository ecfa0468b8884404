"""Findings as the app holds them: what is new, what shows, in which order."""

from datetime import timedelta

import msgspec

from nightingale.contract.findings import FindingsOut, FindingState, ScanOut, Severity
from nightingale_tui.finding_feed import (
    FindingFeed,
    FindingView,
    alarms,
    finding_changed,
    findings_failed,
    findings_loaded,
    next_least,
    visible_findings,
)
from nightingale_tui.findings import scan_trouble
from nightingale_tui.state import Problem
from nightingale_tui.widgets.finding_rows import finding_columns
from tui.app.sample_data import NOW
from tui.app.sample_findings import FINDINGS


def feed(*findings):
    return findings_loaded(FindingsOut(findings=findings or FINDINGS, scan=ScanOut(state="ok")), NOW)


def test_the_worst_come_first_and_closed_ones_only_when_asked_for():
    ids = [one.rule for one in visible_findings(feed(), FindingView())]
    assert ids == ["honeypot_file", "gateway_out_hour", "bulk_enumeration", "unusual_hour", "dataset_first_read"]
    assert len(visible_findings(feed(), FindingView(shows_closed=True))) == 6


def test_words_and_the_least_severity_narrow_the_list():
    assert [one.rule for one in visible_findings(feed(), FindingView(words="mei critical"))] == ["gateway_out_hour"]
    assert len(visible_findings(feed(), FindingView(least=Severity.HIGH))) == 3


def test_severity_steps_come_round():
    view, seen = FindingView(), []
    for _ in range(4):
        view = next_least(view)
        seen.append(view.least.value)
    assert seen == ["medium", "high", "critical", "informational"]


def test_only_new_open_critical_findings_are_alarms():
    before = feed(*FINDINGS[1:])
    assert [one.id for one in alarms(before, feed())] == ["f-0000000001"]
    assert alarms(feed(), feed()) == ()
    seen = msgspec.structs.replace(FINDINGS[0], state=FindingState.ACKNOWLEDGED)
    assert alarms(before, feed(seen, *FINDINGS[1:])) == ()
    assert [one.id for one in alarms(feed(seen), feed(FINDINGS[0]))] == ["f-0000000001"]  # opened again


def test_a_bad_answer_keeps_what_is_known_and_a_good_one_forgets_it():
    failed = findings_failed(feed(), Problem("unreachable", "no answer"))
    assert failed.findings == FINDINGS
    assert feed().problem is None


def test_a_newer_answer_about_one_takes_its_place():
    after = msgspec.structs.replace(FINDINGS[2], revision=9)
    assert [one.revision for one in finding_changed(feed(), after).findings][2] == 9
    assert finding_changed(FindingFeed(), after).findings == ()


def test_columns_never_are_wider_than_the_screen():
    for width in range(80, 200):
        assert sum(column.width + 2 for column in finding_columns(width)) < width


def test_every_trouble_of_the_scan_has_words():
    since = NOW - timedelta(minutes=5)
    assert scan_trouble(ScanOut(state="ok")) == ""
    for state in ("never", "late", "failing", "something new"):
        assert scan_trouble(ScanOut(state=state, failing_since=since, words="why"))
