"""Which process a thread is of, while it stands still: what a FUSE request names is a thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

_KNOWN_S = 0.02
"""A number may be another process's after this long."""

_MOST_KNOWN = 1024

_START_FIELD = 22 - 3
"""Of /proc/PID/stat, counted from behind the program's name, which may hold anything."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A process. `started_ticks` is 0 when it had ended before it was looked at."""

    pid: int
    uid: int
    started_ticks: int

    def program(self) -> str:
        """Return the path of its program, or nothing when it has ended."""
        try:
            return str(Path(f"/proc/{self.pid}/exe").readlink())
        except OSError:
            return ""


class Readers:
    """Finds readers, and remembers each for a moment."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._known: dict[tuple[int, int], tuple[float, Reader]] = {}

    def of(self, thread: int, uid: int) -> Reader:
        """Return the process of a thread that waits for an answer."""
        now = time.monotonic()
        known = self._known.get((thread, uid))
        if known is None or now - known[0] > _KNOWN_S:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[thread, uid] = (now, _look(thread, uid))
        return known[1]


def _look(thread: int, uid: int) -> Reader:
    try:
        status = Path(f"/proc/{thread}/status").read_bytes()
        pid = int(status.partition(b"\nTgid:")[2].split(None, 1)[0])
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return Reader(pid, uid, int(fields[_START_FIELD]))
    except (OSError, ValueError, IndexError):
        return Reader(thread, uid, 0)
