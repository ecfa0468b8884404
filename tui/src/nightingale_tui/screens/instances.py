"""The first screen: every instance of the project, live."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input

from nightingale.contract.schemas import InstanceOut
from nightingale_tui import state
from nightingale_tui.controller import Controller
from nightingale_tui.screens.base import InstanceScreen
from nightingale_tui.screens.detail import DetailScreen
from nightingale_tui.tunnels import Tunnels
from nightingale_tui.widgets import words
from nightingale_tui.widgets.facts import empty_words, selection_facts, stale_words, title_words
from nightingale_tui.widgets.instance_rows import Moment, columns_for, rows_for
from nightingale_tui.widgets.key_line import KeyLine
from nightingale_tui.widgets.line import Line
from nightingale_tui.widgets.row_table import Cell, RowTable

_TURN_S = 1.0


class InstancesScreen(InstanceScreen):
    """A table, a line above it that tells the project's state, and what there is to say of the row in sight below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "app.launch", "Launch", id="list.launch", tooltip="Launch an instance; shows its price first"),
        Binding("slash", "filter", "Filter", id="list.filter", tooltip="Show rows with these words", show=False),
        Binding("n", "sort", "Sort", id="list.sort", tooltip="Order by the next column", show=False),
        Binding("N", "reverse", "Reverse", id="list.reverse", tooltip="Turn the order round", show=False),
        Binding("t", "terminated", "Terminated", id="list.terminated", tooltip="Terminated ones too", show=False),
        Binding("escape", "unfilter", "All rows", id="list.unfilter", tooltip="Clear the filter", show=False),
    ]  # fmt: skip

    def __init__(self, controller: Controller, tunnels: Tunnels) -> None:
        """Show what the controller knows."""
        super().__init__(controller, tunnels)
        self._frame = 0
        self._rows: tuple[InstanceOut, ...] = ()

    def compose(self) -> ComposeResult:
        """Lay out title, stale line, filter, table, facts, keys."""
        yield Line(id="title")
        yield Line(id="stale")
        yield Input(placeholder="words that a row must contain; Enter keeps, Escape clears", id="filter", compact=True)
        yield RowTable(id="instances")
        yield Line(id="empty")
        yield Line(id="facts")
        yield KeyLine()

    def on_mount(self) -> None:
        """Listen to the controller; let the signs of what is in flight turn."""
        self.query_one("#filter").display = False
        self.controller.changed.subscribe(self, self._changed, immediate=True)
        if self.app.animation_level != "none":
            self.set_interval(_TURN_S, self._turn)
        self._changed(None)
        self.query_one(RowTable).focus()

    def on_screen_resume(self) -> None:
        """Come back to a list that went on meanwhile."""
        self._changed(None)

    def on_resize(self, _event: events.Resize) -> None:
        """Choose the columns anew."""
        self._changed(None)

    @property
    def selected(self) -> InstanceOut | None:
        """The instance under the cursor."""
        return state.find(self.controller.feed, self.query_one(RowTable).selected_key) if self.is_mounted else None

    def select(self, instance_id: str) -> None:
        """Put the cursor on this instance, if it is in sight."""
        keys = [one.id for one in self._rows]
        if instance_id in keys:
            self.query_one(RowTable).move_cursor(row=keys.index(instance_id))

    # --- showing ------------------------------------------------------------------------------------------------------

    def _changed(self, _: object) -> None:
        if not self.is_current or not self.size.width:
            return
        control, now = self.controller, self.controller.now()
        stale = state.is_stale(control.feed, now)
        shown = state.shown_now(control.feed, now)
        self._rows = state.visible(control.feed, control.view)
        table = self.query_one(RowTable)
        currency = state.totals(control.feed).currency
        columns = columns_for(self.size.width, self._rows, control.view, currency)
        moment = Moment(shown, control.catalog, self._frame)
        table.show_rows(columns, rows_for(columns, self._rows, moment), is_faded=stale)
        self.query_one("#title", Line).show(title_words(control, self.size.width))
        empty = empty_words(control, now)
        is_told = empty is not None and control.feed.fetched_at is None
        self._show_line("#stale", "" if is_told else stale_words(control.feed, now, control.asked_at))
        table.display = empty is None
        self.query_one("#empty").display = empty is not None
        if empty is not None:
            self.query_one("#empty", Line).show(empty)
        elif self.focused is None:
            self.set_focus(table)  # it could not have the focus while it was hidden
        self._show_facts()

    def _show_line(self, selector: str, text: str) -> None:
        line = self.query_one(selector, Line)
        line.show(text)
        line.display = bool(text)

    def _show_facts(self) -> None:
        control = self.controller
        shown = state.shown_now(control.feed, control.now())
        facts = selection_facts(self.selected, shown, control.catalog)
        self.query_one("#facts", Line).show(facts)
        self.query_one("#facts").display = bool(self._rows)
        self.offer_actions()

    def _turn(self) -> None:
        if not self.is_current or state.is_stale(self.controller.feed, self.controller.now()):
            return
        self._frame += 1
        table = self.query_one(RowTable)
        for one in self._rows:
            if words.is_turning(one):
                label = words.status_label(one, self._frame)
                table.put_cell(one.id, "status", Cell(f"{label.sign} {label.word}", label.tone))

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        self._show_facts()

    # --- keys ---------------------------------------------------------------------------------------------------------

    @on(DataTable.RowSelected)
    def action_detail(self) -> None:
        """Open the detail screen of the instance in sight."""
        if self.selected is not None:
            self.app.push_screen(DetailScreen(self.controller, self.tunnels, self.selected))

    def action_filter(self) -> None:
        """Type words to filter by."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_unfilter(self) -> None:
        """Forget the filter and go back to the rows."""
        self.query_one("#filter", Input).value = ""
        self.query_one("#filter").display = False
        self.query_one(RowTable).focus()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self.controller.look(replace(self.controller.view, words=event.value))

    @on(Input.Submitted, "#filter")
    def _filter_kept(self, event: Input.Submitted) -> None:
        event.input.display = bool(event.value)
        self.query_one(RowTable).focus()

    def action_sort(self) -> None:
        """Order by the next column."""
        self.controller.look(state.next_sort(self.controller.view))
        self.notify(f"Ordered by {self.controller.view.sort.value.lower()}", timeout=2)

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.controller.look(replace(self.controller.view, is_reversed=not self.controller.view.is_reversed))

    def action_terminated(self) -> None:
        """Show or hide the terminated ones."""
        shows = not self.controller.view.shows_terminated
        self.controller.look(replace(self.controller.view, shows_terminated=shows))
        self.notify("Terminated instances are shown" if shows else "Terminated instances are hidden", timeout=2)
