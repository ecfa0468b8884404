"""The small questions: are you sure, how long, and where is my Jupyter. Each dialog returns its answer or None."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from nightingale.contract.schemas import ExtendIn, InstanceOut
from nightingale_tui.draft import parse_duration
from nightingale_tui.widgets import words

CANCEL = Binding("escape", "dismiss", "Cancel", id="dialog.cancel", tooltip="Close without doing anything")


class ConfirmScreen(ModalScreen[bool]):
    """Says what will happen and what is lost; Enter does it, Escape does not."""

    BINDINGS: ClassVar[list[BindingType]] = [CANCEL]

    def __init__(self, title: str, body: str, do: str) -> None:
        """`do` is the word on the button."""
        super().__init__()
        self._title, self._body, self._do = title, body, do

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = self._title
            yield Static(self._body, markup=False, classes="dialog-body")
            with Horizontal(classes="dialog-buttons"):
                yield Button(self._do, id="do", variant="primary", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "do")


class DeleteScreen(ModalScreen[bool]):
    """Deletion cannot be taken back: the name is typed to prove it is meant."""

    BINDINGS: ClassVar[list[BindingType]] = [CANCEL]

    def __init__(self, instance: InstanceOut) -> None:
        """Ask about this instance."""
        super().__init__()
        self._instance = instance

    def compose(self) -> ComposeResult:
        """Lay out what is lost and the field for the name."""
        one = self._instance
        with VerticalGroup(classes="dialog -danger") as dialog:
            dialog.border_title = f"Delete {one.name}"
            if one.is_quarantined:
                yield Label("It is in quarantine: this destroys what it could tell.", classes="wrong evidence")
            yield Static(
                Content.from_markup(
                    "Lost for good: [b]the home folder[/] of $owner with every file in it, everything in memory, "
                    "and the machine itself.\nKept: the datasets (they are mounted read-only), the history, and the "
                    "record of what it cost ($cost so far).",
                    owner=one.owner,
                    cost=words.price(one.cost),
                ),
                classes="dialog-body",
            )
            yield Label(Content.from_markup("Type [b]$name[/] to delete it:", name=one.name))
            yield Input(id="typed", compact=True, placeholder=one.name)
            yield Label("", id="wrong", classes="wrong")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Delete", id="do", variant="error", compact=True, disabled=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#do", Button).disabled = event.value != self._instance.name
        self.query_one("#wrong", Label).update("")

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        if event.value == self._instance.name:
            self.dismiss(result=True)
        else:
            self.query_one("#wrong", Label).update(f"That is not {self._instance.name}. Nothing was deleted.")

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "do")


class ExtendScreen(ModalScreen[ExtendIn | None]):
    """How long from now until it stops by itself."""

    BINDINGS: ClassVar[list[BindingType]] = [CANCEL]

    def __init__(self, instance: InstanceOut, left: str) -> None:
        """`left` says how long it has now, in words."""
        super().__init__()
        self._instance, self._left = instance, left

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = f"Extend {self._instance.name}"
            stops = f"It stops by itself in {self._left}." if self._left else "It does not stop by itself yet."
            cost = words.price(self._instance.price_per_hour)
            yield Static(f"{stops} Each hour costs {cost}.", markup=False, classes="dialog-body")
            yield Label("Stop how long from now? (90m, 3h, 2d)")
            yield Input("3h", id="typed", compact=True)
            yield Label("", id="wrong", classes="wrong")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Extend", id="do", variant="primary", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    @on(Input.Submitted)
    def _entered(self) -> None:
        try:
            seconds = parse_duration(self.query_one(Input).value)
        except ValueError as error:
            self.query_one("#wrong", Label).update(str(error))
            return
        if seconds is None:
            self.query_one("#wrong", Label).update("Write a time like 90m, 3h or 2d.")
            return
        self.dismiss(ExtendIn(seconds=seconds))

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        if event.button.id == "do":
            self._entered()
        else:
            self.dismiss(None)


class WhyScreen(ModalScreen[str | None]):
    """Why an instance is put in quarantine, or released."""

    BINDINGS: ClassVar[list[BindingType]] = [CANCEL]

    def __init__(self, title: str) -> None:
        """`title` says what is asked for."""
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = self._title
            yield Label("Why? Administrators read it; it leaves the platform nowhere.")
            yield Input(id="typed", compact=True, max_length=500)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Do it", id="do", variant="primary", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.dismiss(self.query_one(Input).value)

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        if event.button.id == "do":
            self._entered()
        else:
            self.dismiss(None)


class AddressScreen(ModalScreen[None]):
    """The address to copy where no browser can be opened from here; the tunnel stays open behind it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy", id="address.copy", tooltip="Copy it through the terminal (OSC 52)"),
        Binding("escape,enter", "dismiss", "Close", id="address.close", tooltip="Close; the tunnel stays open"),
    ]

    def __init__(self, title: str, before: str, text: str, after: str) -> None:
        """Show `text` on lines of its own, words before and after it."""
        super().__init__()
        self._title, self._before, self._text, self._after = title, before, text, after

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with VerticalGroup(classes="dialog -wide") as dialog:
            dialog.border_title = self._title
            yield Static(self._before, markup=False, classes="dialog-body")
            yield Static(self._text, markup=False, id="address")
            yield Static(self._after, markup=False, classes="dialog-body")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Copy (c)", id="copy", variant="primary", compact=True)
                yield Button("Close (esc)", id="close", compact=True)

    def action_copy(self) -> None:
        """Copy the text by OSC 52, which reaches the laptop's clipboard over SSH."""
        self.app.copy_to_clipboard(self._text)
        self.notify("Copied, if your terminal allows programs to copy (OSC 52).")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "copy":
            self.action_copy()
        else:
            self.dismiss(None)


class PickScreen(ModalScreen[str | None]):
    """Pick one of some rows; returns its id."""

    BINDINGS: ClassVar[list[BindingType]] = [CANCEL]

    def __init__(self, title: str, rows: tuple[tuple[str, str], ...], hint: str) -> None:
        """Rows are pairs of id and text."""
        super().__init__()
        self._title, self._rows, self._hint = title, rows, hint

    def compose(self) -> ComposeResult:
        """Lay out the rows."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = self._title
            if self._rows:
                yield OptionList(*(Option(Content(text), id=key) for key, text in self._rows), compact=True)
            yield Static(self._hint, markup=False, classes="dialog-body")

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)
