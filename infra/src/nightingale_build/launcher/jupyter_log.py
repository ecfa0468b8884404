"""The Jupyter server's log: bounded, and written by the launcher alone.

Jupyter gets a pipe, never the file: a descriptor of the file would let anyone inside cut or rewrite the log.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import BinaryIO

LIMIT_BYTES = 4 * 1024 * 1024
"""At this size the log becomes `jupyter.log.1` (the one before is dropped) and begins anew."""

KEPT_LINES = 20
LINE_LIMIT = 2000


class JupyterLog:
    """Takes what the server writes and remembers its last lines."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        """Begin a new log at `path`; the last generation's becomes the one before."""
        self._path = path
        self._limit = limit_bytes
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._unfinished = b""
        self._file = self._begin()

    def _begin(self) -> BinaryIO:
        if self._path.exists():
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._size = 0
        return os.fdopen(os.open(self._path, flags, 0o600), "ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Take what was read from the server. A full disk loses lines of the log, not the server."""
        *whole, self._unfinished = (self._unfinished + data).split(b"\n")
        self._lines.extend(printable(line) for line in whole if line.strip())
        self._unfinished = self._unfinished[-LINE_LIMIT:]
        try:
            self._file.write(data)
            self._size += len(data)
            if self._size >= self._limit and data.endswith(b"\n"):
                self._file.close()
                self._file = self._begin()
        except OSError:
            return

    def last_lines(self) -> tuple[str, ...]:
        """Return the last lines, made printable."""
        rest = (printable(self._unfinished),) if self._unfinished.strip() else ()
        return (*self._lines, *rest)[-KEPT_LINES:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def printable(line: bytes) -> str:
    """Return a line without what would move a terminal's cursor."""
    text = line[:LINE_LIMIT].decode("utf-8", "replace").replace("\t", "    ")
    return "".join(character for character in text if character.isprintable()).rstrip()
