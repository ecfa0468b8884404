"""A list to tick, whose ticks can be told apart without colour."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widgets import SelectionList

_BUTTON = 3
"""Textual draws its button as the first three segments: the same letter ticked or not, only its colour differs."""


class TickList(SelectionList[str]):
    """`[x]` is ticked, `[ ]` is not."""

    def render_line(self, y: int) -> Strip:
        """Draw one row with its tick as text."""
        line = super().render_line(y)
        index = self.scroll_offset.y + y
        if index >= self.option_count:
            return line
        rest = list(line)[_BUTTON:]
        is_ticked = self.get_option_at_index(index).value in self.selected
        meta = {"option": index}  # a click on the tick is a click on the row, as Textual has it
        style = (rest[0].style or Style()) + Style(meta=meta)
        return Strip([*(Segment(mark, style) for mark in ("[", "x" if is_ticked else " ", "]")), *rest])
