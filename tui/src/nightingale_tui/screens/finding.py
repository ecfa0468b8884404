"""One finding: the events behind it drawn and told, who did what about it, and what to do next."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer

from nightingale.contract.findings import FindingDetailOut, FindingOut
from nightingale_tui.controller import Controller
from nightingale_tui.finding_control import FindingControl
from nightingale_tui.finding_feed import find_finding
from nightingale_tui.screens.finding_base import FindingScreens
from nightingale_tui.widgets.finding_rows import (
    finding_content,
)
from nightingale_tui.widgets.line import Line

_EVERY_S = 3.0


class FindingScreen(FindingScreens):
    """One finding: what, who, when, the events drawn, what was done, what to do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Back", id="finding.back", tooltip="Back to the list"),
    ]

    def __init__(self, controller: Controller, control: FindingControl, finding: FindingOut) -> None:
        """Show this finding, with what is known of it from the start."""
        super().__init__(controller, control)
        self._detail = FindingDetailOut(finding=finding, events=())

    def compose(self) -> ComposeResult:
        """Lay out the words."""
        yield Line(id="title")
        with VerticalScroll(id="finding"):
            yield Line(id="finding-text")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Read it, and again now and then while it is looked at."""
        self.set_interval(_EVERY_S, self._read)
        self._read()
        self.refreshed()
        self.query_one("#finding").focus()

    def on_resize(self) -> None:
        """Draw the line of events anew."""
        self.refreshed()

    @property
    def selected(self) -> FindingOut | None:
        """The newest that is known of it."""
        known = find_finding(self.control.feed, self._detail.finding.id)
        read = self._detail.finding
        return known if known is not None and known.revision > read.revision else read

    def _read(self) -> None:
        if self.is_current:
            self.control.load(self, self._detail.finding.id)

    @on(FindingControl.DetailLoaded)
    def _loaded(self, event: FindingControl.DetailLoaded) -> None:
        self._detail = event.detail
        self.refreshed()

    @on(FindingControl.Moved)
    def _read_again(self) -> None:
        self._read()

    def refreshed(self) -> None:
        """Show it."""
        if not self.size.width:
            return
        width = self.app.size.width
        self.query_one("#title", Line).show(f" Finding {self._detail.finding.id}")
        self.query_one("#finding-text", Line).show(finding_content(self._detail, width))
        self.offer()
