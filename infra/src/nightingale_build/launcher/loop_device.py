"""Loop devices: a file as a disk. One file has one device at most, and it goes with whoever used it last.

The device is bound and told to go by itself (autoclear) in one call of the kernel, so that no kill in between leaves
one behind. The lock that says "this file has a device" is taken on the very descriptor that the kernel then keeps, so
it lasts as long as the device does, whoever dies. Two devices for one file would be two file systems writing into it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

CONTROL = Path("/dev/loop-control")
DEVICES = Path("/sys/block")

_LOOP_CONFIGURE, _LOOP_GET_STATUS64, _LOOP_CTL_GET_FREE = 0x4C0A, 0x4C05, 0x4C82
_AUTOCLEAR = 4
_INFO_SIZE, _FLAGS_AT = 232, 52
"""Of struct loop_info64 in linux/loop.h; its first two fields are the file's device and inode."""


def why_not() -> str:
    """Return why no loop device can be had here, or an empty text."""
    try:
        with _opened(str(CONTROL), os.O_RDWR) as control:
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
        with _opened(f"/dev/loop{number}", os.O_RDWR):
            return ""
    except OSError as error:
        return f"This system gives the platform no loop devices ({error.strerror})."


@contextlib.contextmanager
def attached(image: Path, patience_s: float) -> Iterator[str]:
    """Yield the path of the device of `image`, to be mounted before this is left: unmounted ones go. Raises OSError.

    The device that somebody has bound to the file already is taken as it is: whoever mounts it gets the same file
    system as they. `patience_s` is how long to wait while somebody else is just binding or letting go of one.
    """
    deadline = time.monotonic() + patience_s
    while True:
        found = _bind(image) or _find(image)
        if found is not None:
            break
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "it is in use, and by no loop device that could be found", str(image))
        time.sleep(0.005)
    descriptor, path = found
    try:
        yield path
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def unattached(image: Path, patience_s: float) -> Iterator[None]:
    """Within this nobody has a device for `image`. Raises OSError (EBUSY) when somebody keeps one for `patience_s`."""
    deadline = time.monotonic() + patience_s
    with _opened(str(image), os.O_RDWR | os.O_NOFOLLOW) as file:
        while not _lock(file):
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, "it is still in use", str(image))
            time.sleep(0.005)
        yield


def _bind(image: Path) -> tuple[int, str] | None:
    """Return a new device of the file, opened, or None when there is one already or another took ours."""
    with _opened(str(image), os.O_RDWR | os.O_NOFOLLOW) as file:
        if not _lock(file):
            return None
        with _opened(str(CONTROL), os.O_RDWR) as control:
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
        device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        info = bytearray(_INFO_SIZE)
        struct.pack_into("=I", info, _FLAGS_AT, _AUTOCLEAR)
        try:
            fcntl.ioctl(device, _LOOP_CONFIGURE, struct.pack("=II", file, 0) + bytes(info) + bytes(64))
        except OSError as error:
            os.close(device)
            if error.errno == errno.EBUSY:  # somebody was quicker with this free one
                return None
            raise
        return device, path


def _find(image: Path) -> tuple[int, str] | None:
    """Return the device that the file has, opened, so that it stays; None when it has none now."""
    wanted = image.stat()
    for bound in DEVICES.glob("loop*/loop"):
        path = f"/dev/{bound.parent.name}"
        with contextlib.suppress(OSError):
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            info = bytearray(_INFO_SIZE)
            try:
                fcntl.ioctl(device, _LOOP_GET_STATUS64, info)
            except OSError:  # it went away meanwhile
                os.close(device)
                continue
            if struct.unpack_from("=QQ", info) == (wanted.st_dev, wanted.st_ino):
                return device, path
            os.close(device)
    return None


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
