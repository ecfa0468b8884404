"""Looks whether the guard can write: where it cannot, readers stand still, and somebody must hear of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nightingale_instance.audit.notices import Notices, free_bytes

SEGMENT_BYTES = 4 << 20
"""As in guard.c: a segment this long is ended with the next frame."""

LEAST_ROOM = 1 << 18
"""What the guard may have to write at once, the size of its buffer: with less on the disk it may stand still."""


class SpoolWatch:
    """Says when the spool is full and when it is not any more."""

    def __init__(self, notices: Notices, root: Path, most_segments: int) -> None:
        """Take where to say it, the folder of all starts, and how many segments the guard makes before it waits."""
        self._notices = notices
        self._root = root
        self._most_segments = most_segments

    def look(self, start: Path) -> None:
        """Look at the segments of a start and at the disk."""
        with contextlib.suppress(OSError):  # a segment was taken away meanwhile: the next look sees
            segments = sorted(start.glob("*.reads"))
            room = free_bytes(self._root)
            if not self._notices.is_full:
                if len(segments) >= self._most_segments and segments[-1].stat().st_size >= SEGMENT_BYTES:
                    self._notices.full(f"{len(segments)} segments wait for the platform to take them")
                elif room < LEAST_ROOM:
                    self._notices.full("its disk has no room")
            elif len(segments) <= max(1, self._most_segments // 2) and room >= 2 * LEAST_ROOM:
                self._notices.drained()
