"""Mounts that end with the processes that see them, by the kernel's own calls: no helper program, no traces outside."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV = 2, 4
_MS_PRIVATE_RECURSIVE = (1 << 18) | (1 << 14)


def leave_the_machines_mounts() -> None:
    """Leave the machine's mount namespace for one of our own, from which nothing spreads. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNS) != 0 or library.mount(None, b"/", None, _MS_PRIVATE_RECURSIVE, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no mount namespace of its own could be made: {os.strerror(number)}")


def mount_ext4(device: str, target: Path) -> None:
    """Mount `device` at the folder `target`; freed space is given back, a damaged one turns read-only.

    Raises OSError.
    """
    library = ctypes.CDLL(None, use_errno=True)
    flags = _MS_NOSUID | _MS_NODEV
    if library.mount(device.encode(), os.fsencode(target), b"ext4", flags, b"discard,errors=remount-ro") != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{device} could not be mounted: {os.strerror(number)}", str(target))


def unmount(target: Path) -> None:
    """Unmount what is mounted at `target`, once it is written. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.umount2(os.fsencode(target), 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
