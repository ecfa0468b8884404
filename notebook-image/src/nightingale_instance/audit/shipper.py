"""Brings records from the spool to the platform: numbered, in batches, again until the platform says that it has them.

reads/lock                     one shipper at a time
reads/state.json               up to where everything is with the platform
reads/outbox.json              the batch on its way: sent again as it is, whatever happened in between
reads/acked.json               the last batch, where the disk had no room for `state.json` behind it: stands for that
reads/notices, reads/spare.*   what the observer says of itself, and room for batches on a full disk; see `notices`
reads/<start>/                 one guard's segments, `mounts.json`, and the lists of files it was mounted with
"""

from __future__ import annotations

import http.client
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from nightingale.contract.reads import MOST_RECORDS, ObserverSpec, ReadRecord, ReadsIn, ReadsTaken
from nightingale_instance.audit.frames import Position, Spool
from nightingale_instance.audit.kernel import Granularity
from nightingale_instance.audit.notices import NO_ROOM, Notices, Spares
from nightingale_instance.audit.records import KnownFile, Recorder, RecorderState
from nightingale_instance.audit.volume import FileList

MOST_FRAMES = 4000
FEW_FRAMES = (1500, 250, 40)
"""Of a batch that has to do with the room of a spare file: as many as it takes."""

MOST_BODY = 900_000
"""Bytes of records in one batch; the platform takes a body of 1 MiB."""

FIRST_REST_S, LONGEST_REST_S = 0.2, 5.0
"""After a batch that the platform did not take."""

ANSWER_S = 10.0


class MountSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Which file system was which dataset, of one guard's start."""

    device: int
    dataset: str
    version: str
    files: str
    """Name of its list in the start's folder."""


class MountsSeen(msgspec.Struct, frozen=True, kw_only=True):
    """`mounts.json`."""

    granularity: Granularity
    mounts: tuple[MountSeen, ...]


class ShipperState(msgspec.Struct, kw_only=True):
    """`state.json`."""

    start: int = 0
    segment: int = 0
    offset: int = 0
    notices: int = 0
    """Number of the last notice that became a record."""
    recorder: RecorderState = msgspec.field(default_factory=RecorderState)


class _Outbox(msgspec.Struct, frozen=True, kw_only=True):
    records: tuple[ReadRecord, ...]
    following: ShipperState


class _Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where the platform's API is: a URL, or a port of this machine as the local platform writes it down."""

    url: str = ""
    host: str = ""
    port: int = 0

    def text(self) -> str:
        return self.url or f"http://{self.host}:{self.port}"


class NotTakenError(Exception):
    """The platform did not take a batch. Says why."""


class Shipper:
    """Ships what lies under `reads`. One at a time: who makes one holds the lock."""

    def __init__(
        self, spec: ObserverSpec, notices: Notices | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Take the observer's specification, what it says of itself, and a clock in nanoseconds of the wall."""
        self._spec = spec
        self._clock = clock
        self._root = Path(spec.spool_dir)
        self.notices = notices or Notices(self._root, clock)
        self._spares = Spares(self._root)
        acked: _Outbox | None = _read(self._root / "acked.json", _Outbox)
        kept: ShipperState | None = _read(self._root / "state.json", ShipperState)
        self._state = acked.following if acked is not None else kept or ShipperState()
        self.notices.go_on_from(self._state.notices)
        self._files: dict[tuple[int, int], KnownFile] = {}
        self._granularity = Granularity.RANGES
        self._load_start(self._state.start)

    @property
    def start(self) -> int:
        """The number of the start that is being shipped; 0 before the first."""
        return self._state.start

    def starts(self) -> list[int]:
        """Return the numbers of the starts whose folders are there, in order."""
        return sorted(int(path.name) for path in self._root.iterdir() if path.name.isdigit())

    def step(self, *, is_guard_alive: bool) -> bool:
        """Ship one batch; return whether there was one. Raises NotTakenError, DamagedSpoolError, OSError."""
        outbox = _read(self._root / "outbox.json", _Outbox)
        if outbox is None:
            outbox = self._next(is_guard_alive=is_guard_alive)
            if outbox is None:
                return False
            if outbox.records:
                outbox = self._put_out(outbox, is_guard_alive=is_guard_alive)
        for batch in _batches(outbox.records):
            self._send(batch)
        is_new_start = outbox.following.start != self._state.start
        self._state = outbox.following
        self._settle()
        self.notices.taken(self._state.notices)
        self._spares.keep()
        self._spool(self._state.start).take_away_before(Position(self._state.segment, self._state.offset))
        for start in self.starts():
            if start < self._state.start:
                shutil.rmtree(self._root / str(start))
        if is_new_start:
            self._load_start(self._state.start)
        return True

    def _put_out(self, outbox: _Outbox, *, is_guard_alive: bool) -> _Outbox:
        """Write the batch down before it is sent, a smaller one where there is little room; return what was written."""
        try:
            _write(self._root / "outbox.json", outbox)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            for most_frames in FEW_FRAMES:
                small = self._next(most_frames, is_guard_alive=is_guard_alive)
                if small and self._spares.become(self._root / "outbox.json", msgspec.json.encode(small)):
                    return small
            raise
        return outbox

    def _settle(self) -> None:
        """Write down that the batch is with the platform. Without room for it the batch itself, renamed, says so."""
        outbox, acked = self._root / "outbox.json", self._root / "acked.json"
        try:
            _write(self._root / "state.json", self._state)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            if outbox.exists():
                self._spares.take_back(acked)
                outbox.replace(acked)
        else:
            for path in (acked, outbox):  # in this order: what lies in `acked.json` counts before `state.json`
                self._spares.take_back(path)
                path.unlink(missing_ok=True)

    def _next(self, most_frames: int = MOST_FRAMES, *, is_guard_alive: bool) -> _Outbox | None:
        """Return the records that come next and the state behind them, or None when there is nothing new."""
        state = msgspec.json.decode(msgspec.json.encode(self._state), type=ShipperState)
        recorder = Recorder(state.recorder, self._files, self._granularity)
        if waiting := self.notices.after(state.notices):
            # First of all, and without a look at the spool, which may be what is damaged.
            state.notices = waiting[-1].number
            told = tuple(recorder.of_observer(one.kind, one.at_ns, one.note) for one in waiting)
            return _Outbox(records=told, following=state)
        spool = self._spool(state.start)
        frames, position = spool.read(Position(state.segment, state.offset), most_frames)
        records = recorder.records(frames, self._clock())
        if not frames and not records:
            later = [start for start in self.starts() if start > state.start]
            if not later and is_guard_alive:
                return None
            records = recorder.give_up()
            if not later and not records:
                return None
            if later:
                state.start, position = later[0], Position()
        state.segment, state.offset = position.segment, position.offset
        return _Outbox(records=tuple(records), following=state)

    def _spool(self, start: int) -> Spool:
        return Spool(self._root / str(start))

    def _load_start(self, start: int) -> None:
        folder = self._root / str(start)
        seen = _read(folder / "mounts.json", MountsSeen)
        self._files = {}
        if seen is None:
            return
        self._granularity = seen.granularity
        for mount in seen.mounts:
            listed = msgspec.json.decode((folder / mount.files).read_bytes(), type=FileList)
            for file in listed.files:
                known = KnownFile(mount.dataset, mount.version, file.path, file.sha256)
                self._files[mount.device, file.inode] = known

    def _send(self, records: tuple[ReadRecord, ...]) -> None:
        body = msgspec.json.encode(ReadsIn(records=records))
        try:
            url = urlsplit(msgspec.json.decode(Path(self._spec.api_file).read_bytes(), type=_Address).text())
            token = Path(self._spec.token_file).read_text(encoding="ascii").strip()
            kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
            connection = kind(url.netloc, timeout=ANSWER_S)
            try:
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                path = f"{url.path.rstrip('/')}/v1/instance/reads"
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                said = answer.read(1 << 20)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError, msgspec.MsgspecError) as error:
            raise NotTakenError(f"the platform cannot be reached: {type(error).__name__}: {error}") from error
        if answer.status != http.client.OK:
            raise NotTakenError(f"the platform answered {answer.status}: {said[:500].decode('utf-8', 'replace')}")
        try:
            taken = msgspec.json.decode(said, type=ReadsTaken)
        except msgspec.MsgspecError as error:
            raise NotTakenError(f"what answers there is not the platform: {error}") from error
        if taken.number < records[-1].number:
            raise NotTakenError(f"the platform has records up to {taken.number} only, not {records[-1].number}")


def ship_for(
    shipper: Shipper, until: Callable[[], bool], rest: Callable[[float], object], *, is_guard_alive: bool
) -> bool:
    """Ship until nothing is left (True) or `until()` says so (False). What could not be shipped is tried again."""
    wait = FIRST_REST_S
    while not until():
        try:
            if not shipper.step(is_guard_alive=is_guard_alive):
                return True
            wait = FIRST_REST_S
        except (NotTakenError, OSError) as error:  # a full disk may have room again
            _say(str(error))
            rest(wait)
            wait = min(LONGEST_REST_S, wait * 2)
    return False


def _say(words: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {words}\n")
    sys.stderr.flush()


def _batches(records: tuple[ReadRecord, ...]) -> list[tuple[ReadRecord, ...]]:
    """Return the records in batches that the platform takes whole."""
    batches: list[tuple[ReadRecord, ...]] = []
    batch: list[ReadRecord] = []
    size = 0
    for record in records:
        length = len(msgspec.json.encode(record)) + 1
        if batch and (len(batch) == MOST_RECORDS or size + length > MOST_BODY):
            batches.append(tuple(batch))
            batch, size = [], 0
        batch.append(record)
        size += length
    return [*batches, tuple(batch)] if batch else batches


def _read(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _write(path: Path, value: object) -> None:
    """Write a file whole. Not flushed to the disk: a power cut ends the readers, and the spool behind it, as well."""
    part = path.with_name(f".{path.name}.tmp")
    try:
        part.write_bytes(msgspec.json.encode(value))
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)  # half of it would take room that others wait for
        raise
