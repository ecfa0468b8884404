"""The audit log in files of one machine: `root/<stream>/<YYYY-MM-DDTHH>.jsonl`, one sealed record a line.

Beside a stream's files stands `.head`: the number and hash of the last record. It is the lock that writers of all
processes take in turn, and it remembers what was acknowledged: cut the files short and `verify` names the first missing
record, for good, because the next record is numbered behind the head and not behind what is left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import NamedTuple

from nightingale.adapters.audit_files import (
    SUFFIX,
    files_after,
    last_line,
    list_files,
    make_private,
    open_file,
    seek_after,
    torn_end,
    whole_lines,
    write_lines,
)
from nightingale.adapters.audit_records import DamagedRecordError, from_line, holds, seal, to_line
from nightingale.contract.canonical import GENESIS
from nightingale.ports.audit_log import AuditEvent, AuditLogMovedError, AuditLogUnavailableError, SealedEvent

REPAIRED_TAG = "audit:repair:succeeded"
"""The fact that a line torn by a crash was set aside."""

_STREAM = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HEAD = re.compile(rb"([0-9]{20}) ([0-9a-f]{64})\n")
_HEAD_NAME = ".head"


class _Head(NamedTuple):
    seq: int
    hash: str


_START = _Head(0, GENESIS)


class FileAuditLog:
    """Appends and reads; any number of processes and threads may share the root (folders 0700, files 0600)."""

    def __init__(self, root: Path | str) -> None:
        """Keep streams under `root`, which is made with the first record."""
        self._root = Path(root)

    def append(self, event: AuditEvent) -> SealedEvent:
        """Keep the fact on disk before returning. Raises AuditLogUnavailableError, ValueError for a bad stream name."""
        return self.append_all((event,))[0]

    def append_all(self, events: Sequence[AuditEvent], after: int | None = None) -> tuple[SealedEvent, ...]:
        """Keep facts of one stream on disk before returning, all or none; with `after`, only behind that record.

        They go to the file of the first one's hour, or to the newest file if the clock stepped back: files are in
        order. Raises AuditLogUnavailableError, AuditLogMovedError, ValueError.
        """
        _check(events)
        folder = self._root / events[0].stream
        try:
            make_private(self._root)
            make_private(folder)
            with _turn(folder, fcntl.LOCK_EX) as lock:
                return _append(folder, lock, events, after)
        except OSError as error:
            raise AuditLogUnavailableError(_words(error, folder)) from error

    def head(self, stream: str) -> int:
        """Return the number of the stream's last record, 0 for none. Raises AuditLogUnavailableError."""
        folder = self._root / stream
        if not _STREAM.fullmatch(stream) or not folder.is_dir():
            return 0
        try:
            with _turn(folder, fcntl.LOCK_SH) as lock:
                return _last(list_files(folder), _read_head(lock), folder).seq
        except OSError as error:
            raise AuditLogUnavailableError(_words(error, folder)) from error

    def read(self, stream: str, after: int, limit: int) -> tuple[SealedEvent, ...]:
        """Return up to `limit` facts with a number above `after`, in order; none for a stream that is not there.

        Raises AuditLogUnavailableError when a record on the way cannot be read.
        """
        found: list[SealedEvent] = []
        if limit <= 0 or not _STREAM.fullmatch(stream):
            return ()
        folder = self._root / stream
        try:
            for path in files_after(folder, after):
                with open_file(path) as file:
                    seek_after(file, after)
                    for line in whole_lines(file):
                        sealed = from_line(line)
                        if sealed.seq > after:
                            found.append(sealed)
                        if len(found) == limit:
                            return tuple(found)
        except OSError as error:
            raise AuditLogUnavailableError(_words(error, folder)) from error
        except DamagedRecordError as error:
            message = f"a record in {folder} was damaged ({error}): verify the stream {stream!r} to learn which"
            raise AuditLogUnavailableError(message) from error
        return tuple(found)

    def verify(self, stream: str) -> int | None:
        """Return the number of the first missing, changed or reordered record, or None when the chain holds.

        Reads the whole stream, a line at a time. Raises AuditLogUnavailableError.
        """
        folder = self._root / stream
        if not _STREAM.fullmatch(stream) or not folder.is_dir():
            return None
        seq, prev = _START
        try:
            with _turn(folder, fcntl.LOCK_SH) as lock:
                head = _read_head(lock)  # read first: what is appended meanwhile only comes on top
            for path in list_files(folder):
                with open_file(path) as file:
                    for line in whole_lines(file):
                        seq += 1
                        try:
                            sealed = from_line(line)
                        except DamagedRecordError:
                            return seq
                        if sealed.event.stream != stream or not holds(sealed, seq, prev):
                            return seq
                        if seq == head.seq and sealed.hash != head.hash:
                            return seq
                        prev = sealed.hash
        except OSError as error:
            raise AuditLogUnavailableError(_words(error, folder)) from error
        return seq + 1 if seq < head.seq else None

    def streams(self) -> tuple[str, ...]:
        """Return the names of all streams, in order. Raises AuditLogUnavailableError."""
        try:
            return tuple(sorted(path.name for path in self._root.iterdir() if _STREAM.fullmatch(path.name)))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise AuditLogUnavailableError(_words(error, self._root)) from error

    def copy_to(self, target: Path) -> None:
        """Copy every stream, each as it is at one moment, to a new folder that is an audit log too.

        Writers wait only while the end of their stream is looked up. Raises AuditLogUnavailableError.
        """
        try:
            make_private(target)
            for stream in self.streams():
                (target / stream).mkdir(mode=0o700)
                _copy_stream(self._root / stream, target / stream)
        except OSError as error:
            raise AuditLogUnavailableError(_words(error, self._root)) from error


def _copy_stream(folder: Path, target: Path) -> None:
    """Copy a stream up to where it ends now: whole lines never change, so only the end is looked up under the lock."""
    with _turn(folder, fcntl.LOCK_SH) as lock:
        head = os.pread(lock, 200, 0)
        files = list_files(folder)
        ends = {path.name: path.stat().st_size for path in files}
        if files:
            ends[files[-1].name] -= len(torn_end(files[-1]))
    ends |= {path.name: path.stat().st_size for path in folder.glob("*.torn")}
    write_lines(target / _HEAD_NAME, head)
    for name, end in ends.items():
        with open_file(folder / name) as source:
            left = end
            while left > 0 and (piece := source.read(min(left, 1 << 20))):
                write_lines(target / name, piece)
                left -= len(piece)


def _check(events: Sequence[AuditEvent]) -> None:
    for event in events:
        if not _STREAM.fullmatch(event.stream) or event.stream != events[0].stream:
            message = f"{event.stream!r} is no stream name: lower case letters, digits and dashes, at most 63"
            raise ValueError(message)
        if event.at.tzinfo is None:
            message = "an audit event's time is aware"
            raise ValueError(message)


def _append(folder: Path, lock: int, events: Sequence[AuditEvent], after: int | None) -> tuple[SealedEvent, ...]:
    """Append under the stream's lock."""
    event = events[0]
    files = list_files(folder)
    torn = torn_end(files[-1]) if files else b""
    name = max(event.at.astimezone(UTC).strftime("%Y-%m-%dT%H") + SUFFIX, files[-1].name if files else "")
    remembered = _read_head(lock)
    if remembered == _START:
        _write_head(lock, _START)  # takes its room on the disk now: after the record it cannot be full
    head = _last(files, remembered, folder)
    if after is not None and after != head.seq:
        raise AuditLogMovedError(f"{event.stream} ends with record {head.seq}, not {after}")
    new: list[SealedEvent] = []
    if torn:
        detail = {"file": files[-1].name, "kept_in": _set_aside(files[-1], torn).name, "bytes": str(len(torn))}
        repair = AuditEvent(event.stream, event.at, REPAIRED_TAG, "platform", event.stream, detail)
        new.append(seal(repair, head.seq + 1, head.hash))
        head = _Head(new[-1].seq, new[-1].hash)
    repairs = len(new)
    for one in events:
        new.append(seal(one, head.seq + 1, head.hash))
        head = _Head(new[-1].seq, new[-1].hash)
    write_lines(folder / name, b"".join(to_line(sealed) for sealed in new))
    # Written behind the record, so the head on disk is never ahead of the files: a power cut makes no false alarm.
    _write_head(lock, head)
    return tuple(new[repairs:])


def _last(files: list[Path], head: _Head, folder: Path) -> _Head:
    """Return what the next record stands behind: the head, unless a crash kept it from following the files."""
    for path in reversed(files):
        line = last_line(path)
        if line is None:
            continue
        try:
            sealed = from_line(line)
        except DamagedRecordError as error:
            if head != _START:
                return head  # the damage stays for `verify` to name
            message = (
                f"the last record of {path} is damaged and {folder / _HEAD_NAME} is gone: "
                "keep a copy of the folder, then restore it from a backup"
            )
            raise AuditLogUnavailableError(message) from error
        return _Head(sealed.seq, sealed.hash) if sealed.seq > head.seq else head
    return head


def _set_aside(path: Path, torn: bytes) -> Path:
    """Move the torn last line to a file beside; return its path. A crash in between repeats it: nothing is lost."""
    aside = path.with_name(path.name + ".torn")
    write_lines(aside, torn + b"\n")
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, os.fstat(fd).st_size - len(torn))
        os.fsync(fd)
    finally:
        os.close(fd)
    return aside


@contextmanager
def _turn(folder: Path, kind: int) -> Iterator[int]:
    """Hold the stream's lock; yield the head's descriptor. Threads exclude each other too: each opens its own."""
    fd = os.open(folder / _HEAD_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, kind)
        yield fd
    finally:
        os.close(fd)


def _read_head(fd: int) -> _Head:
    match = _HEAD.fullmatch(os.pread(fd, 200, 0))
    return _START if match is None else _Head(int(match[1]), match[2].decode())


def _write_head(fd: int, head: _Head) -> None:
    os.pwrite(fd, b"%020d %s\n" % (head.seq, head.hash.encode()), 0)


def _words(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the audit log has no room left in {folder} ({error.strerror}): free some space, then try again"
    return f"the audit log in {folder} cannot be used ({error.strerror}): check the folder's owner and the disk"
