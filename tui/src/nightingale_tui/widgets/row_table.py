"""A table of lines that writes only what changed: over SSH a stock table's full repaint costs 17 KB for one cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.geometry import Region
from textual.widgets import DataTable

TONES = ("good", "busy", "quiet", "warning", "bad", "faint", "strong")


@dataclass(frozen=True)
class Column:
    """A column `width` cells wide; numbers stand `is_right`."""

    key: str
    title: str
    width: int
    is_right: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell's text and tone (one of TONES, or none)."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Row:
    """A row by key: a cell per column."""

    key: str
    cells: tuple[Cell, ...]


def fitted(text: str, width: int, *, is_right: bool = False) -> str:
    """Return `text` exactly `width` cells wide, its end replaced by `…` where it does not fit."""
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…" if width else ""
    return text.rjust(width - cell_len(text) + len(text)) if is_right else set_cell_size(text, width)


def changed_span(before: str, after: str) -> tuple[int, int]:
    """Return the first cell in which two texts of one width differ, and the cell behind the last."""
    head = _same(before, after)
    tail = _same(before[head:][::-1], after[head:][::-1])
    return cell_len(after[:head]), cell_len(after[: len(after) - tail])


def _same(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


class RowTable(DataTable[Text]):
    """Give it columns and rows with `show_rows`; it finds the difference to what stands there."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{tone}" for tone in TONES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="table.open", tooltip="All about the row in sight", show=False),
        Binding("j", "cursor_down", "Down", id="table.down", tooltip="Next row", show=False),
        Binding("k", "cursor_up", "Up", id="table.up", tooltip="Row before", show=False),
        Binding("g", "scroll_top", "First", id="table.first", tooltip="First row", show=False),
        Binding("G", "scroll_bottom", "Last", id="table.last", tooltip="Last row", show=False),
    ]

    def __init__(self, *, id: str | None = None, cursor: bool = True) -> None:  # noqa: A002 - Textual's own name
        """Make it empty. Without a `cursor` it only scrolls."""
        super().__init__(id=id, cursor_type="row" if cursor else "none", zebra_stripes=False, cell_padding=1)
        self._columns: tuple[Column, ...] = ()
        self._rows: dict[str, Row] = {}
        self._faded = False
        self._styles: dict[str, Style] = {}
        self._is_quiet = False

    @property
    def selected_key(self) -> str | None:
        """The key of the row under the cursor, or None."""
        keys = list(self._rows)
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else None

    def show_rows(self, columns: Sequence[Column], rows: Sequence[Row], *, is_faded: bool = False) -> None:
        """Show these rows, dimmed when `is_faded`. Only changed cells are drawn while the rows and columns stay."""
        new = {row.key: row for row in rows}
        if tuple(columns) != self._columns or list(new) != list(self._rows) or is_faded != self._faded:
            self._rebuild(tuple(columns), new, is_faded=is_faded)
            return
        for row_at, (key, row) in enumerate(new.items()):
            before = self._rows[key]
            for column_at, cell in enumerate(row.cells):
                if cell != before.cells[column_at]:
                    self._put(row_at, column_at, cell)
            self._rows[key] = row

    def put_cell(self, key: str, column_key: str, cell: Cell) -> None:
        """Change one cell of a row that is there; an unknown row or column is ignored."""
        at = next((at for at, column in enumerate(self._columns) if column.key == column_key), None)
        row = self._rows.get(key)
        if at is None or row is None or row.cells[at] == cell:
            return
        self._rows[key] = Row(key, (*row.cells[:at], cell, *row.cells[at + 1 :]))
        self._put(list(self._rows).index(key), at, cell)

    def _rebuild(self, columns: tuple[Column, ...], rows: dict[str, Row], *, is_faded: bool) -> None:
        selected, old_row, scroll = self.selected_key, self.cursor_row, self.scroll_y
        self._faded = is_faded
        if columns != self._columns:
            self.clear(columns=True)
            for column in columns:
                title = fitted(column.title, column.width, is_right=column.is_right)
                self.add_column(Text(title, no_wrap=True), key=column.key, width=column.width)
        else:
            self.clear()
        self._columns, self._rows = columns, rows
        for row in rows.values():
            self.add_row(*(self._text(cell, columns[at]) for at, cell in enumerate(row.cells)), key=row.key)
        keys = list(rows)
        place = keys.index(selected) if selected in rows else min(old_row, len(keys) - 1)
        if place >= 0:
            self.move_cursor(row=place, scroll=False)
            self.scroll_to(y=scroll, animate=False)

    def _put(self, row_at: int, column_at: int, cell: Cell) -> None:
        place = Coordinate(row_at, column_at)
        before, after = self.get_cell_at(place), self._text(cell, self._columns[column_at])
        self._is_quiet = True
        try:
            self.update_cell_at(place, after)
        finally:
            self._is_quiet = False
        start, end = changed_span(before.plain, after.plain)
        if before.spans != after.spans:
            start, end = 0, self._columns[column_at].width
        left = sum(column.width + 2 * self.cell_padding for column in self._columns[:column_at]) + self.cell_padding
        region = Region(left + start, row_at + self.header_height, end - start, 1).translate(-self.scroll_offset)
        if self.header_height <= region.y < self.size.height:
            self.refresh(region)

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> RowTable:
        """Draw again, except for the whole-table repaint that `update_cell` asks for."""
        if getattr(self, "_is_quiet", False) and not regions and not layout:
            return self
        super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        return self

    def _text(self, cell: Cell, column: Column) -> Text:
        text = Text(fitted(cell.text, column.width, is_right=column.is_right), no_wrap=True, end="")
        if cell.tone:
            text.stylize(self._tone(cell.tone))
        if self._faded:
            text.stylize(self._tone("faint"))
        return text

    def _tone(self, tone: str) -> Style:
        if not self.is_attached:
            return Style.null()  # an answer that came after its screen was left; there are no colours any more
        if tone not in self._styles:
            self._styles[tone] = self.get_component_rich_style(f"rows--{tone}", partial=True)
        return self._styles[tone]

    def on_mount(self) -> None:
        """Hear of another theme."""
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def _theme_changed(self, _theme: object) -> None:
        self.call_after_refresh(self._recolour)

    def _recolour(self) -> None:
        self._styles = {}
        if self.is_attached and self._rows:
            columns, self._columns = self._columns, ()
            self._rebuild(columns, self._rows, is_faded=self._faded)
