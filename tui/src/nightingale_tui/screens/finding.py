"""One finding: the events behind it drawn and told, who did what about it, and what to do next."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from nightingale.contract.findings import FindingDetailOut, FindingOut
from nightingale_tui.controller import Controller
from nightingale_tui.finding_control import FindingControl, reading
from nightingale_tui.finding_feed import find_finding
from nightingale_tui.screens.finding_base import FindingScreens
from nightingale_tui.state import Problem
from nightingale_tui.widgets.finding_rows import findings_trouble
from nightingale_tui.widgets.finding_words import finding_content
from nightingale_tui.widgets.key_line import KeyLine
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
        self._problem: Problem | None = None
        """Why its events could not be read the last time."""

    def compose(self) -> ComposeResult:
        """Lay out the words."""
        yield Line(id="title")
        yield Line(id="stale")
        with VerticalScroll(id="finding"):
            yield Line(id="finding-text")
        yield KeyLine()

    def on_mount(self) -> None:
        """Read it, and again now and then while it is looked at."""
        self.controller.changed.subscribe(self, self._changed, immediate=True)
        self.set_interval(_EVERY_S, self._read)
        self._read()
        self.refreshed()
        self.query_one("#finding").focus()

    @property
    def selected(self) -> FindingOut | None:
        """The newest that is known of it."""
        known = find_finding(self.control.feed, self._detail.finding.id)
        read = self._detail.finding
        return known if known is not None and known.revision > read.revision else read

    def _changed(self, _: object) -> None:
        if self.is_current:
            self.refreshed()

    def _read(self) -> None:
        if self.is_current and self.control.is_admin:
            self.control.load(self, self._detail.finding.id)

    @on(Controller.Refused)
    def _unread(self, event: Controller.Refused) -> None:
        if event.what == reading(self._detail.finding.id):
            self._problem = event.problem
            self.refreshed()
            event.prevent_default()  # the stale line tells it; a notification every three seconds would not help
            event.stop()

    @on(FindingControl.DetailLoaded)
    def _loaded(self, event: FindingControl.DetailLoaded) -> None:
        self._detail, self._problem = event.detail, None
        self.refreshed()

    @on(FindingControl.Moved)
    def _read_again(self) -> None:
        self._read()

    def refreshed(self) -> None:
        """Show it."""
        if not self.size.width:
            return
        width = self.app.size.width
        one = self.selected or self._detail.finding
        self.query_one("#title", Line).show(Content.assemble((" Finding ", "bold"), one.id))
        stale, trouble = self.query_one("#stale", Line), findings_trouble(self.control.feed, self._problem)
        stale.show(trouble)
        stale.display = bool(trouble)
        detail = msgspec.structs.replace(self._detail, finding=one)
        seen = self.control.instance_of(one)
        text = finding_content(detail, seen, width, has_events=self.control.is_admin)
        self.query_one("#finding-text", Line).show(text)
        self.offer()
