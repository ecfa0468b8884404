"""What could not be read: counted to the last line, the first ones told."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_TOLD = 100
_HEAD = 200


@dataclass(frozen=True)
class SetAside:
    """One line, event or file that was left out."""

    file: str
    line: int | None
    """Counted from 1; None where the file has no lines to speak of."""
    why: str
    head: str
    """Its first 200 characters at most, with nothing in it that could move a terminal."""


@dataclass(frozen=True)
class Loaded:
    """What came of loading: events that are in the table now, and what was left out."""

    events: int
    duplicates: int = 0
    """Events whose id was there already: the same file twice."""
    set_aside: tuple[SetAside, ...] = ()
    """The first MOST_TOLD ones."""
    set_aside_count: int = 0


@dataclass
class Asides:
    """Collects what is set aside; holds MOST_TOLD of them, whatever comes."""

    told: list[SetAside] = field(default_factory=list)
    count: int = 0

    def add(self, file: str, line: int | None, why: str, head: bytes = b"") -> None:
        """Count one; the first ones are kept with the beginning of what they were."""
        self.count += 1
        if len(self.told) < MOST_TOLD:
            shown = bytes(head[:_HEAD]).decode("utf-8", "replace")[:_HEAD]
            plain = "".join(char if char.isprintable() else " " for char in shown)
            self.told.append(SetAside(file=file, line=line, why=why, head=plain))
