"""Writes frames to the spool from Python, as guard.c does: who serves a FUSE file system."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

from nightingale_instance.audit.frames import NAME, Frame, packed

SEGMENT_BYTES = 4 << 20

_REST_S = 0.02
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolWriter:
    """The end of the spool. A full one makes its writer wait, and with it the readers."""

    def __init__(self, folder: int, most_segments: int, rest: Callable[[float], object] = time.sleep) -> None:
        """Take the folder's descriptor, how many segments may lie there, and what to wait with."""
        self._folder = folder
        self._most_segments = most_segments
        self._rest = rest
        self._waiting: list[bytes] = []
        self._segment = -1
        self._number = 0
        self._bytes = 0
        self._begin_segment()

    def add(self, frame: Frame) -> None:
        """Keep a frame for the next `flush`."""
        self._waiting.append(packed(frame))

    def flush(self) -> None:
        """Return when every frame so far lies in the spool. Raises OSError, save for want of room."""
        if not self._waiting:
            return
        data = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        if self._bytes >= SEGMENT_BYTES:
            self._begin_segment()
        while data:
            try:
                count = os.write(self._segment, data)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._rest(_REST_S)
            else:
                data = data[count:]
                self._bytes += count

    def _numbers(self) -> list[int]:
        names = os.listdir(self._folder)  # noqa: PTH208 - a descriptor, no path
        return [int(name.partition(".")[0]) for name in names if name.endswith(".reads")]

    def _begin_segment(self) -> None:
        if self._segment >= 0:
            os.close(self._segment)
        while len(numbers := self._numbers()) >= self._most_segments:
            self._rest(_REST_S)
        # The shipper may have taken away the segment that was last.
        self._number = max([*numbers, self._number]) + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            try:
                self._segment = os.open(NAME.format(self._number), flags, 0o600, dir_fd=self._folder)
                break
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._rest(_REST_S)
        self._bytes = 0
