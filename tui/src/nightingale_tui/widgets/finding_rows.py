"""The findings' columns by the width there is, and one finding in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.content import Content

from nightingale.contract.findings import FindingDetailOut, FindingOut, ResponseState, Severity
from nightingale_tui import findings as said
from nightingale_tui.finding_feed import FindingFeed, FindingView, visible_findings
from nightingale_tui.widgets import words
from nightingale_tui.widgets.row_table import Cell, Column, Row

_GAP = 2
_SCROLLBAR = 1
_TONES = {Severity.CRITICAL: "bad", Severity.HIGH: "warning", Severity.MEDIUM: "busy"}
_SHORT = {Severity.INFORMATIONAL: "info"}
_SIGNS = {
    ResponseState.DUE: "…",
    ResponseState.ASKED: "?",
    ResponseState.DONE: "✓",
    ResponseState.FAILED: "✗",
    ResponseState.WITHHELD: "?",
    ResponseState.DISMISSED: "-",
}
_WIDE = 106
_LABEL = 10


def finding_columns(width: int) -> tuple[Column, ...]:
    """Return the columns that fit; the rule takes what is left over."""
    chosen = [
        Column("severity", "SEVERITY", 11),
        Column("state", "STATE", 12),
        Column("seen", "SEEN", 8),
        Column("person", "PERSON", 7),
        Column("rule", "RULE", 16),
        Column("done", "ACTION", 12),
    ]
    if width >= _WIDE:
        chosen[3] = Column("person", "PERSON", 10)
        chosen[4:4] = [Column("project", "PROJECT", 12), Column("events", "EVENTS", 7, is_right=True)]
    free = width - _SCROLLBAR - sum(column.width + _GAP for column in chosen)
    return tuple(Column(one.key, one.title, one.width + max(0, free)) if one.key == "rule" else one for one in chosen)


def finding_rows(columns: Sequence[Column], found: Sequence[FindingOut], now: datetime) -> list[Row]:
    """Return a row per finding, keyed by its id."""
    return [Row(one.id, tuple(_cell(one, column.key, now) for column in columns)) for one in found]


def _cell(one: FindingOut, key: str, now: datetime) -> Cell:
    tone = _TONES.get(one.severity, "") if not one.state.is_closed else "faint"
    cells = {
        "severity": Cell(f"{said.SIGNS[one.severity]:>2} {_SHORT.get(one.severity, one.severity.value)}", tone),
        "state": Cell(said.STATES[one.state]),
        "seen": Cell(words.ago(one.last_seen, now)),
        "person": Cell(one.person or "-"),
        "project": Cell(one.project or "-"),
        "events": Cell(f"{one.event_count:,}"),
        "rule": Cell(one.rule, "strong"),
        "done": Cell(_done(one)),
    }
    return cells[key]


def _done(one: FindingOut) -> str:
    """Return what was done beyond telling, by a sign and the word: the finding's own page says it in words."""
    done = [f"{_SIGNS[action.state]} {action.kind.value}" for action in one.actions if action.kind.value != "notify"]
    return " ".join(done) or "-"


def findings_title(feed: FindingFeed, view: FindingView, width: int) -> Content:
    """Return how many there are, and how the list is looked at."""
    shown = visible_findings(feed, view)
    critical = sum(one.severity is Severity.CRITICAL and not one.state.is_closed for one in feed.findings)
    filters = [f"from {view.least.value} on"] if view.least is not Severity.INFORMATIONAL else []
    filters += ["closed ones too"] if view.shows_closed else []
    filters += [f"“{view.words}”"] if view.words else []
    left = Content.assemble((" Findings ", "bold"), f" {', '.join(filters) or 'open and acknowledged'}")
    more = "+" if feed.is_more else ""
    right = f"{len(shown)}{more} shown, {critical} critical "
    return Content.assemble(left, " " * max(1, width - left.cell_length - len(right)), right)


def findings_trouble(feed: FindingFeed) -> str:
    """Return what is wrong with the list or with the scan, or nothing."""
    if feed.problem is not None:
        return f" ! The list may be old: {feed.problem.words} {feed.problem.next_step}".rstrip()
    trouble = said.scan_trouble(feed.scan) if feed.scan is not None else ""
    return f" ! {trouble}" if trouble else ""


def empty_findings(feed: FindingFeed, view: FindingView) -> str:
    """Return what stands where no row does."""
    if feed.fetched_at is None:
        return "Asking the platform …"
    if not feed.findings:
        return "No findings that nobody has closed.\n\nPress t for closed ones."
    if visible_findings(feed, view):
        return ""
    return "No finding is as the filter says.\n\nEsc clears it."


def finding_facts(one: FindingOut | None) -> Content:
    """Return three lines about the row in sight."""
    if one is None:
        return Content("\n\n")
    techniques = f" · ATT&CK {' '.join(one.techniques)}" if one.techniques else ""
    first = Content.assemble((f" {one.id}  ", "bold"), said.about(one), techniques)
    return Content("\n").join([first, Content(f" {one.title}"), Content.assemble((f" {one.next_step}", "bold"))])


def finding_content(detail: FindingDetailOut, width: int) -> Content:
    """Return everything about a finding, its events drawn on a line and told beneath it."""
    one = detail.finding
    seen = f"{said.moment(one.first_seen)} to {said.moment(one.last_seen)}, {one.event_count:,} events"
    facts = (
        ("who", said.about(one)),
        ("seen", seen),
        ("rule", f"{one.rule} by {one.author or one.origin}"),
        ("tier", "" if one.tier is None else str(one.tier)),
        ("group", " ".join(f"{name}={text}" for name, text in one.group.items())),
        ("ATT&CK", " ".join(one.techniques)),
        ("do next", one.next_step),
        *(("action", f"{said.action(action)} — {action.words}".rstrip(" —")) for action in one.actions),
        *(
            ("changed", f"{said.moment(line.at)} {line.actor}: {line.change} {line.note}".rstrip())
            for line in one.history
        ),
    )
    lines = [
        Content.assemble((f" {said.severity(one)} ", "bold"), f" {said.STATES[one.state]}  {one.title}"),
        Content(""),
        *(Content.assemble((f" {name:<{_LABEL}}", "dim"), text) for name, text in facts if text),
        Content(""),
        Content.assemble((f" {'events':<{_LABEL}}", "dim"), f"|{_line(detail, width)}|"),
        *(Content(f" {_at(event.at)}  {event.actor:<8}  {said.event(event)}") for event in detail.events),
    ]
    if detail.events_left_out:
        lines.append(Content(f" ... and {detail.events_left_out:,} more between them"))
    return Content("\n").join(lines)


def _line(detail: FindingDetailOut, width: int) -> str:
    room = max(10, width - _LABEL - 6)
    return said.timeline(detail.finding.first_seen, detail.finding.last_seen, detail.events, room)


def _at(at: datetime | None) -> str:
    return " " * 8 if at is None else f"{at:%H:%M:%S}"
