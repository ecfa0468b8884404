"""What readers hold open in a FUSE file system, written down as frames: the bookkeeping of guard.c, for its requests.

Each read call is a request with its range. What a mapping shows, and `sendfile`, comes from the kernel's cache, which
asks for whole pages and asks for a page once, whoever looks at it later: from the first such request on, everyone who
has the file open counts as having read it whole, until nobody has. (The kernel empties its cache at each opening.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from nightingale_instance.audit.frames import Frame, FrameFlag, FrameKind
from nightingale_instance.audit.readers import Reader
from nightingale_instance.audit.spool_writer import SpoolWriter

MOST_RANGES = 256
"""Of one opening; then the file counts as read whole."""

SMALL_FILE = 64 * 1024
"""Up to this size a file counts as read whole when it is opened."""

_PAGE = 4096

File = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True)
class _Part:
    """What one process asked for through one opening."""

    id: int
    reader: Reader
    flags: int
    count: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Opening:
    """One handle of the kernel's, by whatever processes it is used."""

    file: File
    size: int
    parts: dict[int, _Part] = field(default_factory=dict)


class Openings:
    """Everything that is open."""

    def __init__(self, spool: SpoolWriter, first_id: int, *, tells_ranges: bool) -> None:
        """Take where frames go, and the first number of an opening, larger than any of an earlier server."""
        self._spool = spool
        self._next_id = first_id
        self._tells_ranges = tells_ranges
        self._openings: dict[int, _Opening] = {}
        self._of_file: dict[File, set[int]] = {}
        self._cached: set[File] = set()
        self._dirty: dict[int, tuple[_Opening, _Part]] = {}

    def open(self, file: File, size: int, reader: Reader) -> int:
        """Write down that a file was opened; return the handle for it. The frame is in the spool."""
        handle = self._next_id
        self._keep(handle, file, size, reader, 0)
        self._spool.flush()
        return handle

    def is_cached(self, size: int) -> bool:
        """Return whether the kernel may answer reads of a file of this size from its cache."""
        return size <= SMALL_FILE or not self._tells_ranges

    def read(self, handle: int, file: File, size: int, reader: Reader, *, offset: int, length: int) -> None:
        """Write down a read call. A handle that an earlier server gave out begins anew."""
        part = self._part(handle, file, size, reader)
        if part.flags & FrameFlag.WHOLE_FILE:
            return
        start = min(offset - offset % _PAGE, size)
        end = min(-(-(offset + length) // _PAGE) * _PAGE, size)
        if start >= size or end <= start:
            return
        self._dirty[part.id] = (self._openings[handle], part)
        if part.ranges and part.ranges[-1][0] <= start <= sum(part.ranges[-1]):
            begun, before = part.ranges[-1]
            part.ranges[-1] = (begun, max(before, end - begun))
            return
        part.count += 1
        part.ranges.append((start, end - start))
        if part.count > MOST_RANGES:
            part.flags |= FrameFlag.WHOLE_FILE
            part.ranges.clear()

    def fill_cache(self, handle: int, file: File, size: int, reader: Reader) -> None:
        """Write down that the kernel filled its cache for a reader: from now on what is read there is not told."""
        self._part(handle, file, size, reader)
        if file in self._cached:
            return
        self._cached.add(file)
        for one in self._of_file[file]:
            opening = self._openings[one]
            for part in opening.parts.values():
                if not part.flags & FrameFlag.WHOLE_FILE:
                    part.flags |= FrameFlag.WHOLE_FILE
                    part.ranges.clear()
                    self._dirty[part.id] = (opening, part)

    def close(self, handle: int) -> None:
        """Write down that nobody has this opening any more; nothing when an earlier server gave it out."""
        opening = self._openings.pop(handle, None)
        if opening is None:
            return
        for part in opening.parts.values():
            self._dirty.pop(part.id, None)
            self._add(FrameKind.CLOSED, opening, part)
        others = self._of_file[opening.file]
        others.discard(handle)
        if not others:
            del self._of_file[opening.file]
            self._cached.discard(opening.file)
        self._spool.flush()

    def write_parts(self) -> None:
        """Write down what was read since the last time."""
        for opening, part in self._dirty.values():
            self._add(FrameKind.READ, opening, part)
            part.ranges.clear()
        self._dirty.clear()
        self._spool.flush()

    def give_up(self) -> None:
        """Write down the end of this server: what is still open was perhaps read."""
        for opening in self._openings.values():
            for part in opening.parts.values():
                part.flags |= FrameFlag.GUARD_ENDED
        for handle in list(self._openings):
            self.close(handle)

    def _part(self, handle: int, file: File, size: int, reader: Reader) -> _Part:
        opening = self._openings.get(handle)
        part = opening.parts.get(reader.pid) if opening is not None else None
        if part is None:
            part = self._keep(handle, file, size, reader, FrameFlag.INHERITED)
            self._spool.flush()
        return part

    def _keep(self, handle: int, file: File, size: int, reader: Reader, flags: int) -> _Part:
        opening = self._openings.get(handle)
        if opening is None:
            opening = self._openings[handle] = _Opening(file, size)
            self._of_file.setdefault(file, set()).add(handle)
        if size <= SMALL_FILE or not self._tells_ranges or file in self._cached:
            flags |= FrameFlag.WHOLE_FILE
        part = opening.parts[reader.pid] = _Part(self._next_id, reader, flags)
        self._next_id += 1
        self._add(FrameKind.OPENED, opening, part, reader.program())
        return part

    def _add(self, kind: bytes, opening: _Opening, part: _Part, program: str = "") -> None:
        self._spool.add(
            Frame(
                kind=kind,
                flags=part.flags,
                open_id=part.id,
                device=opening.file[0],
                inode=opening.file[1],
                at_ns=time.time_ns(),
                pid=part.reader.pid,
                uid=part.reader.uid,
                started_ticks=part.reader.started_ticks,
                file_size=opening.size,
                ranges=() if kind == FrameKind.OPENED else tuple(part.ranges),
                program=program,
            )
        )
