"""A month's usage of the project, by instance, person and size, at list price and as billed."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import TabbedContent, TabPane

from nightingale.contract.schemas import UsageLineOut, UsageOut
from nightingale_tui.controller import Controller
from nightingale_tui.widgets import words
from nightingale_tui.widgets.facts import title_words
from nightingale_tui.widgets.key_line import KeyLine
from nightingale_tui.widgets.line import Line
from nightingale_tui.widgets.row_table import Cell, Column, Row, RowTable

_EVERY_S = 30.0
_GROUPS = ("instance", "person", "size")
_HOUR = 3600
_FIXED = 54
"""Cells of the four columns of numbers, the gaps and the scroll bar."""
_SHORTEST_BAR, _LONGEST_BAR = 7, 24
_DECEMBER = 12


def month_after(month: str, step: int) -> str:
    """Return the month `step` months after `month` (both like `2026-11`)."""
    year, number = (int(part) for part in month.split("-"))
    at = year * _DECEMBER + number - 1 + step
    return f"{at // _DECEMBER:04d}-{at % _DECEMBER + 1:02d}"


def usage_rows(lines: tuple[UsageLineOut, ...], total: UsageLineOut, names: dict[str, str], bar: int) -> list[Row]:
    """Return a row per group, dearest first; a bar (`bar` cells for all) shows its share of the cost."""
    rows = []
    for line in sorted(lines, key=lambda line: (-line.list_cost, line.key)):
        share = float(line.list_cost / total.list_cost) if total.list_cost else 0.0
        rows.append(
            Row(
                line.key,
                (
                    Cell(names.get(line.key, line.key), "strong"),
                    Cell(f"{line.compute_seconds / _HOUR:,.1f}"),
                    Cell(f"{line.disk_gib_seconds / _HOUR:,.0f}"),
                    Cell(words.number(line.list_cost)),
                    Cell(words.number(line.billed)),
                    Cell("█" * round(share * bar), "quiet"),
                ),
            )
        )
    return rows


class UsageScreen(Screen[None]):
    """Three tables of the same month. `[` and `]` change the month."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Back", id="usage.back", tooltip="Back to the list"),
        Binding(
            "left_square_bracket", "month(-1)", "Earlier", id="usage.before", tooltip="Month before", key_display="["
        ),
        Binding(
            "right_square_bracket", "month(1)", "Later", id="usage.after", tooltip="The month after", key_display="]"
        ),
        *(
            Binding(str(at), f"tab('{name}')", f"By {name}", id=f"usage.{name}", tooltip=f"Usage by {name}", show=False)
            for at, name in enumerate(_GROUPS, 1)
        ),
    ]  # fmt: skip

    def __init__(self, controller: Controller) -> None:
        """Begin with the current month."""
        super().__init__()
        self._controller = controller
        self._month = self._this_month
        self._usage: UsageOut | None = None

    @property
    def _this_month(self) -> str:
        now: datetime = self._controller.now()
        return f"{now:%Y-%m}"

    def compose(self) -> ComposeResult:
        """Lay out title, totals and one table per group."""
        yield Line(id="title")
        yield Line(id="totals")
        with TabbedContent(initial="instance"):
            for at, name in enumerate(_GROUPS, 1):
                with TabPane(f"{at} By {name}", id=name):
                    yield RowTable(id=f"by-{name}")
        yield KeyLine()

    def on_mount(self) -> None:
        """Ask for the month, and again now and then while it is looked at."""
        self.set_interval(_EVERY_S, self._ask)
        self._controller.changed.subscribe(self, self._changed, immediate=True)
        self._changed(None)
        self._ask()
        self.action_tab("instance")

    def on_resize(self) -> None:
        """Give the names the room there is."""
        self._show()

    def _changed(self, _: object) -> None:
        if self.is_current:
            self.query_one("#title", Line).show(title_words(self._controller, self.app.size.width))

    def _ask(self) -> None:
        if self.is_current:
            if self._usage is None or self._usage.month != self._month:
                self.query_one("#totals", Line).show(f" Usage of {self._month}: asking …\n")
            self._controller.load_usage(self, self._month)

    @on(Controller.UsageLoaded)
    def _loaded(self, event: Controller.UsageLoaded) -> None:
        if event.usage.month == self._month:
            self._usage = event.usage
            self._show()

    @on(Controller.Refused)
    def _refused(self, event: Controller.Refused) -> None:
        text = f" Usage of {self._month}: {event.problem.words}\n {event.problem.next_step}"
        self.query_one("#totals", Line).show(text)

    def _show(self) -> None:
        usage = self._usage
        if usage is None or not self.size.width:
            return
        total = usage.total
        final = "final" if usage.is_final else "not final yet"
        self.query_one("#totals", Line).show(
            f" Usage of {usage.month} ({final})  compute {total.compute_seconds / _HOUR:,.1f} h, "
            f"disk {total.disk_gib_seconds / _HOUR:,.0f} GiB·h\n"
            f" list price {words.money(total.list_cost, usage.currency)}, "
            f"billed {words.money(total.billed, usage.currency)} ({usage.plan.value} plan)"
        )
        names = {one.id: one.name for one in self._controller.feed.instances}
        groups = {"instance": usage.by_instance, "person": usage.by_person, "size": usage.by_size}
        sign = words.currency_sign(usage.currency)
        free = self.size.width - _FIXED
        name_width = max(12, min(32, free - _SHORTEST_BAR))
        bar = max(0, min(_LONGEST_BAR, free - name_width))
        for name, lines in groups.items():
            columns = (
                Column("key", name.upper(), name_width),
                Column("compute", "HOURS", 9, is_right=True),
                Column("disk", "DISK GiB·h", 10, is_right=True),
                Column("list", f"LIST {sign}", 10, is_right=True),
                Column("billed", f"BILLED {sign}", 10, is_right=True),
                Column("share", "", bar),
            )
            self.query_one(f"#by-{name}", RowTable).show_rows(columns, usage_rows(lines, total, names, bar))

    def action_month(self, step: int) -> None:
        """Go to the month before or after; there is no usage in the future."""
        month = month_after(self._month, step)
        if month <= self._this_month:
            self._month = month
            self._ask()

    def action_tab(self, name: str) -> None:
        """Show one of the groups."""
        self.query_one(TabbedContent).active = name
        self.query_one(f"#by-{name}", RowTable).focus()

    def action_leave(self) -> None:
        """Go back to the list."""
        self.app.pop_screen()
