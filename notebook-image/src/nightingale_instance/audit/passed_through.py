"""Serves datasets through FUSE and writes down who reads what: where the kernel has no questions to ask about reads.

    python -m nightingale_instance.audit.passed_through SPOOL_FD PARENT_PID MOST_SEGMENTS GRANULARITY FD=FOLDER ...

`FD` is a mounted file system's descriptor, `FOLDER` what it shows. Others hold duplicates of it, so that readers wait,
and are not refused, when this process dies; the kernel then asks the next one again. A frame lies in the spool before
an opening is answered; ranges follow within a second. It ends on SIGTERM, or with its parent. As one reads, the others
wait: there is one thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nightingale_instance.audit import fuse_wire as wire
from nightingale_instance.audit.frames import Frame, FrameKind
from nightingale_instance.audit.fuse_wire import Operation, Request
from nightingale_instance.audit.kernel import Granularity
from nightingale_instance.audit.openings import Openings
from nightingale_instance.audit.readers import Readers
from nightingale_instance.audit.spool_writer import SpoolWriter

ROOT = 1
"""The node that the kernel begins with. All others have their inode's number."""

TICK_S = 1.0
_BUFFER = 1 << 20
_PR_SET_PDEATHSIG = 1


@dataclass
class _Content:
    """A file's descriptor, as long as somebody has the file open."""

    descriptor: int
    handles: set[int] = field(default_factory=set)


class Volume:
    """One mounted file system: its names and contents are those of a folder that nobody changes."""

    def __init__(self, descriptor: int, folder: Path) -> None:
        """Take the file system's descriptor and the folder it shows."""
        self.descriptor = descriptor
        self._folder = folder
        root = folder.stat()
        self.device = root.st_dev
        self._paths: dict[int, Path] = {ROOT: folder, root.st_ino: folder}
        self._contents: dict[int, _Content] = {}
        self._listed: dict[int, list[tuple[int, bytes, int]]] = {}

    def path(self, node: int) -> Path:
        """Return where a node lies. Raises OSError for one there never was."""
        if node not in self._paths:  # an earlier server told the kernel of it
            for parent, folders, names in os.walk(self._folder):
                for name in (*folders, *names):
                    path = Path(parent, name)
                    self._paths.setdefault(path.lstat().st_ino, path)
        try:
            return self._paths[node]
        except KeyError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None

    def find(self, node: int, name: bytes) -> os.stat_result:
        """Return the status of what a folder holds under a name. Raises OSError."""
        path = self.path(node) / os.fsdecode(name)
        status = path.lstat()
        self._paths.setdefault(status.st_ino, path)
        return status

    def status(self, node: int) -> os.stat_result:
        """Return a node's status. Raises OSError."""
        return self.path(node).lstat()

    def listed(self, node: int) -> list[tuple[int, bytes, int]]:
        """Return inode, name and kind of what lies in a folder, in an order that stays. Raises OSError."""
        if node not in self._listed:
            with os.scandir(self.path(node)) as entries:
                found = [
                    (entry.inode(), os.fsencode(entry.name), stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode))
                    for entry in entries
                ]
            status = self.status(node)
            here = [(status.st_ino, b".", stat.S_IFDIR), (status.st_ino, b"..", stat.S_IFDIR)]
            self._listed.clear()  # one is enough: folders are listed one after the other, and the kernel remembers
            self._listed[node] = here + sorted(found, key=lambda one: one[1])
        return self._listed[node]

    def content(self, node: int, handle: int) -> int:
        """Return a descriptor to read a file with, for as long as the handle is open. Raises OSError."""
        content = self._contents.get(node)
        if content is None:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            content = self._contents[node] = _Content(os.open(self.path(node), flags))
        content.handles.add(handle)
        return content.descriptor

    def let_go(self, node: int, handle: int) -> None:
        """Close what only this handle wanted."""
        content = self._contents.get(node)
        if content is None:
            return
        content.handles.discard(handle)
        if not content.handles:
            os.close(content.descriptor)
            del self._contents[node]


class Server:
    """Answers the kernel."""

    def __init__(self, volumes: list[Volume], openings: Openings, readers: Readers) -> None:
        """Take what is served and where it is written down."""
        self._volumes = {volume.descriptor: volume for volume in volumes}
        self._openings = openings
        self._readers = readers
        self._buffer = memoryview(bytearray(_BUFFER))
        self._answers: dict[int, Callable[[Volume, Request], bytes | memoryview]] = {
            Operation.LOOKUP: self._lookup,
            Operation.GETATTR: lambda volume, request: wire.attributes_answer(volume.status(request.node)),
            Operation.READLINK: lambda volume, request: os.fsencode(volume.path(request.node).readlink()),
            Operation.STATFS: lambda volume, _: wire.statfs(os.statvfs(volume.path(ROOT))),
            Operation.OPENDIR: lambda *_: wire.OPEN_OUT.pack(0, wire.CACHE_FOLDER | wire.KEEP_CACHE, 0),
            Operation.READDIR: self._list,
            Operation.RELEASEDIR: lambda *_: b"",
            Operation.OPEN: self._open,
            Operation.READ: self._read,
            Operation.RELEASE: self._release,
        }

    def run(self, is_to_end: Callable[[], bool], woken: int) -> None:
        """Answer until told to end; `woken` can be read from then. Raises OSError."""
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        for descriptor in self._volumes:
            poll.register(descriptor, select.POLLIN)
        tick_at = time.monotonic() + TICK_S
        while not is_to_end():
            for descriptor, events in poll.poll(1000 * max(0.0, tick_at - time.monotonic())):
                volume = self._volumes.get(descriptor)
                if volume is not None and (events & ~select.POLLIN or not self._serve(volume)):
                    poll.unregister(descriptor)  # unmounted: its readers are refused by the kernel
                    del self._volumes[descriptor]
            if time.monotonic() >= tick_at:
                self._openings.write_parts()
                tick_at = time.monotonic() + TICK_S
        self._openings.give_up()

    def _serve(self, volume: Volume) -> bool:
        """Answer one request; return whether the file system is still mounted."""
        try:
            request = wire.take(volume.descriptor)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        if request is None or request.operation in wire.UNANSWERED:
            return True
        act = self._answers.get(request.operation)
        if act is None:  # the kernel then does without, and mostly asks no more
            wire.refuse(volume.descriptor, request, errno.ENOSYS)
            return True
        try:
            made = act(volume, request)
        except OSError as error:
            wire.refuse(volume.descriptor, request, error.errno or errno.EIO)
        else:
            wire.answer(volume.descriptor, request, made)
        return True

    @staticmethod
    def _lookup(volume: Volume, request: Request) -> bytes:
        status = volume.find(request.node, request.body.rstrip(b"\0"))
        return wire.entry(status.st_ino, status)

    @staticmethod
    def _list(volume: Volume, request: Request) -> bytes:
        _, offset, size, *_ = wire.READ_IN.unpack_from(request.body)
        entries, room = [], size
        for number, (inode, name, kind) in enumerate(volume.listed(request.node)[offset:], offset + 1):
            made = wire.folder_entry(inode, number, name, kind)
            room -= len(made)
            if room < 0:
                break
            entries.append(made)
        return b"".join(entries)

    def _open(self, volume: Volume, request: Request) -> bytes:
        flags, _ = wire.FLAGS_IN.unpack_from(request.body)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        status = volume.status(request.node)
        reader = self._readers.of(request.pid, request.uid)
        handle = self._openings.open((volume.device, status.st_ino), status.st_size, reader)
        try:
            volume.content(request.node, handle)
        except OSError:
            self._openings.close(handle)
            raise
        kept = wire.KEEP_CACHE if self._openings.is_cached(status.st_size) else wire.DIRECT_IO
        return wire.OPEN_OUT.pack(handle, kept | wire.NO_FLUSH, 0)

    def _read(self, volume: Volume, request: Request) -> memoryview:
        handle, offset, size, flags, *_ = wire.READ_IN.unpack_from(request.body)
        descriptor = volume.content(request.node, handle)
        status = os.fstat(descriptor)
        file = (volume.device, status.st_ino)
        reader = self._readers.of(request.pid, request.uid)
        if flags & wire.FROM_READ_CALL:
            self._openings.read(handle, file, status.st_size, reader, offset=offset, length=size)
        else:
            self._openings.fill_cache(handle, file, status.st_size, reader)
        if size > len(self._buffer):
            self._buffer = memoryview(bytearray(size))
        return self._buffer[: os.preadv(descriptor, [self._buffer[:size]], offset)]

    def _release(self, volume: Volume, request: Request) -> bytes:
        handle, *_ = wire.RELEASE_IN.unpack_from(request.body)
        volume.let_go(request.node, handle)
        self._openings.close(handle)
        return b""


def main(words: list[str]) -> int:
    """Serve until SIGTERM; return 0, or 1 when there is nobody to serve for."""
    spool_fd, parent, most_segments = (int(word) for word in words[:3])
    granularity = Granularity(words[3])
    is_told: list[int] = []
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda number, _: is_told.append(number))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # one server at a time
    if os.getppid() != parent:
        return 1
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each file that is open takes one
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    volumes = [Volume(int(fd), Path(folder)) for fd, _, folder in (word.partition("=") for word in words[4:])]
    spool = SpoolWriter(spool_fd, most_segments)
    now = time.time_ns()
    spool.add(Frame(FrameKind.STARTED, 0, 0, 0, 0, now, os.getpid(), 0, 0, 0, (), ""))
    spool.flush()
    # Ids stay unique over servers: the time in nanoseconds is later than any id counted from an earlier one.
    openings = Openings(spool, now, tells_ranges=granularity is Granularity.RANGES)
    Server(volumes, openings, Readers()).run(lambda: bool(is_told), woken)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
