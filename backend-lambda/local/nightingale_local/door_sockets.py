"""Sockets of the platform in the run folders of instances, which belong to owners who may be hostile."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import stat
from pathlib import Path

INSTANCE_ID = re.compile(r"i-[a-z0-9]{10}")

QUEUE = 16
"""Connections that wait to be let in."""


def announced(folder: Path) -> dict[str, int]:
    """Return when each instance that is up was started last, as its announcement's time in nanoseconds."""
    found = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if INSTANCE_ID.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_mtime_ns
    return found


def bind(folder: Path, name: str) -> tuple[socket.socket, tuple[int, int]]:
    """Return a listening socket `name` in the run folder of an instance, and what it is known by. Raises OSError.

    It is bound in the instance's own folder, where nobody else may go, and renamed from there: no link is followed.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    outer = os.open(folder, flags)
    try:
        run = os.open("run", flags, dir_fd=outer)
        try:
            owner = os.fstat(run)
            path = folder / name
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            try:
                listener.bind(str(path))
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
                if os.geteuid() == 0:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
                made = path.lstat()
                listener.listen(QUEUE)
                listener.settimeout(0.0)
                os.rename(name, name, src_dir_fd=outer, dst_dir_fd=run)
            except OSError:
                listener.close()
                raise
            return listener, (made.st_dev, made.st_ino)
        finally:
            os.close(run)
    finally:
        os.close(outer)


def allow_many_descriptors() -> None:
    """Let this process have as many open sockets as the system lets it: it holds one for each instance."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
