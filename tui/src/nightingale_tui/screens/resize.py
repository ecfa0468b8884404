"""The resize dialog: the new size, and the old and the new price beside each other before anything happens."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup
from textual.screen import ModalScreen
from textual.widgets import Button, Label, Select, Static

from nightingale.contract.schemas import CatalogOut, EstimateIn, InstanceOut, ResizeIn, Size
from nightingale_tui.controller import Controller
from nightingale_tui.draft import RESOURCES
from nightingale_tui.screens.dialogs import CANCEL
from nightingale_tui.widgets import words
from nightingale_tui.widgets.size_select import size_options

_PAUSE_S = 0.15


class ResizeScreen(ModalScreen[ResizeIn | None]):
    """Returns the resources that change, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        CANCEL,
        Binding("ctrl+s", "resize", "Resize", id="resize.do", tooltip="Resize it now", priority=True),
    ]

    def __init__(self, controller: Controller, instance: InstanceOut, catalog: CatalogOut) -> None:
        """Offer the catalogue's sizes that the instance's place can supply."""
        super().__init__()
        self._controller, self._instance, self._catalog = controller, instance, catalog

    def compose(self) -> ComposeResult:
        """Lay out a select per resource and the two prices."""
        one = self._instance
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = f"Resize {one.name}"
            yield Static(
                "Jupyter restarts: kernels and everything in memory end. The home folder stays.",
                classes="dialog-body",
            )
            for resource in RESOURCES:
                options = size_options(self._catalog, resource, one.place)
                current = getattr(one.size, resource)
                if all(value != current for _, value in options):
                    options = [(f"{current} (now)", current), *options]
                with Horizontal(classes="field"):
                    yield Label(resource, classes="field-name")
                    yield Select(options, value=current, allow_blank=False, compact=True, id=resource)
            yield Label(self._prices(None), id="prices")
            yield Label("", id="wrong", classes="wrong")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Resize (^s)", id="do", variant="primary", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    def _prices(self, new: str | None) -> str:
        return f"per hour  {words.price(self._instance.price_per_hour)}  →  {new or '…'}"

    @property
    def _wished(self) -> Size:
        chosen = {resource: str(self.query_one(f"#{resource}", Select).value) for resource in RESOURCES}
        return Size(**chosen)

    @on(Select.Changed)
    def _ask_price(self) -> None:
        request = EstimateIn(size=self._wished, place=self._instance.place, spot=self._instance.spot)
        self.query_one("#wrong", Label).update("")
        self._controller.estimate(self, request, after_s=_PAUSE_S)

    @on(Controller.Estimated)
    def _priced(self, event: Controller.Estimated) -> None:
        if event.request.size == self._wished:
            self.query_one("#prices", Label).update(self._prices(words.price(event.estimate.per_hour)))

    @on(Controller.Refused)
    def _no_price(self, event: Controller.Refused) -> None:
        self.query_one("#prices", Label).update(self._prices("unknown"))
        problem = event.problem
        self.query_one("#wrong", Label).update(f"{problem.words} {problem.next_step}".strip())

    def action_resize(self) -> None:
        """Answer with what differs from the size it has."""
        before, after = self._instance.size, self._wished
        changes = {
            resource: getattr(after, resource)
            for resource in RESOURCES
            if getattr(after, resource) != getattr(before, resource)
        }
        if not changes:
            self.query_one("#wrong", Label).update("That is the size it has. Choose another, or Escape.")
            return
        self.dismiss(ResizeIn(**changes))

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        if event.button.id == "do":
            self.action_resize()
        else:
            self.dismiss(None)
