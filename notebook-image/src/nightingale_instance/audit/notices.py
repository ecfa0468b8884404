"""What the observer has to say of itself, until it is with the platform: in room that a full disk leaves it.

reads/notices      one block of text, written over in place: its room was taken when there was some
reads/reserve      given up for the batch that carries a notice, when the disk has no room for it; taken again later
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from nightingale.contract.reads import ReadKind

_ROOM = 16_384
_MOST_WAITING = 60
_SPARE = 1 << 19
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to say. Its number is the notice's own, and becomes no record's."""

    number: int
    kind: ReadKind
    at_ns: int
    note: str = ""


class _Kept(msgspec.Struct, kw_only=True):
    last: int = 0
    full_since_ns: int | None = None
    is_damaged: bool = False
    waiting: list[Notice] = []


class Notices:
    """Those that wait, on disk and in memory. Threads may share it."""

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        """Take up what lies in the folder, and a clock in nanoseconds of the wall."""
        self._path = folder / "notices"
        self._clock = clock
        self._turn = threading.Lock()
        self._kept = _Kept()
        with contextlib.suppress(OSError, msgspec.MsgspecError):  # cut short where it was made on a full disk
            self._kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        self._write()

    def go_on_from(self, number: int) -> None:
        """Let numbers follow the last notice that the platform has: the file of them may have been lost."""
        with self._turn:
            if self._kept.last < number:
                waiting = enumerate(self._kept.waiting, number + 1)
                self._kept.waiting = [msgspec.structs.replace(one, number=new) for new, one in waiting]
                self._kept.last = number + len(self._kept.waiting)
                self._write()

    @property
    def is_full(self) -> bool:
        """Whether the last word on the spool was that it is full."""
        return self._kept.full_since_ns is not None

    def full(self, note: str) -> None:
        """Say that readers wait from now on."""
        with self._turn:
            if self._kept.full_since_ns is None:
                self._kept.full_since_ns = self._clock()
                self._add(ReadKind.SPOOL_FULL, note)

    def drained(self) -> None:
        """Say that they go on."""
        with self._turn:
            if self._kept.full_since_ns is not None:
                self._kept.full_since_ns = None
                self._add(ReadKind.SPOOL_DRAINED, "")

    def damaged(self, note: str) -> bool:
        """Say, once for good, that the spool cannot be read on; return whether that was news."""
        with self._turn:
            is_news = not self._kept.is_damaged
            if is_news:
                self._kept.is_damaged = True
                self._add(ReadKind.SPOOL_DAMAGED, note)
            return is_news

    def after(self, number: int) -> tuple[Notice, ...]:
        """Return those that wait with a number above this one, in order."""
        with self._turn:
            return tuple(one for one in self._kept.waiting if one.number > number)

    def taken(self, number: int) -> None:
        """Forget those up to this number: the platform has them."""
        with self._turn:
            if self._kept.waiting and self._kept.waiting[0].number <= number:
                self._kept.waiting = [one for one in self._kept.waiting if one.number > number]
                self._write()

    def _add(self, kind: ReadKind, note: str) -> None:
        waiting = self._kept.waiting
        if kind is ReadKind.SPOOL_FULL and len(waiting) >= _MOST_WAITING and waiting[-1].kind is ReadKind.SPOOL_DRAINED:
            waiting.pop()  # so many that the two spans become one: an upper bound of how long readers waited
        else:
            self._kept.last += 1
            waiting.append(Notice(number=self._kept.last, kind=kind, at_ns=self._clock(), note=note[:200]))
        self._write()

    def _write(self) -> None:
        """Write over what is there, in one call and without taking more room; in memory it stands in any case."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, msgspec.json.encode(self._kept).ljust(_ROOM), 0)
            finally:
                os.close(descriptor)


class Spares:
    """Room that is kept for batches when there is none. It is never given back: the guard would be quicker."""

    def __init__(self, folder: Path) -> None:
        """Take the room, if there is plenty."""
        self._paths = (folder / "spare.0", folder / "spare.1")
        self.keep()

    def keep(self) -> None:
        """Take what is missing, if there is plenty."""
        with contextlib.suppress(OSError):
            for path in self._paths:
                if not path.exists() and free_bytes(path.parent) >= 8 * _SPARE:
                    with path.open("xb") as file:
                        file.write(bytes(_SPARE))

    def become(self, target: Path, content: bytes) -> bool:
        """Let one be the file `target`, with this content and blanks; return False where none is left or fits."""
        if len(content) > _SPARE:
            return False
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                with path.open("r+b") as file:
                    file.write(content.ljust(_SPARE))
                path.replace(target)
                return True
        return False

    def take_back(self, used: Path) -> None:
        """Keep the room of a file that was a spare and is about to be taken away or replaced."""
        with contextlib.suppress(OSError):
            if used.stat().st_size == _SPARE:
                free = next((path for path in self._paths if not path.exists()), None)
                if free is not None:
                    free.hardlink_to(used)


def free_bytes(folder: Path) -> int:
    """Return how much room the folder's file system has for root. Raises OSError."""
    seen = os.statvfs(folder)
    return seen.f_bfree * seen.f_frsize
