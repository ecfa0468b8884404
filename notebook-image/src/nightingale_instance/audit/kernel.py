"""The kernel's side of watching: a fanotify group, which Python's library has no call for (fanotify(7))."""

from __future__ import annotations

import ctypes
import os
from enum import Enum
from pathlib import Path
from typing import Any

_CLASS_PRE_CONTENT = 0x8
_CLOEXEC = 0x1
_UNLIMITED_QUEUE = 0x10
_UNLIMITED_MARKS = 0x20
_MARK_ADD = 0x1
_MARK_FILESYSTEM = 0x100
_OPEN_PERM = 0x10000
_CLOSE_NOWRITE = 0x10
_PRE_ACCESS = 0x100000
_AT_FDCWD = -100
_O_LARGEFILE = 0o100000


class Granularity(Enum):
    """How much the kernel tells."""

    RANGES = "ranges"
    """It asks before each read, with the range (Linux 6.14 and newer)."""
    OPENS = "opens"
    """It asks when a file is opened; what is read of it is not told."""


class KernelRefusedError(Exception):
    """The kernel lets nothing be watched here. Says why."""


class WatchedFileSystems:
    """A fanotify group: while any duplicate of its descriptor is open, readers of what it marks wait for an answer."""

    def __init__(self, descriptor: int, granularity: Granularity | None = None) -> None:
        """Take the group's descriptor, and what its marks ask for (None: no mark yet)."""
        self.descriptor = descriptor
        self.granularity = granularity

    @classmethod
    def open(cls) -> WatchedFileSystems:
        """Return a group without marks. Raises KernelRefusedError: only root may, and not in every container."""
        flags = _CLASS_PRE_CONTENT | _CLOEXEC | _UNLIMITED_QUEUE | _UNLIMITED_MARKS
        descriptor = call(
            "fanotify_init", ctypes.c_uint(flags), ctypes.c_uint(os.O_RDONLY | os.O_CLOEXEC | _O_LARGEFILE)
        )
        return cls(descriptor)

    def watch(self, folder: Path) -> None:
        """Mark the file system that `folder` lies on, all of it, however it is reached. Raises KernelRefusedError.

        Marked before anything can open a file there: a descriptor opened earlier is not seen. Whether the kernel knows
        questions before each read is found out by asking for them.
        """
        wanted = [Granularity.RANGES, Granularity.OPENS] if self.granularity is None else [self.granularity]
        refused: KernelRefusedError | None = None
        for granularity in wanted:
            mask = _OPEN_PERM | _CLOSE_NOWRITE | (_PRE_ACCESS if granularity is Granularity.RANGES else 0)
            try:
                call(
                    "fanotify_mark",
                    ctypes.c_int(self.descriptor),
                    ctypes.c_uint(_MARK_ADD | _MARK_FILESYSTEM),
                    ctypes.c_uint64(mask),
                    ctypes.c_int(_AT_FDCWD),
                    ctypes.c_char_p(os.fsencode(folder)),
                )
            except KernelRefusedError as error:
                refused = error
            else:
                self.granularity = granularity
                return
        raise refused or KernelRefusedError("nothing was asked of the kernel")


def call(name: str, *arguments: ctypes._SimpleCData[Any]) -> int:
    """Return what a function of the C library returns. Raises KernelRefusedError when it failed."""
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, name, None)
    if function is None:
        raise KernelRefusedError(f"this system's library has no {name}: reads can be watched on Linux only")
    result = int(function(*arguments))
    if result < 0:
        raise KernelRefusedError(f"the kernel refused {name}: {os.strerror(ctypes.get_errno())}")
    return result
