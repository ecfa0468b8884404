"""The line of keys at the foot of a screen: what does not fit is left out whole, the least needed first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

_WIDE = 100
"""From here on the palette's key is shown."""
_LEAST_NEEDED = (
    "app.command_palette",
    "quit",
    "usage",
    "ask('extend')",
    "ask('resize')",
    "leave",
    "least",
    "ask('start')",
    "ask('stop')",
)
"""Actions in the order in which they give way; the help lists them all."""


class KeyLine(Footer):
    """A footer that fits its terminal."""

    def __init__(self) -> None:
        """Show the keys without space around them."""
        super().__init__(compact=True)

    def compose(self) -> ComposeResult:
        """Lay out the keys that fit."""
        self.show_command_palette = self.app.size.width >= _WIDE
        keys = list(super().compose())
        widths = {key.action: _width(key) for key in keys if isinstance(key, FooterKey)}
        left_out = too_many(widths, self.app.size.width)
        fitting = [key for key in keys if not isinstance(key, FooterKey) or key.action not in left_out]
        self.styles.grid_size_columns = max(1, sum(not key.has_class("-command-palette") for key in fitting))
        yield from fitting

    def on_resize(self) -> None:
        """Choose anew."""
        self.call_after_refresh(self.recompose)


def _width(key: FooterKey) -> int:
    return cell_len(key.key_display) + 1 + cell_len(key.description)


def too_many(widths: dict[str, int], room: int) -> Sequence[str]:
    """Return the actions to leave out so that keys of these widths, a cell between them, fit into `room` cells."""
    left = dict(widths)
    gone: list[str] = []
    for action in _LEAST_NEEDED:
        if sum(left.values()) + len(left) - 1 <= room:
            break
        if left.pop(action, None) is not None:
            gone.append(action)
    return gone
