"""An audit stream's files: which there are, where a number stands in them, how the last one ends; and writing them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from nightingale.adapters.audit_records import from_line

SUFFIX = ".jsonl"
_BLOCK = 65_536


def torn_end(path: Path) -> bytes:
    """Return what stands behind the file's last newline."""
    with open_file(path) as file:
        return b"".join(reversed(list(_tail(file, lines=1))))


def last_line(path: Path) -> bytes | None:
    """Return the file's last whole line, None when it has none."""
    with open_file(path) as file:
        tail = b"".join(reversed(list(_tail(file, lines=2))))
    whole = tail[: tail.rfind(b"\n") + 1]
    return whole or None


def _tail(file: BinaryIO, lines: int) -> Iterator[bytes]:
    """Yield the file's end from back to front in pieces, up to and without the `lines`-th newline from the end."""
    position = file.seek(0, os.SEEK_END)
    while position > 0:
        size = min(_BLOCK, position)
        position = file.seek(position - size)
        piece = file.read(size)
        at = len(piece)
        while lines and (at := piece.rfind(b"\n", 0, at)) >= 0:
            lines -= 1
        if lines == 0:
            yield piece[at + 1 :]
            return
        yield piece


def list_files(folder: Path) -> list[Path]:
    """Return the stream's files, oldest first."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(SUFFIX)]  # noqa: PTH208 - a year has 8,760 hours: names are quicker than paths
    except FileNotFoundError:
        return []


def files_after(folder: Path, after: int) -> list[Path]:
    """Return the files that can hold records above `after`."""
    files = list_files(folder)
    low, high = 0, len(files)
    while low < high:  # the first file that begins above `after`; the one before it may hold some too
        middle = (low + high) // 2
        with open_file(files[middle]) as file:
            line = next(whole_lines(file), None)
        if line is not None and from_line(line).seq <= after:
            low = middle + 1
        else:
            high = middle
    return files[max(0, low - 1) :]


def seek_after(file: BinaryIO, after: int) -> None:
    """Move to the start of a line shortly before the first record above `after`."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _BLOCK:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()  # the rest of the line in the middle
        start = file.tell()
        line = file.readline()
        if line.endswith(b"\n") and from_line(line).seq <= after:
            low = start
        else:
            high = middle
    file.seek(low)


def whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines; one without its end is still being written, or torn."""
    return (line for line in file if line.endswith(b"\n"))


def open_file(path: Path) -> BinaryIO:
    """Return the file, open for reading; a symbolic link is refused with OSError."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def write_lines(path: Path, lines: bytes) -> None:
    """Append to the file and flush it, or leave it as it was. Raises OSError."""
    is_new = not path.exists()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
            if is_new:
                _flush_folder(path.parent)
        except OSError:
            with suppress(OSError):  # the first error is the one to tell; what stays is a torn line, repaired later
                os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)


def make_private(folder: Path) -> None:
    """Make the folder, mode 0700, and make sure that it is on the disk. Raises OSError."""
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
