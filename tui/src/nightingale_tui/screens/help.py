"""Every key of the screen below, from its bindings, and what the signs mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from nightingale.contract.vocabulary import Status
from nightingale_tui.widgets import words

_WIDE = 100
_WORDS = """\
The list is asked for each second. Older data is dimmed, with its age above it; keys work all the same.
COST is at list price, from the first second to now; what your project pays is on the usage screen (u).
A stopped instance costs its disk only. Deleting it ends that too, and its home folder with it.
Your own keys go into keys.toml beside config.toml, by the ids that a wide screen shows in brackets:
    "instance.stop" = "x"
"""


class HelpScreen(ModalScreen[None]):
    """Help for the screen it was asked from."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close", id="help.close", tooltip="Close the help")
    ]

    def __init__(self, about: Screen[object]) -> None:
        """Explain the keys of `about`, those not offered at this moment included."""
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        """Lay out keys, signs and words."""
        with VerticalScroll(classes="dialog -wide -tall") as dialog:
            dialog.border_title = "Help"
            dialog.border_subtitle = "Esc closes"
            yield Static(self._keys())
            yield Static(self._signs())
            yield Static(_WORDS, markup=False)

    def _keys(self) -> Content:
        seen: dict[str, Binding] = {}
        taken: set[str] = set()
        for node in (self._about, self.app, self._about.focused):
            here = [binding for _, binding in node._bindings] if node else []  # noqa: SLF001 - no public way lists what is not offered now
            for binding in here:
                # a key of the screen's own, such as q for back, does not quit there as well
                if binding.id and binding.description and binding.key not in taken:
                    seen.setdefault(binding.id, binding)
            taken |= {binding.key for binding in here}
        lines = [
            Content.assemble(
                (f"{self.app.get_key_display(binding):>8}", "bold"),
                f"  {binding.tooltip or binding.description}  ",
                (f"[{binding_id}]" if self.app.size.width >= _WIDE else "", "dim"),
            )
            for binding_id, binding in seen.items()
        ]
        return Content("\n").join([*lines, Content("")])

    def _signs(self) -> Content:
        labels = [words.label_of(status) for status in (Status.RUNNING, Status.STOPPED, Status.FAILED)]
        signs = "  ".join(f"{label.sign} {label.word}" for label in labels)
        return Content(f"   signs  {signs}  ○ idle  ? unreachable  ▲ quarantined  ◐ on its way\n")
