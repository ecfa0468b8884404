"""A log that follows its end until a person scrolls up; only new lines are drawn."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Log

from nightingale_tui.state import KEPT_LOG_LINES


class LogLines(Log):
    """Lines of text, never markup; control characters are shown as `·`, so a log cannot steer the terminal."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", id="log.down", tooltip="Line down", show=False),
        Binding("k", "scroll_up", "Up", id="log.up", tooltip="Line up", show=False),
        Binding("G", "scroll_end", "End", id="log.end", tooltip="Go to the end and follow it", show=False),
    ]

    def __init__(self, when_empty: str, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        """Say `when_empty` while there is no line."""
        super().__init__(id=id, auto_scroll=True, max_lines=KEPT_LOG_LINES)
        self._when_empty = when_empty
        self._shown: list[str] | None = None

    def show_lines(self, lines: list[str]) -> None:
        """Show these lines; when they begin with those shown already, only the rest is added."""
        before = self._shown
        if before == lines:
            return
        if not lines:
            before = None
        new = _behind(before or [], lines)
        if before and new is not None:
            self.write_lines([_plain(line) for line in new])
        else:
            self.clear()
            self.write_lines([_plain(line) for line in lines] or [self._when_empty])
        self._shown = list(lines)


def _behind(before: list[str], lines: list[str]) -> list[str] | None:
    """Return the lines that follow those of `before`, whose first ones may be gone; None when nothing fits."""
    for dropped in range(len(before)):
        kept = len(before) - dropped
        if before[dropped] == lines[0] and before[dropped:] == lines[:kept]:
            return lines[kept:]
    return None


def _plain(line: str) -> str:
    return "".join(character if character.isprintable() else "·" for character in line.replace("\t", "    "))
