"""The terminal app: wires controller, tunnels and screens; holds what belongs to every screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.screen import Screen

from nightingale_tui.api.client import Api
from nightingale_tui.commands import InstanceCommands, KeyCommands, ProjectCommands
from nightingale_tui.controller import Controller
from nightingale_tui.draft import LaunchDraft
from nightingale_tui.finding_control import ASKED, FindingControl
from nightingale_tui.findings import about
from nightingale_tui.keys import load_keys
from nightingale_tui.screens.dialogs import PickScreen
from nightingale_tui.screens.finding_base import FindingScreens
from nightingale_tui.screens.findings import FindingsScreen
from nightingale_tui.screens.help import HelpScreen
from nightingale_tui.screens.instances import InstancesScreen
from nightingale_tui.screens.launch import LaunchScreen
from nightingale_tui.screens.usage import UsageScreen
from nightingale_tui.settings import Settings, load_session
from nightingale_tui.tunnel import Tunnel
from nightingale_tui.tunnels import Doors, Tunnels, open_browser
from nightingale_tui.widgets import words

_TICK_S = 1.0
_FINDINGS_S = 3.0
_TOLD_S = 10.0
"""How long words from inside an instance are shown; its detail keeps the last few."""
_OPENING_S = 25.0
"""ssh is given up on after 20 seconds."""


def utc_now() -> datetime:
    """Return this machine's time, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the app's one clock; everything else is handed it


class NightingaleApp(App[int]):
    """Nightingale in a terminal. Exits with status 0."""

    TITLE = "Nightingale"
    CSS_PATH = "styles/app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = App.COMMANDS | {
        KeyCommands,
        InstanceCommands,
        ProjectCommands,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "usage", "Usage", id="app.usage", tooltip="This month's usage and cost"),
        Binding("f", "findings", "Findings", id="app.findings", tooltip="What rules saw in the logs"),
        Binding("p", "project", "Project", id="app.project", tooltip="Switch to another project", show=False),
        Binding("w", "tunnels", "Tunnels", id="app.tunnels", tooltip="Open tunnels; pick one to close it", show=False),
        Binding(
            "question_mark", "help", "Help", id="app.help", tooltip="Every key, and the signs", key_display="?"
        ),
        Binding("q", "quit", "Quit", id="app.quit", tooltip="Quit; closes the tunnels, the instances go on"),
    ]  # fmt: skip

    def __init__(
        self,
        api: Api,
        project: str,
        doors: Doors,
        *,
        now: Callable[[], datetime] = utc_now,
        renew: Callable[[], None] = lambda: None,
        keys: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Show `project` of the platform behind `api`; `doors` lead to tunnels and the browser.

        `keys` are a person's own, by binding id.
        """
        super().__init__()
        self.controller = Controller(self, api, project, now, renew)
        self.tunnels = Tunnels(self.controller, doors)
        self.findings = FindingControl(self.controller)
        self._draft: LaunchDraft | None = None
        self.set_keymap(dict(keys))

    def get_default_screen(self) -> Screen[Any]:
        """Return the list of instances."""
        return InstancesScreen(self.controller, self.tunnels)

    def on_mount(self) -> None:
        """Begin to ask the platform; let times tick."""
        self.controller.begin()
        self.set_interval(_TICK_S, self.controller.publish)
        self.set_interval(_FINDINGS_S, self.findings.poll)

    def on_unmount(self) -> None:
        """Close the tunnels on the way out, however the app ends."""
        self.tunnels.close_all()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Offer the theme; the rest of the stock commands has keys here or is of no use in this app."""
        yield from (command for command in super().get_system_commands(screen) if command.title == "Theme")

    @on(Controller.Told)
    def _told(self, event: Controller.Told) -> None:
        """Show words from inside an instance, as they are: they are no markup of ours."""
        told = event.notification
        severity: Literal["error", "information"] = "error" if told.log_tail else "information"
        self.notify(told.text, title=event.instance.name, severity=severity, timeout=_TOLD_S, markup=False)

    @on(FindingControl.Loaded)
    def _findings_loaded(self, event: FindingControl.Loaded) -> None:
        """Say that something critical came, wherever the person is."""
        if event.is_first:
            self.refresh_bindings()
        if event.news:
            first, more = event.news[0], len(event.news) - 1
            others = f" and {more} more" if more else ""
            title = "Critical finding" if not event.is_first else "Open critical findings"
            is_there = any(isinstance(screen, FindingScreens) for screen in self.screen_stack)
            words = f"{first.rule}: {about(first)}{others}.{'' if is_there else ' Press f.'}"
            self.notify(words, title=title, severity="error", timeout=_TOLD_S, markup=False)

    @on(Controller.Refused)
    def _refused(self, event: Controller.Refused) -> None:
        if event.what == ASKED:
            self.findings.failed(event.problem)

    # --- what every screen offers -------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep the keys of the list from acting behind a dialog."""
        if action in {"launch", "usage", "project", "tunnels", "findings"} and self._has_screens_above():
            return False
        if action == "findings" and not self.findings.is_offered:
            return False
        return super().check_action(action, parameters)

    def _has_screens_above(self) -> bool:
        return len(self.screen_stack) > 1

    def action_launch(self) -> None:
        """Open the launch form, with what was typed in it before it was cancelled."""
        catalog = self.controller.catalog
        if catalog is None:
            self.notify("Sizes and prices are not known yet; try again in a moment.", severity="warning")
            return
        form = LaunchScreen(self.controller, catalog, self._draft)

        def closed(instance_id: str | None) -> None:
            self._draft = None if instance_id else form.draft
            if instance_id:
                self.controller.publish()
                self.go_to(instance_id)

        self.push_screen(form, closed)

    def action_usage(self) -> None:
        """Open the usage screen."""
        self.push_screen(UsageScreen(self.controller))

    def action_findings(self) -> None:
        """Open the findings."""
        self.push_screen(FindingsScreen(self.controller, self.findings))

    def action_project(self) -> None:
        """Pick another project."""
        members = self.controller.me.memberships if self.controller.me else ()
        rows = tuple((m.project, f"{m.project:<20} {m.role.value:<10} {m.title}") for m in members)
        hint = "Enter switches, Esc goes back." if rows else "Your projects are not known yet."

        def picked(project: str | None) -> None:
            if project:
                self.controller.switch_project(project)

        self.push_screen(PickScreen("Project", rows, hint), picked)

    def action_tunnels(self) -> None:
        """List the open tunnels; Enter closes one."""
        now = self.controller.now()
        rows = tuple((t.instance_id, f"{t.name:<24} open {words.ago(t.since, now)}") for t in self.tunnels.rows)
        hint = "Enter closes one; all close when you quit." if rows else "None is open. Press o on a running instance."

        def picked(instance_id: str | None) -> None:
            if instance_id:
                self.run_worker(lambda: self.tunnels.close(instance_id), thread=True, name="close tunnel")
                self.notify("Tunnel closed.")

        self.push_screen(PickScreen("Tunnels", rows, hint), picked)

    def action_help(self) -> None:
        """Explain the keys of the screen in sight."""
        self.push_screen(HelpScreen(self.screen))

    def go_to(self, instance_id: str) -> None:
        """Put the list's cursor on this instance."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if isinstance(self.screen, InstancesScreen):
            self.screen.select(instance_id)


def make_app(api: Api, settings: Settings, project: str) -> NightingaleApp:
    """Return the app as it runs for a person: tunnels by the system's ssh, logins renewed from the session's file.

    Raises SettingsError when the file of the person's own keys cannot be used.
    """

    def renew() -> None:
        session = load_session(settings)
        if session is not None:
            api.with_token(session.token)

    doors = Doors(lambda of, name: Tunnel.open(api, settings, of, name), open_browser)
    return NightingaleApp(api, project, doors, renew=renew, keys=load_keys(settings.config_dir))


def run_app(api: Api, settings: Settings, project: str) -> int:
    """Run the app until the person quits; return the exit status (0 when it ended as it should)."""
    app = make_app(api, settings, project)
    app.run()
    app.tunnels.settle(_OPENING_S)
    return app.return_code or 0
