"""The kernel's FUSE protocol as far as a file system needs it that can only be read (linux/fuse.h, fuse(4)).

Spoken without libfuse: its bindings hand a read over without the reader's process, cannot let a file be both mapped and
read with exact ranges, and cannot go on with a file system whose server died (docs/adr/0014).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from nightingale_instance.audit.kernel import Granularity, KernelRefusedError, call

DEVICE = "/dev/fuse"

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOATIME = 1, 2, 4, 1024
_MNT_FORCE = 1
_READ_AHEAD_KIB = 1024
_MINOR = 38

_ASYNC_READ, _ASYNC_DIO, _PARALLEL_DIROPS = 1 << 0, 1 << 15, 1 << 18
_MAX_PAGES, _CACHE_SYMLINKS, _INIT_EXT = 1 << 22, 1 << 23, 1 << 30
_DIRECT_IO_ALLOW_MMAP = 1 << (36 - 32)
"""In the second word of flags; Linux 6.6 and newer."""

_MOST_PAGES = 256
"""Of one read: 1 MiB."""

_NOTIFY_RESEND = 7

FROM_READ_CALL = 1 << 1
"""Flag of a READ that a read call made (FUSE_READ_LOCKOWNER). Without it the kernel fills its cache: a mapping, say."""

DIRECT_IO, KEEP_CACHE, CACHE_FOLDER, NO_FLUSH = 1 << 0, 1 << 1, 1 << 3, 1 << 5
"""Flags of the answer to OPEN and OPENDIR."""

SMALLEST_BUFFER = 8192
"""The kernel hands no request to a reader of less."""

_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY_OUT = struct.Struct("=QQQQII")
_ATTRIBUTES_OUT = struct.Struct("=QII")
_STATFS_OUT = struct.Struct("=QQQQQIIII24x")
_FOLDER_ENTRY = struct.Struct("=QQII")

OPEN_OUT = struct.Struct("=QII")
READ_IN = struct.Struct("=QQIIQII")
RELEASE_IN = struct.Struct("=QIIQ")
FLAGS_IN = struct.Struct("=II")

_VALID_S = 86400
"""The volume never changes: the kernel need not ask twice for a name or its attributes."""


class Operation(IntEnum):
    """What the kernel asks."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    READLINK = 5
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42


UNANSWERED = frozenset({Operation.FORGET, Operation.BATCH_FORGET, Operation.INTERRUPT})


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `pid` is the thread's, in the mounter's namespace; 0 when the kernel asks for nobody."""

    operation: int
    unique: int
    node: int
    uid: int
    pid: int
    body: bytes


def take(descriptor: int) -> Request | None:
    """Return the next request, or None when there is none now. Raises OSError; ENODEV: unmounted."""
    try:
        data = os.read(descriptor, SMALLEST_BUFFER)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EINTR, errno.ENOENT}:  # ENOENT: the reader gave up meanwhile
            return None
        raise
    _, operation, unique, node, uid, _, pid, _, _ = _IN.unpack_from(data)
    return Request(operation, unique, node, uid, pid, data[_IN.size :])


def answer(descriptor: int, request: Request, *parts: bytes | memoryview) -> None:
    """Answer a request. One whose reader gave up meanwhile wants none."""
    size = _OUT.size + sum(len(part) for part in parts)
    _write(descriptor, [_OUT.pack(size, 0, request.unique), *parts])


def refuse(descriptor: int, request: Request, number: int) -> None:
    """Answer a request with an error of errno."""
    _write(descriptor, [_OUT.pack(_OUT.size, -number, request.unique)])


def _write(descriptor: int, parts: Sequence[bytes | memoryview]) -> None:
    try:
        os.writev(descriptor, parts)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.EINTR}:
            raise


def attributes(status: os.stat_result) -> bytes:
    """Return the answer's part about one file."""
    seconds, rests = zip(
        *(divmod(at, 10**9) for at in (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)), strict=True
    )
    return _ATTRIBUTES.pack(
        status.st_ino,
        status.st_size,
        status.st_blocks,
        *seconds,
        *rests,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        0,
        status.st_blksize,
        0,
    )


def entry(node: int, status: os.stat_result) -> bytes:
    """Return the answer to LOOKUP."""
    return _ENTRY_OUT.pack(node, 0, _VALID_S, _VALID_S, 0, 0) + attributes(status)


def attributes_answer(status: os.stat_result) -> bytes:
    """Return the answer to GETATTR."""
    return _ATTRIBUTES_OUT.pack(_VALID_S, 0, 0) + attributes(status)


def statfs(status: os.statvfs_result) -> bytes:
    """Return the answer to STATFS."""
    return _STATFS_OUT.pack(
        status.f_blocks,
        status.f_bfree,
        status.f_bavail,
        status.f_files,
        status.f_ffree,
        status.f_bsize,
        status.f_namemax,
        status.f_frsize,
        0,
    )


def folder_entry(inode: int, offset: int, name: bytes, kind: int) -> bytes:
    """Return one entry of a folder; `offset` is where the next one begins, `kind` of stat's S_IFMT."""
    padding = -(_FOLDER_ENTRY.size + len(name)) % 8
    return _FOLDER_ENTRY.pack(inode, offset, len(name), kind >> 12) + name + b"\0" * padding


def mount(target: Path, granularity: Granularity) -> int:
    """Mount a file system at `target`; return its descriptor. Raises KernelRefusedError.

    RANGES wants a kernel that lets files be mapped which bypass its cache (6.6 and newer): then each read call asks.
    With OPENS the cache is used, and what is found there is not told.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise KernelRefusedError(f"{DEVICE} cannot be opened: {error.strerror}") from error
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    try:
        call(
            "mount",
            ctypes.c_char_p(b"nightingale"),
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_char_p(b"fuse"),
            ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOATIME),
            ctypes.c_char_p(options.encode()),
        )
        _negotiate(descriptor, granularity)
        _read_ahead_more(target)
    except BaseException:
        os.close(descriptor)
        raise
    os.set_blocking(descriptor, False)
    return descriptor


def _negotiate(descriptor: int, granularity: Granularity) -> None:
    request = take(descriptor)
    if request is None or request.operation != Operation.INIT:
        raise KernelRefusedError("the kernel did not begin to speak FUSE")
    major, minor, read_ahead, flags, flags2 = _INIT_IN.unpack(request.body[: _INIT_IN.size].ljust(_INIT_IN.size, b"\0"))
    wanted = _ASYNC_READ | _ASYNC_DIO | _PARALLEL_DIROPS | _MAX_PAGES | _CACHE_SYMLINKS | _INIT_EXT
    can_map = bool(flags & _INIT_EXT and flags2 & _DIRECT_IO_ALLOW_MMAP)
    tells_ranges = granularity is Granularity.RANGES
    if tells_ranges and not can_map:
        raise KernelRefusedError("this kernel's FUSE cannot map files that are read past its cache (Linux 6.6 can)")
    out = _INIT_OUT.pack(
        major,
        min(minor, _MINOR),
        max(read_ahead, _READ_AHEAD_KIB << 10),
        flags & wanted,
        64,
        48,
        4096,
        1,
        _MOST_PAGES,
        0,
        _DIRECT_IO_ALLOW_MMAP if tells_ranges else 0,
    )
    answer(descriptor, request, out)


def _read_ahead_more(target: Path) -> None:
    """Let the kernel read 1 MiB ahead where it fills its cache."""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split(b" ")
        if fields[4] == os.fsencode(target):  # asking the file system itself would wait for its server
            # sysfs may be read-only, and a strange path is written otherwise: it is as right then, and slower.
            with contextlib.suppress(OSError):
                Path(f"/sys/class/bdi/{fields[2].decode()}/read_ahead_kb").write_text(
                    str(_READ_AHEAD_KIB), encoding="ascii"
                )


def ask_again(descriptor: int) -> bool:
    """Have the kernel ask again what an earlier server took and did not answer; False before Linux 6.9."""
    try:
        os.writev(descriptor, [_OUT.pack(_OUT.size, _NOTIFY_RESEND, 0)])
    except OSError:
        return False
    return True


def abort(target: Path) -> None:
    """Have the kernel refuse everything that is asked at `target`, now and later."""
    with contextlib.suppress(KernelRefusedError):  # it says that somebody uses it, and has done what is wanted
        call("umount2", ctypes.c_char_p(os.fsencode(target)), ctypes.c_int(_MNT_FORCE))
