"""The ext4 file system in a home's file: made, mended, grown by e2fsprogs. Only while nobody has it open."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

from nightingale_build.launcher import loop_device
from nightingale_build.launcher.orphans import die_with_launcher

TOOLS_AT = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

JOURNAL_MIB = 16
LEAST_ROOM = 2 * JOURNAL_MIB << 20
"""What the disk must have free to make or open one: its journal is played, and that writes."""

_SUPERBLOCK, _STATE_AT, _INCOMPATIBLE_AT = 1024, 0x3A, 0x60
_HAS_ERRORS, _JOURNAL_WAITS = 2, 4
"""Of ext4's superblock: the kernel's Documentation/filesystems/ext4/super.rst."""


def why_none() -> str:
    """Return why no file system can be made for a home here, or an empty text."""
    missing = [tool for tool in ("mkfs.ext4", "e2fsck", "resize2fs") if shutil.which(tool, path=TOOLS_AT) is None]
    if missing:
        return f"{', '.join(missing)} is not installed (Debian, Ubuntu: apt install e2fsprogs)."
    return loop_device.why_not()


def require_room(folder: Path) -> None:
    """Refuse to make or open one on a full disk, which would damage it: OSError (ENOSPC)."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < LEAST_ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def make(path: Path, size: int, uid: int) -> None:
    """Make an empty one of `size` bytes: nothing reserved, its tables written when they are first used."""
    _make_sparse(path, size)
    owner = f"lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner={uid}:{uid}"
    # A growing one is copied and rebuilt: blocks kept for growing in place would be of no use.
    _tool(
        "mkfs.ext4", "-q", "-F", "-m", "0", "-J", f"size={JOURNAL_MIB}", "-O", "^resize_inode", "-E", owner, str(path)
    )


def mend(path: Path) -> bool:
    """Check one that was not written to its end, as when the disk under it was full; return whether it was damaged.

    What was being written just then may be lost; what has lost its name only is in `lost+found`. Somebody else who has
    it open right now, a backup say, saw to it when they opened it. Raises OSError.
    """
    if not _was_left_open(path):
        return False
    try:
        with loop_device.unattached(path, 0):
            try:
                _tool("e2fsck", "-p", str(path), well={0, 1})
            except OSError:
                _tool("e2fsck", "-y", str(path), well={0, 1})
                return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    return False


def grow(path: Path, size: int) -> None:
    """Make one larger. Not safe against a kill: grow a copy. Raises OSError."""
    os.truncate(path, size)
    _tool("e2fsck", "-f", "-p", str(path), well={0, 1})
    _tool("resize2fs", str(path))


def _was_left_open(path: Path) -> bool:
    """Return whether it was not closed well: its journal waits, or the kernel noted an error."""
    with path.open("rb") as file:
        file.seek(_SUPERBLOCK)
        block = file.read(1024)
    (state,) = struct.unpack_from("<H", block, _STATE_AT)
    (features,) = struct.unpack_from("<I", block, _INCOMPATIBLE_AT)
    return bool(state & _HAS_ERRORS or features & _JOURNAL_WAITS)


def _make_sparse(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(descriptor, size)
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Have what was written to a file or folder on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tool(tool: str, *arguments: str, well: frozenset[int] | set[int] = frozenset({0})) -> None:
    run([shutil.which(tool, path=TOOLS_AT) or tool, *arguments], well)


def run(command: list[str], well: frozenset[int] | set[int] = frozenset({0})) -> None:
    """Run it; raises OSError with its last line: ENOSPC where the disk is full."""
    done = subprocess.run([*die_with_launcher(), *command], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in well:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        words = said[-1] if said else f"exit status {done.returncode}"
        number = errno.ENOSPC if os.strerror(errno.ENOSPC) in words else errno.EIO
        raise OSError(number, f"{Path(command[0]).name}: {words}", command[-1])
