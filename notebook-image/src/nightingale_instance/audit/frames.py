"""What the guard, or who serves a FUSE file system, writes to the spool. The layout is `struct frame` of guard.c."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

_HEAD = struct.Struct("=IcBHQQQqiIQQ")
_RANGE = struct.Struct("=QQ")

NAME = "{:010d}.reads"
"""Of a segment in the spool."""


class FrameKind:
    """The guard's letters."""

    OPENED = b"O"
    READ = b"R"
    CLOSED = b"C"
    STARTED = b"S"


class FrameFlag(IntFlag):
    """How a frame is to be read."""

    WHOLE_FILE = 1
    INHERITED = 2
    GUARD_ENDED = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing the guard saw. `at_ns` is of the wall clock; for STARTED `open_id` counts what was refused."""

    kind: bytes
    flags: int
    open_id: int
    device: int
    inode: int
    at_ns: int
    pid: int
    uid: int
    started_ticks: int
    file_size: int
    ranges: tuple[tuple[int, int], ...]
    program: str


def packed(frame: Frame) -> bytes:
    """Return a frame as it lies in the spool."""
    program = os.fsencode(frame.program)
    size = _HEAD.size + len(frame.ranges) * _RANGE.size + len(program)
    head = _HEAD.pack(
        size,
        frame.kind,
        frame.flags,
        len(frame.ranges),
        frame.open_id,
        frame.device,
        frame.inode,
        frame.at_ns,
        frame.pid,
        frame.uid,
        frame.started_ticks,
        frame.file_size,
    )
    return b"".join([head, *(_RANGE.pack(*one) for one in frame.ranges), program])


@dataclass(frozen=True)
class Position:
    """A place in the spool: before byte `offset` of segment `segment`."""

    segment: int = 0
    offset: int = 0


class DamagedSpoolError(Exception):
    """The spool holds what no guard wrote: somebody with root's rights changed it, or the disk did."""


class Spool:
    """The folder of segments; the guard appends, we read and take away."""

    def __init__(self, folder: Path) -> None:
        """Take the folder."""
        self._folder = folder

    def segments(self) -> list[int]:
        """Return the numbers of the segments there are, in order."""
        return sorted(int(path.name.partition(".")[0]) for path in self._folder.glob("*.reads"))

    def read(self, after: Position, limit: int) -> tuple[list[Frame], Position]:
        """Return up to about `limit` frames from a position on, and the position behind them. Raises DamagedSpoolError.

        A frame that is cut off is not finished yet, or, where a later segment stands, belongs to a guard that died.
        """
        frames: list[Frame] = []
        position = after
        segments = [number for number in self.segments() if number >= after.segment]
        for number in segments:
            if number != position.segment:
                position = Position(number, 0)
            with (self._folder / NAME.format(number)).open("rb") as file:
                file.seek(position.offset)
                data = file.read(1 << 22)
            used = 0
            for frame, end in _frames(data):
                frames.append(frame)
                used = end
                if len(frames) >= limit:
                    break
            position = Position(number, position.offset + used)
            if len(frames) >= limit or len(data) == 1 << 22:
                break
        return frames, position

    def take_away_before(self, position: Position) -> None:
        """Delete the segments that lie wholly before the position."""
        for number in self.segments():
            if number < position.segment:
                (self._folder / NAME.format(number)).unlink(missing_ok=True)


def _frames(data: bytes) -> Iterator[tuple[Frame, int]]:
    at = 0
    while at + _HEAD.size <= len(data):
        size, kind, flags, count, open_id, device, inode, at_ns, pid, uid, ticks, file_size = _HEAD.unpack_from(
            data, at
        )
        body = at + _HEAD.size
        if size < _HEAD.size + count * _RANGE.size or kind not in b"ORCS":
            raise DamagedSpoolError(f"no frame begins at byte {at}")
        if at + size > len(data):
            return
        end_of_ranges = body + count * _RANGE.size
        ranges = tuple(_RANGE.iter_unpack(data[body:end_of_ranges])) if count else ()
        program = data[end_of_ranges : at + size].decode("utf-8", "replace")
        at += size
        yield (
            Frame(kind, flags, open_id, device, inode, at_ns, pid, uid, ticks, file_size, ranges, program),
            at,
        )
