"""From the guard's frames to records: which file, which reader, in parts of at most a second or so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from nightingale.contract.reads import Exactness, ReadKind, ReadRecord
from nightingale_instance.audit.frames import Frame, FrameFlag, FrameKind
from nightingale_instance.audit.kernel import Granularity

WAIT_NS = 1_000_000_000
"""A file that was opened and not closed for so long gets a record of its own; a quicker one gets one for everything."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY = 2**32 - 1


@dataclass(frozen=True)
class KnownFile:
    """A file of a mounted dataset, found by its device and inode."""

    dataset: str
    version: str
    path: str
    sha256: str


class Opening(msgspec.Struct, kw_only=True):
    """A file that is open: what was seen when it was opened, and whether a record told of it."""

    device: int
    inode: int
    at_ns: int
    pid: int
    uid: int
    ticks: int
    size: int
    program: str
    is_inherited: bool
    is_told: bool = False


class RecorderState(msgspec.Struct, kw_only=True):
    """What outlives the process: the number of the last record, what is open, how many guards there were."""

    number: int = 0
    guards: int = 0
    openings: dict[int, Opening] = {}


class Recorder:
    """Turns frames into numbered records. The same frames at the same `now` give the same records."""

    def __init__(
        self, state: RecorderState, files: Mapping[tuple[int, int], KnownFile], granularity: Granularity
    ) -> None:
        """Take the state, which is changed in place, the datasets' files by device and inode, what the kernel tells."""
        self._state = state
        self._files = files
        self._tells_ranges = granularity is Granularity.RANGES

    def records(self, frames: Iterable[Frame], now_ns: int) -> list[ReadRecord]:
        """Return what the frames tell, and what has been open for long without a record."""
        found: list[ReadRecord] = []
        for frame in frames:
            if frame.kind == FrameKind.OPENED:
                self._state.openings[frame.open_id] = _opening(frame)
            elif frame.kind == FrameKind.STARTED:
                found += [*self.give_up(), self._started(frame)]
            elif frame.open_id in self._state.openings:
                found.append(self._part(frame))
        for open_id, opening in self._state.openings.items():
            if not opening.is_told and now_ns - opening.at_ns >= WAIT_NS:
                opening.is_told = True
                found.append(self._record(open_id, opening, opening.at_ns))
        return found

    def of_observer(self, kind: ReadKind, at_ns: int, note: str) -> ReadRecord:
        """Return the record of what the observer says of itself."""
        self._state.number += 1
        return ReadRecord(number=self._state.number, kind=kind, at=_moment(at_ns), note=note)

    def give_up(self) -> list[ReadRecord]:
        """Return what is left to say of files whose guard died: what was read of them since is not known."""
        left, self._state.openings = self._state.openings, {}
        return [self._record(open_id, opening, opening.at_ns, is_unknown=True) for open_id, opening in left.items()]

    def _started(self, frame: Frame) -> ReadRecord:
        kind = ReadKind.OBSERVER_RESTARTED if self._state.guards else ReadKind.OBSERVER_STARTED
        self._state.guards += 1
        self._state.number += 1
        return ReadRecord(number=self._state.number, kind=kind, at=_moment(frame.at_ns), pid=frame.pid)

    def _part(self, frame: Frame) -> ReadRecord:
        opening = self._state.openings[frame.open_id]
        is_end = frame.kind == FrameKind.CLOSED
        at_ns = frame.at_ns if opening.is_told else opening.at_ns
        opening.is_told = True
        if is_end:
            del self._state.openings[frame.open_id]
        return self._record(frame.open_id, opening, at_ns, frame, closed_ns=frame.at_ns if is_end else None)

    def _record(
        self,
        open_id: int,
        opening: Opening,
        at_ns: int,
        frame: Frame | None = None,
        *,
        closed_ns: int | None = None,
        is_unknown: bool = False,
    ) -> ReadRecord:
        is_whole = (
            is_unknown or not self._tells_ranges or (frame is not None and bool(frame.flags & FrameFlag.WHOLE_FILE))
        )
        ranges = () if frame is None else frame.ranges
        file = self._files.get((opening.device, opening.inode))
        self._state.number += 1
        return ReadRecord(
            number=self._state.number,
            kind=ReadKind.READ,
            at=_moment(at_ns),
            open_id=open_id,
            closed_at=None if closed_ns is None else _moment(closed_ns),
            dataset=file.dataset if file else "",
            version=file.version if file else "",
            path=file.path if file else f"(no file of the dataset's list: inode {opening.inode})",
            sha256=file.sha256 if file else "",
            size=opening.size,
            ranges=((0, opening.size),) if is_whole and opening.size else ranges,
            exactness=Exactness.WHOLE_FILE if is_whole else Exactness.RANGES,
            is_inherited=opening.is_inherited,
            pid=opening.pid,
            started_ticks=opening.ticks,
            uid=None if opening.uid == _NOBODY else opening.uid,
            program=opening.program,
        )


def _opening(frame: Frame) -> Opening:
    return Opening(
        device=frame.device,
        inode=frame.inode,
        at_ns=frame.at_ns,
        pid=frame.pid,
        uid=frame.uid,
        ticks=frame.started_ticks,
        size=frame.file_size,
        program=frame.program,
        is_inherited=bool(frame.flags & FrameFlag.INHERITED),
    )


def _moment(at_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_ns // 1000)
