"""What the list of findings and the screen of one share: the keys that act on the finding in sight."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.screen import Screen

from nightingale.contract.findings import FindingOut, FindingState
from nightingale.contract.vocabulary import Action
from nightingale_tui import findings as said
from nightingale_tui.controller import Controller
from nightingale_tui.finding_control import FindingControl
from nightingale_tui.screens.notes import NoteScreen

_EVERY_S = 3.0
_BINDINGS = (
    Binding("a", "move('acknowledged')", "Ack", id="finding.ack", tooltip="Acknowledge it: you look into it"),
    Binding("r", "move('resolved')", "Resolve", id="finding.resolve", tooltip="It is dealt with; closes it"),
    Binding("x", "move('false_alarm')", "False alarm", id="finding.false", tooltip="It was nothing; asks why"),
    Binding("o", "move('open')", "Open again", id="finding.reopen", tooltip="Open a closed one again"),
    Binding(
        "Q", "hold('quarantine')", "Quarantine", id="finding.quarantine", tooltip="Cut its instance off, freeze it"
    ),
    Binding("R", "hold('release')", "Release", id="finding.release", tooltip="Release its instance from quarantine"),
    Binding("y", "decide('yes')", "Yes", id="finding.yes", tooltip="Say yes to the action that waits"),
    Binding("n", "decide('no')", "No", id="finding.no", tooltip="Say no to the action that waits"),
)
_ACTS = (
    *(("move", state.value) for state in FindingState),
    ("hold", Action.QUARANTINE.value),
    ("hold", Action.RELEASE.value),
    ("decide", "yes"),
)
_WORDS = {
    FindingState.ACKNOWLEDGED: ("Acknowledge", "You look into it. It stays in the list."),
    FindingState.RESOLVED: ("Resolve", "It is dealt with and leaves the list. It opens again if it goes on."),
    FindingState.FALSE_ALARM: ("False alarm", "It was nothing. Say why: whoever sees the next one wants to know."),
    FindingState.OPEN: ("Open again", "It is in the list again, and nobody looks into it yet."),
}


class FindingScreens(Screen[None]):
    """What the list and the one finding share: the keys that act on the finding in sight."""

    BINDINGS: ClassVar[list[BindingType]] = [*_BINDINGS]

    def __init__(self, controller: Controller, control: FindingControl) -> None:
        """Ask through the controls."""
        super().__init__()
        self.controller = controller
        self.control = control
        self._offered: tuple[bool, ...] = ()

    @property
    def selected(self) -> FindingOut | None:
        """The finding that keys act on."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Look at the instance in sight again and again: others act on it too."""
        self.set_interval(_EVERY_S, self._look)

    def on_resize(self) -> None:
        """Show what fits."""
        self.refreshed()

    def _look(self) -> None:
        one = self.selected if self.is_current else None
        if one is not None:
            self.control.look_at_instance(self, one)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what makes sense for the finding in sight, and what the platform offers on its instance now."""
        if action not in {"move", "hold", "decide"}:
            return super().check_action(action, parameters)
        one, what = self.selected, str(parameters[0])
        if one is None or not self.control.is_admin:
            return False
        if action == "hold":
            return self.control.may(one, Action(what))
        if one.merged_into is not None:
            return False
        return _may_move(one, FindingState(what)) if action == "move" else said.waiting(one) is not None

    def offer(self) -> None:
        """Bring the footer up to date where what is offered changed; look at an instance not looked at before."""
        one = self.selected
        if one is not None and self.is_current and self.control.instance_of(one) is None:
            self.control.look_at_instance(self, one)
        offered = tuple(bool(self.check_action(name, (what,))) for name, what in _ACTS)
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def action_move(self, to: str) -> None:
        """Ask for a note, then move the finding in sight."""
        one, state = self.selected, FindingState(to)
        if one is None:
            return
        title, body = _WORDS[state]

        def noted(note: str | None) -> None:
            if note is not None:
                self.control.move(self, one, state, note)

        is_needed = state is FindingState.FALSE_ALARM
        self.app.push_screen(NoteScreen(f"{title}: {one.rule}", body, title, is_needed=is_needed), noted)

    def action_hold(self, what: str) -> None:
        """Ask why, then quarantine or release the finding's instance."""
        one = self.selected
        if one is None:
            return
        is_release = what == "release"
        body = "It goes on where it stood." if is_release else "Its network is cut, its processes stand still."

        def told(why: str | None) -> None:
            if why is not None:
                self.control.hold(self, one, why, is_release=is_release)

        seen = self.control.instance_of(one)
        title = f"{what.title()} {seen.name if seen is not None else one.instance}"
        self.app.push_screen(NoteScreen(title, body, what.title(), is_needed=True), told)

    def action_decide(self, answer: str) -> None:
        """Ask for a note, then say yes or no to the action that waits."""
        one = self.selected
        waits = said.waiting(one) if one is not None else None
        if one is None or waits is None:
            return
        is_yes = answer == "yes"
        do = f"{'Do' if is_yes else 'Do not'} {waits.kind.value}"

        def noted(note: str | None) -> None:
            if note is not None:
                self.control.decide(self, one, note, is_yes=is_yes)

        self.app.push_screen(NoteScreen(f"{do}: {said.about(one)}", waits.words, do, is_needed=False), noted)

    @on(FindingControl.InstanceSeen)
    def _seen(self) -> None:
        self.refreshed()

    @on(FindingControl.Moved)
    def _moved(self, event: FindingControl.Moved) -> None:
        self.notify(f"{event.finding.id}: {event.done.replace('_', ' ')}.", markup=False)
        self.refreshed()

    @on(FindingControl.Held)
    def _held(self, event: FindingControl.Held) -> None:
        self.notify(f"{event.instance.name} {event.done}.", markup=False)
        self.control.poll()
        self.refreshed()

    @on(Controller.Refused)
    def _refused(self, event: Controller.Refused) -> None:
        words = f"{event.problem.words} {event.problem.next_step}".strip()
        self.notify(words, title=f"Could not {event.what}", severity="error", markup=False)

    def refreshed(self) -> None:
        """Show what is known now."""
        raise NotImplementedError

    def action_leave(self) -> None:
        """Go back."""
        self.app.pop_screen()


def _may_move(one: FindingOut, to: FindingState) -> bool:
    """Return whether it can be moved so: what is closed is opened again before somebody looks into it."""
    if to is FindingState.OPEN:
        return one.state.is_closed
    if to is FindingState.ACKNOWLEDGED:
        return one.state is FindingState.OPEN
    return one.state is not to
