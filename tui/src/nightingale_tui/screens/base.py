"""What the list and the detail screen share: the keys that act on the instance in sight, and hearing how it went."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.screen import Screen

from nightingale.contract.schemas import ExtendIn, InstanceOut, QuarantineIn, ResizeIn
from nightingale.contract.vocabulary import Action, Status
from nightingale_tui.actions import BY_ACTION, Ask, instance_bindings, may
from nightingale_tui.controller import Controller
from nightingale_tui.screens.dialogs import AddressScreen, ConfirmScreen, DeleteScreen, ExtendScreen, WhyScreen
from nightingale_tui.screens.resize import ResizeScreen
from nightingale_tui.tunnels import Tunnels
from nightingale_tui.widgets import words


class InstanceScreen(Screen[None]):
    """A screen with an instance in sight. Its subclass says which, in `selected`."""

    BINDINGS: ClassVar[list[BindingType]] = [*instance_bindings()]

    def __init__(self, controller: Controller, tunnels: Tunnels) -> None:
        """Ask the controller, open through the tunnels."""
        super().__init__()
        self.controller = controller
        self.tunnels = tunnels
        self._offered: tuple[Action, ...] | None = None

    @property
    def selected(self) -> InstanceOut | None:
        """The instance that keys act on."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the platform lists in `allowed_actions` and nothing else."""
        if action == "ask":
            return may(self.selected, str(parameters[0]))
        if action == "copy_ssh":
            return may(self.selected, Action.OPEN)
        return super().check_action(action, parameters)

    def offer_actions(self) -> None:
        """Bring the footer up to date, only when what is offered changed: a footer costs bytes too."""
        offered = self.selected.allowed_actions if self.selected else ()
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def action_ask(self, name: str) -> None:
        """Ask for an action on the instance in sight, through the dialog it needs."""
        instance = self.selected
        if instance is None or not may(instance, name):
            return
        action = Action(name)
        dialogs: dict[Action, Callable[[InstanceOut], None]] = {
            Action.OPEN: self._open,
            Action.STOP: self._ask_stop,
            Action.RESIZE: self._ask_resize,
            Action.EXTEND: self._ask_extend,
            Action.DELETE: self._ask_delete,
            Action.QUARANTINE: partial(self._ask_why, Action.QUARANTINE),
            Action.RELEASE: partial(self._ask_why, Action.RELEASE),
        }
        dialog = dialogs.get(action)
        if dialog is None:
            self._perform(Ask(action, instance))
        else:
            dialog(instance)

    def action_copy_ssh(self) -> None:
        """Show and copy the command that opens the tunnel from a shell."""
        if self.selected is not None:
            self.controller.load_gateway(self, self.selected)

    # --- dialogs ------------------------------------------------------------------------------------------------------

    def _open(self, instance: InstanceOut) -> None:
        self.notify(f"Opening the tunnel to {instance.name} …", timeout=3)
        self.tunnels.open(self, instance)

    def _ask_stop(self, instance: InstanceOut) -> None:
        lost = "Lost: running kernels and everything in memory."
        if instance.status is Status.FAILED:
            lost = "It is not launched again by itself; Start brings it back."
        kept = "Kept: the home folder. Compute is no longer billed, the disk still is."
        body = f"{lost}\n{kept}\nCost so far: {words.price(instance.cost)}."

        def answered(is_sure: bool | None) -> None:  # noqa: FBT001 - what Textual hands a dialog's callback
            if is_sure:
                self._perform(Ask(Action.STOP, instance))

        self.app.push_screen(ConfirmScreen(f"Stop {instance.name}", body, "Stop"), answered)

    def _ask_resize(self, instance: InstanceOut) -> None:
        catalog = self.controller.catalog
        if catalog is None:
            self.notify("The sizes are not known yet; try again in a moment.", severity="warning")
            return

        def answered(resize: ResizeIn | None) -> None:
            if resize is not None:
                self._perform(Ask(Action.RESIZE, instance, resize=resize))

        self.app.push_screen(ResizeScreen(self.controller, instance, catalog), answered)

    def _ask_extend(self, instance: InstanceOut) -> None:
        def answered(extend: ExtendIn | None) -> None:
            if extend is not None:
                self._perform(Ask(Action.EXTEND, instance, extend=extend))

        self.app.push_screen(ExtendScreen(instance, words.until(instance.stops_at, self.controller.now())), answered)

    def _ask_delete(self, instance: InstanceOut) -> None:
        def answered(is_sure: bool | None) -> None:  # noqa: FBT001 - what Textual hands a dialog's callback
            if is_sure:
                self._perform(Ask(Action.DELETE, instance))

        self.app.push_screen(DeleteScreen(instance), answered)

    def _ask_why(self, action: Action, instance: InstanceOut) -> None:
        def answered(why: str | None) -> None:
            if why is not None:
                self._perform(Ask(action, instance, quarantine=QuarantineIn(why=why)))

        self.app.push_screen(WhyScreen(f"{BY_ACTION[action].label} {instance.name}"), answered)

    def _perform(self, ask: Ask) -> None:
        self.controller.perform(self, ask)

    # --- how it went --------------------------------------------------------------------------------------------------

    @on(Controller.Acted)
    def _acted(self, event: Controller.Acted) -> None:
        self.notify(f"{event.instance.name} {BY_ACTION[event.ask.action].done}.", markup=False)

    @on(Controller.Refused)
    def _refused(self, event: Controller.Refused) -> None:
        problem = event.problem
        self.notify(
            f"{problem.words}\n{problem.next_step}".strip(),
            title=f"Could not {event.what}",
            severity="error",
            timeout=10,
            markup=False,
        )

    @on(Tunnels.Opened)
    def _opened(self, event: Tunnels.Opened) -> None:
        name = event.instance.name
        if event.is_in_browser:
            self.notify(f"{name} is in your browser. Its tunnel stays open until you quit (w lists them).")
            return
        self.app.push_screen(
            AddressScreen(
                f"Jupyter of {name}",
                "No browser can be opened from this terminal. Open this address on the machine this app runs on:",
                event.url,
                "It works once, within a minute; press o again for a new one. The tunnel stays open until you quit "
                "(w lists the open ones). Over SSH, press y on the instance for a tunnel from your own laptop.",
            )
        )

    @on(Controller.GatewayLoaded)
    def _gateway(self, event: Controller.GatewayLoaded) -> None:
        gateway, name = event.gateway, event.instance.name
        person = self.controller.me.person if self.controller.me else event.instance.owner
        target = f"{name}.{event.instance.project}"
        command = f"ssh -N -p {gateway.port} -L 8888:{target}:8888 {person}@{gateway.host}"
        self.app.copy_to_clipboard(command)
        self.app.push_screen(
            AddressScreen(
                f"Tunnel to {name} from a shell",
                "Copied, if your terminal allows it:",
                command,
                f"The gateway's host key, to compare at the first connection:\n{gateway.host_key}",
            )
        )
