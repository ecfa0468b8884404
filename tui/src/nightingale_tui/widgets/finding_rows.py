"""The list of findings: columns by the width there is, and the lines above and instead of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.content import Content

from nightingale.contract.findings import FindingOut, FindingState, ResponseState, Severity
from nightingale_tui import findings as said
from nightingale_tui.finding_feed import FindingFeed, FindingView, visible_findings
from nightingale_tui.state import Problem
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
_STATES = {FindingState.ACKNOWLEDGED: "ack", FindingState.FALSE_ALARM: "false"}
_WIDE = 106
_DROPPED = ("seen", "state", "done", "person")
"""What a narrow terminal does without, in this order."""


def finding_columns(width: int) -> tuple[Column, ...]:
    """Return the columns that fit; the rule takes what is left over."""
    chosen = [
        Column("severity", "SEVERITY", 11),
        Column("state", "STATE", 8),
        Column("seen", "SEEN", 8),
        Column("person", "PERSON", 8),
        Column("rule", "RULE", 16),
        Column("done", "ACTION", 12),
    ]
    if width >= _WIDE:
        chosen[1] = Column("state", "STATE", 12)
        chosen[3] = Column("person", "PERSON", 12)
        chosen[4:4] = [Column("project", "PROJECT", 12), Column("events", "EVENTS", 7, is_right=True)]
    for name in _DROPPED:
        if _SCROLLBAR + sum(column.width + _GAP for column in chosen) > width:
            chosen = [column for column in chosen if column.key != name]
    free = width - _SCROLLBAR - sum(column.width + _GAP for column in chosen)
    return tuple(Column(one.key, one.title, one.width + max(0, free)) if one.key == "rule" else one for one in chosen)


def finding_rows(columns: Sequence[Column], found: Sequence[FindingOut], now: datetime) -> list[Row]:
    """Return a row per finding, keyed by its id."""
    return [Row(one.id, tuple(_cell(one, column, now) for column in columns)) for one in found]


def _cell(one: FindingOut, column: Column, now: datetime) -> Cell:
    state = said.STATES[one.state]
    tone = _TONES.get(one.severity, "") if not one.state.is_closed else "faint"
    cells = {
        "severity": Cell(f"{said.SIGNS[one.severity]:>2} {_SHORT.get(one.severity, one.severity.value)}", tone),
        "state": Cell(state if len(state) <= column.width else _STATES.get(one.state, state)),
        "seen": Cell(words.ago(one.last_seen, now)),
        "person": Cell(one.person or "-"),
        "project": Cell(one.project or "-"),
        "events": Cell(f"{one.event_count:,}"),
        "rule": Cell(one.rule, "strong"),
        "done": Cell(_done(one)),
    }
    return cells[column.key]


def _done(one: FindingOut) -> str:
    """Return what was done beyond telling, by a sign and the word: the finding's own page says it in words."""
    done = [f"{_SIGNS[action.state]} {action.kind.value}" for action in one.actions if action.kind.value != "notify"]
    return " ".join(done) or "-"


def findings_title(feed: FindingFeed, view: FindingView, width: int, project: str | None) -> Content:
    """Return how many there are, and how the list is looked at; of one `project`, or of all."""
    shown = visible_findings(feed, view)
    critical = sum(one.severity is Severity.CRITICAL and not one.state.is_closed for one in feed.findings)
    filters = [_least(view)] if view.least is not Severity.INFORMATIONAL else []
    filters += ["closed ones too"] if view.shows_closed else []
    filters += [f"“{view.words}”"] if view.words else []
    more = "+" if feed.is_more else ""
    right = f" {len(shown)}{more} shown, {critical} critical "
    of = f"of {project}: " if project is not None else ""
    how = f"{of}{', '.join(filters) or 'open and acknowledged'}"
    left = Content.assemble((" Findings ", "bold"), f" {how}").truncate(max(0, width - len(right)), ellipsis=True)
    return Content.assemble(left, " " * max(0, width - left.cell_length - len(right)), right)


def _least(view: FindingView) -> str:
    return "critical only" if view.least is Severity.CRITICAL else f"{view.least.value} and worse"


def findings_trouble(feed: FindingFeed, unread: Problem | None = None) -> str:
    """Return what is wrong with the list, with the events of the one in sight (`unread`), or with the scan."""
    if feed.problem is not None:
        return f" ! The list may be old: {feed.problem.words} {feed.problem.next_step}".rstrip()
    if unread is not None:
        return f" ! Its events could not be read: {unread.words} {unread.next_step}".rstrip()
    trouble = said.scan_trouble(feed.scan) if feed.scan is not None else ""
    return f" ! {trouble}" if trouble else ""


def empty_findings(feed: FindingFeed, view: FindingView) -> str:
    """Return what stands where no row does."""
    if feed.fetched_at is None:
        return "Asking the platform …" if feed.problem is None else "The findings could not be read yet."
    if visible_findings(feed, view):
        return ""
    if any(view.shows_closed or not one.state.is_closed for one in feed.findings):
        return f"No finding is as you asked: {_asked(view)}.\n\nEsc shows them all again."
    if feed.scan is not None and feed.scan.state == "partial":
        return "Nothing is open, of what is scanned: see above what is not.\n\nt shows closed ones too."
    if feed.scan is not None and feed.scan.state != "ok":
        return "Nothing is open, but nothing new would be found now: see above.\n\nt shows closed ones too."
    return "There are no findings." if view.shows_closed else "Nothing is open.\n\nt shows closed ones too."


def _asked(view: FindingView) -> str:
    asked = [_least(view)] if view.least is not Severity.INFORMATIONAL else []
    return ", ".join([*asked, *([f"with “{view.words}”"] if view.words else [])])
