"""Findings as the app holds them: what is new, what shows, in which order."""

from datetime import timedelta

import msgspec

from nightingale.contract.findings import FindingDetailOut, FindingsOut, FindingState, ScanOut, Severity
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
from nightingale_tui.widgets.finding_rows import empty_findings, finding_columns, findings_title
from nightingale_tui.widgets.finding_words import finding_content, finding_facts
from tui.api.fake_findings import sample_events
from tui.app.sample_data import INSTANCES, NOW
from tui.app.sample_findings import FINDINGS, LONG


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
    for state in ("never", "late", "failing", "partial", "something new"):
        assert scan_trouble(ScanOut(state=state, failing_since=since, words="why"))


def test_every_line_about_a_finding_fits_the_terminal_and_says_where_its_instance_stands():
    detail = FindingDetailOut(finding=LONG, events=sample_events(LONG))
    for width in (60, 80, 120):
        for content in (finding_facts(LONG, INSTANCES[0], width), finding_content(detail, INSTANCES[0], width)):
            assert max(line.cell_length for line in content.split("\n")) <= width
    assert "fastmri-unet ● running" in finding_content(detail, INSTANCES[0], 80).plain
    assert "fastmri-unet ● running" in finding_facts(FINDINGS[0], INSTANCES[0], 80).plain


def test_where_nothing_shows_it_says_why():
    asked = FindingView(words="zebra", least=Severity.CRITICAL)
    assert empty_findings(feed(), FindingView()) == ""
    assert "critical only, with “zebra”" in empty_findings(feed(), asked)
    nobody = findings_loaded(FindingsOut(findings=(), scan=ScanOut(state="ok")), NOW)
    unseen = findings_loaded(FindingsOut(findings=(), scan=ScanOut(state="never")), NOW)
    assert "Nothing is open.\n" in empty_findings(nobody, asked)
    assert "nothing new would be found" in empty_findings(unseen, FindingView())
    partial = findings_loaded(FindingsOut(findings=(), scan=ScanOut(state="partial", words="One is not read.")), NOW)
    assert "Nothing is open, of what is scanned" in empty_findings(partial, FindingView())
    assert "nothing new" not in empty_findings(partial, FindingView())
    assert empty_findings(nobody, FindingView(shows_closed=True)) == "There are no findings."
    assert "could not be read" in empty_findings(
        findings_failed(FindingFeed(), Problem("unreachable", "no answer")), FindingView()
    )


def test_a_title_too_long_for_the_line_keeps_the_count():
    title = findings_title(feed(), FindingView(words="w" * 90), 80, "heart-mri")
    assert title.cell_length == 80
    assert title.plain.endswith("0 shown, 2 critical ")


def test_a_narrow_terminal_does_without_columns_but_never_without_severity_and_rule():
    for width in (30, 40, 60, 79):
        columns = finding_columns(width)
        assert {"severity", "rule"} <= {column.key for column in columns}
        assert width < 32 or sum(column.width + 2 for column in columns) < width
