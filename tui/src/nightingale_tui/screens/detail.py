"""Everything about one instance: properties, history, build, Jupyter's log, what it read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import TabbedContent, TabPane

from nightingale.contract.schemas import InstanceOut
from nightingale.contract.vocabulary import LogSource
from nightingale_tui import state
from nightingale_tui.controller import Controller
from nightingale_tui.details import READS, Detail, Sight
from nightingale_tui.reads import lines as reads_lines
from nightingale_tui.screens.base import InstanceScreen
from nightingale_tui.tunnels import Tunnels
from nightingale_tui.widgets.build_words import build_lines
from nightingale_tui.widgets.facts import stale_words, title_words
from nightingale_tui.widgets.key_line import KeyLine
from nightingale_tui.widgets.line import Line
from nightingale_tui.widgets.log_lines import LogLines
from nightingale_tui.widgets.overview import history_words, overview_words

_EVERY_S = 1.0
_SOURCES: Mapping[str, Sight] = {
    "build": LogSource.BUILD,
    "jupyter": LogSource.JUPYTER,
    "reads": READS,
}
_TABS = ("overview", "history", "build", "jupyter", "reads")


class DetailScreen(InstanceScreen):
    """Five tabs about one instance; reads the log in sight as it grows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Back", id="detail.back", tooltip="Back to the list"),
        *(
            Binding(str(at), f"tab('{name}')", name.title(), id=f"detail.{name}", tooltip=f"Show {name}", show=False)
            for at, name in enumerate(_TABS, 1)
        ),
    ]

    def __init__(self, controller: Controller, tunnels: Tunnels, instance: InstanceOut) -> None:
        """Show this instance, with what is known of it from the start."""
        super().__init__(controller, tunnels)
        self._detail = Detail(instance)
        self._is_reading = False
        """A slow answer is waited for: asking anew each second would never let one arrive."""

    def compose(self) -> ComposeResult:
        """Lay out the tabs."""
        yield Line(id="title")
        yield Line(id="stale")
        with TabbedContent(initial="overview"):
            with TabPane("1 Overview", id="overview"), VerticalScroll():
                yield Line(id="overview-text")
            with TabPane("2 History", id="history"), VerticalScroll():
                yield Line(id="history-text")
            with TabPane("3 Build", id="build"):
                yield LogLines("No build has said anything yet.", id="build-lines")
            with TabPane("4 Jupyter log", id="jupyter"):
                yield LogLines("The Jupyter server has said nothing yet.", id="jupyter-lines")
            with TabPane("5 Reads", id="reads"):
                yield LogLines("No read of a dataset was recorded yet.", id="reads-lines")
        yield KeyLine()

    def on_mount(self) -> None:
        """Listen, and read what is new each second."""
        self.controller.changed.subscribe(self, self._changed, immediate=True)
        self.set_interval(_EVERY_S, self._read)
        self._show()
        self._read()
        self.action_tab("overview")

    def on_resize(self) -> None:
        """Wrap anew."""
        self._show()

    @property
    def selected(self) -> InstanceOut | None:
        """The newest that is known of this instance."""
        return state.find(self.controller.feed, self._detail.instance.id) or self._detail.instance

    def _read(self) -> None:
        if not self.is_current or self._is_reading:
            return
        self._is_reading = True
        self.controller.load_detail(self, self._detail, _SOURCES.get(self.query_one(TabbedContent).active))

    @on(Controller.DetailLoaded)
    def _loaded(self, event: Controller.DetailLoaded) -> None:
        self._is_reading = False
        self._detail = event.detail
        self._show()

    @on(Controller.Refused)
    def _unread(self, event: Controller.Refused) -> None:
        if event.what.startswith("details of "):
            self._is_reading = False
            event.prevent_default()  # the stale line tells it each second; a notification each second would not help
            event.stop()

    def _changed(self, _: object) -> None:
        if self.is_current:
            self._show()

    def _show(self) -> None:
        instance = self.selected
        if instance is None:
            return
        control, now = self.controller, self.controller.now()
        shown, width = state.shown_now(control.feed, now), self.app.size.width
        self.query_one("#title", Line).show(title_words(control, width))
        stale = self.query_one("#stale", Line)
        text = stale_words(control.feed, now, control.asked_at)
        stale.show(text)
        stale.display = bool(text)
        self.query_one(TabbedContent).set_class(bool(text), "-faded")
        self.query_one("#overview-text", Line).show(overview_words(instance, shown, control.catalog, width))
        self.query_one("#history-text", Line).show(history_words(self._detail.history, width))
        self.query_one("#build-lines", LogLines).show_lines(build_lines(self._detail.build_log.lines))
        self.query_one("#jupyter-lines", LogLines).show_lines(list(self._detail.jupyter_log.lines))
        self.query_one("#reads-lines", LogLines).show_lines(reads_lines(self._detail.reads))
        self.offer_actions()

    def action_tab(self, name: str) -> None:
        """Show one of the tabs, ready to scroll."""
        tabs = self.query_one(TabbedContent)
        tabs.active = name
        pane = tabs.get_pane(name)
        pane.query("VerticalScroll, LogLines").first().focus()
        self._is_reading = False  # what is under way is not what is looked at now
        self._read()

    def action_leave(self) -> None:
        """Go back to the list."""
        self.app.pop_screen()
