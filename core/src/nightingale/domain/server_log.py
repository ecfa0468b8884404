"""The end of a Jupyter server's log, kept by the platform while the log itself lies on a machine elsewhere.

                 begin                      end = begin + bytes of the text
    ...dropped... | line  line  line  line |        offsets only ever grow, over all starts of the instance

A note stands where something is missing, so that whoever follows is told of it in the log itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

KEPT_BYTES = 65_536
"""Of UTF-8, line ends included. A DynamoDB item has 400 KB, and each report writes it anew."""

LINE_CHARACTERS = 2_000
GONE = f"(what stood before is no longer kept: the platform keeps the last {KEPT_BYTES >> 10} KiB of this log)"
GAP = "(lines are missing here: the log grew faster than it could be sent)"


@dataclass(frozen=True)
class ServerLog:
    """Whole lines; each ends with a line end. `number` is that of the last report of the generation."""

    generation: int = 0
    number: int = 0
    begin: int = 0
    text: str = ""

    @property
    def end(self) -> int:
        """Return the offset after the last line."""
        return self.begin + len(self.text.encode())

    def has(self, generation: int, number: int) -> bool:
        """Return whether this report, or one after it, was taken."""
        return (self.generation, self.number) >= (generation, number)

    def grown(self, generation: int, number: int, lines: Iterable[str], *, has_gap: bool) -> ServerLog:
        """Return it with a report's lines, and without the oldest where there is no room for all."""
        is_new = generation != self.generation
        notes = [f"(start {generation} of the server)"] if is_new and self.text else []
        expected = 1 if is_new else self.number + 1
        if has_gap or number > expected:
            notes.append(GAP)
        added = "".join(f"{line[:LINE_CHARACTERS]}\n" for line in (*notes, *lines))
        data = (self.text + added).encode()
        over = len(data) - KEPT_BYTES
        # A line that ends exactly where room begins goes, and no other.
        dropped = data.index(b"\n", over - 1) + 1 if over > 0 else 0
        return ServerLog(generation, number, self.begin + dropped, data[dropped:].decode())

    def read(self, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` lines from an offset, and the next offset.

        Before the first line that is kept stands one that says so. An offset after the end was given out for a log that
        has been forgotten since: this one is read from its beginning.
        """
        if limit <= 0:
            return (), min(offset, self.end)
        if not 0 <= offset <= self.end:
            offset = 0
        lines = [GONE] if offset < self.begin else []
        position = max(offset, self.begin)
        for line in self.text.encode()[position - self.begin :].splitlines(keepends=True):
            if len(lines) >= limit:
                break
            lines.append(line[:-1].decode("utf-8", "replace"))
            position += len(line)
        return tuple(lines), position

    def tail_offset(self, lines: int) -> int:
        """Return where the last `lines` lines begin; before all of them where fewer are kept."""
        if lines <= 0:
            return self.end
        kept = self.text.encode().splitlines(keepends=True)
        if len(kept) < lines:
            return max(0, self.begin - 1)
        return self.end - sum(len(line) for line in kept[-lines:])
