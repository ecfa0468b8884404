"""Files and locks of the local place, as its build runner and launcher keep them on the disk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

READ_BLOCK = 64 * 1024


def is_held(lock: Path) -> bool:
    """Return whether a process holds the lock. A lock file keeps its dead pid: only the held flock means alive.

    Looking takes the lock shared for some microseconds; who wants it for good tries again (see launcher, builder).
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def take(lock: Path) -> int | None:
    """Return a descriptor that holds the lock alone, or None when another process holds it. Raises OSError."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Only a look, which holds it shared? Then wait for the look to end; else it is taken.
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        else:
            return descriptor


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of mode 0600: to a temporary name, flushed to the disk, then renamed. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{id(content)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_lines(path: Path, offset: int, limit: int) -> tuple[tuple[bytes, ...], int]:
    """Return up to `limit` whole lines of the file from byte `offset`, and the next offset.

    A file shorter than `offset` was begun anew and is read from its start. A line that is not finished yet waits for
    the next call. No file: no lines.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            position = file.seek(offset if 0 <= offset <= size else 0)
            lines: list[bytes] = []
            for line in file:
                if not line.endswith(b"\n") or len(lines) >= limit:
                    break
                lines.append(line[:-1])
                position += len(line)
            return tuple(lines), position
    except FileNotFoundError:
        return (), 0


def tail_offset(path: Path, lines: int) -> int:
    """Return the byte offset at which the file's last `lines` whole lines begin; 0 when it has fewer or is not there.

    The file is read backwards in blocks, so a long log costs no more than a short one.
    """
    if lines <= 0:
        return path.stat().st_size if path.is_file() else 0
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            seen = 0
            while position > 0:
                block = min(READ_BLOCK, position)
                position -= block
                file.seek(position)
                data = file.read(block)
                end = len(data)
                while (end := data.rfind(b"\n", 0, end)) >= 0:
                    seen += 1
                    if seen > lines:
                        return position + end + 1
    except FileNotFoundError:
        pass
    return 0


def printable(line: bytes) -> str:
    """Return a line as text without what would move a terminal's cursor: programs inside an instance write it."""
    text = line.decode("utf-8", "replace").replace("\t", "    ")
    return text if text.isprintable() else "".join(character for character in text if character.isprintable())
