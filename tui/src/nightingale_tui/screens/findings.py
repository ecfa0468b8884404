"""The findings, the worst first: for administrators, who act on them, and for a project's auditors, who look."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input

from nightingale.contract.findings import FindingOut
from nightingale_tui.finding_feed import FindingView, find_finding, next_least, visible_findings
from nightingale_tui.screens.finding import FindingScreen
from nightingale_tui.screens.finding_base import FindingScreens
from nightingale_tui.widgets.finding_rows import (
    empty_findings,
    finding_columns,
    finding_rows,
    findings_title,
    findings_trouble,
)
from nightingale_tui.widgets.finding_words import finding_facts
from nightingale_tui.widgets.key_line import KeyLine
from nightingale_tui.widgets.line import Line
from nightingale_tui.widgets.row_table import RowTable


class FindingsScreen(FindingScreens):
    """The list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,q", "leave", "Back", id="findings.back", tooltip="Clear the filter, then back to the instances"
        ),
        Binding("slash", "filter", "Filter", id="findings.filter", tooltip="Show rows with these words", show=False),
        Binding("s", "least", "Severity", id="findings.least", tooltip="All; from medium, high, critical on"),
        Binding("t", "closed", "Closed", id="findings.closed", tooltip="Closed ones too, or not", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Lay out the list and the words about the row in sight."""
        yield Line(id="title")
        yield Line(id="stale")
        filter_words = Input(id="filter", compact=True, placeholder="words that must occur; Enter keeps, Esc clears")
        filter_words.display = False
        yield filter_words
        yield RowTable(id="findings")
        yield Line(id="empty")
        yield Line(id="facts")
        yield KeyLine()

    def on_mount(self) -> None:
        """Listen."""
        self.controller.changed.subscribe(self, self._changed, immediate=True)
        self.control.poll()
        self.refreshed()
        self.query_one(RowTable).focus()

    @property
    def selected(self) -> FindingOut | None:
        """The row under the cursor."""
        tables = self.query(RowTable)
        return find_finding(self.control.feed, tables.first().selected_key) if tables else None

    def _changed(self, _: object) -> None:
        if self.is_current:
            self.refreshed()

    def refreshed(self) -> None:
        """Show the list as it is known."""
        if not self.size.width:
            return
        feed, view, width = self.control.feed, self.control.view, self.app.size.width
        self.query_one("#title", Line).show(findings_title(feed, view, width, self.control.project))
        stale = self.query_one("#stale", Line)
        trouble = findings_trouble(feed)
        stale.show(trouble)
        stale.display = bool(trouble)
        found, columns = visible_findings(feed, view), finding_columns(width)
        table, empty = self.query_one(RowTable), self.query_one("#empty", Line)
        table.show_rows(columns, finding_rows(columns, found, self.controller.now()))
        words = empty_findings(feed, view)
        empty.show(words)
        empty.display, table.display = bool(words), not words
        if not words and self.focused is None:
            self.set_focus(table)  # it could not have the focus while it was hidden
        self._show_facts()

    def _show_facts(self) -> None:
        one, facts = self.selected, self.query_one("#facts", Line)
        facts.display = one is not None
        if one is not None:
            facts.show(finding_facts(one, self.control.instance_of(one), self.app.size.width))
        self.offer()

    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        self._show_facts()

    @on(DataTable.RowSelected)
    def _opened(self) -> None:
        one = self.selected
        if one is not None:
            self.app.push_screen(FindingScreen(self.controller, self.control, one))

    def action_filter(self) -> None:
        """Type words."""
        words = self.query_one("#filter", Input)
        words.display = True
        words.focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.control.look(replace(self.control.view, words=event.value))

    @on(Input.Submitted)
    def _kept(self) -> None:
        self.query_one("#filter", Input).display = bool(self.control.view.words)
        self.query_one(RowTable).focus()

    def action_least(self) -> None:
        """Show from the next severity on."""
        self.control.look(next_least(self.control.view))

    def action_closed(self) -> None:
        """Show closed ones, or not."""
        self.control.look(replace(self.control.view, shows_closed=not self.control.view.shows_closed))

    def action_leave(self) -> None:
        """Clear the filter, or go back to the instances."""
        words = self.query_one("#filter", Input)
        view = self.control.view
        if words.display or view != FindingView():
            words.value = ""
            words.display = False
            self.control.look(FindingView())
            self.query_one(RowTable).focus()
            return
        super().action_leave()
