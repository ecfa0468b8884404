"""A line or a few of text that is drawn again only when it says something else."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class Line(Static):
    """Text that mostly stays the same from one second to the next."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own name
        """Say nothing yet."""
        super().__init__("", id=id, classes=classes)
        self._said: Content | str = ""

    def show(self, text: Content | str) -> None:
        """Say this; words in a plain text are never read as markup."""
        said = Content(text) if isinstance(text, str) else text
        if said != self._said or self._said == "":
            self._said = said
            self.update(said)
