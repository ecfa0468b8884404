"""A question that takes a note: why something is done."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalGroup
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from nightingale_tui.screens.dialogs import CANCEL

_MOST = 400


class NoteScreen(ModalScreen[str | None]):
    """Says what will happen, takes a note; Enter does it, Escape does not."""

    BINDINGS: ClassVar[list[BindingType]] = [CANCEL]

    def __init__(self, title: str, body: str, do: str, *, is_needed: bool) -> None:
        """`do` is the word on the button; a note that `is_needed` may not be empty."""
        super().__init__()
        self._title, self._body, self._do, self._is_needed = title, body, do, is_needed

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = self._title
            yield Static(self._body, markup=False, classes="dialog-body")
            yield Label("Note:" if self._is_needed else "Note (may be empty):")
            yield Input(id="typed", compact=True, max_length=_MOST)
            yield Label("", id="wrong", classes="wrong")
            with Horizontal(classes="dialog-buttons"):
                yield Button(self._do, id="do", variant="primary", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    @on(Input.Submitted)
    def _entered(self) -> None:
        note = self.query_one(Input).value.strip()
        if self._is_needed and not note:
            self.query_one("#wrong", Label).update("Say why. Nothing was done.")
            return
        self.dismiss(note)

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        if event.button.id == "do":
            self._entered()
        else:
            self.dismiss(None)
