"""Files as they lie in a folder: unzipped by what they are, not by what they are called; nothing in them raises."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nightingale_findings.sources.set_aside import Asides

_CHUNK = 1 << 18
_FREE = 16 << 20
"""Bytes that any file may unzip to, however small it is: a log that says one thing a thousand times is no bomb."""
_GZIP = b"\x1f\x8b"
_ARCHIVES = {b"PK\x03\x04": "a zip archive", b"PAR1": "a Parquet file", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}
_TAR_AT = 257
_NO_LOGS = frozenset({".md", ".yml", ".yaml", ".py", ".png", ".svg", ".tf", ".html", ".rst", ".toml", ".sh"})


@dataclass
class Unpacking:
    """How much the files of one load may hold, unpacked, and which of them held more or were left for the next."""

    most: int = 8 << 30
    """Bytes that one file may unzip to: a bomb ends there."""
    ratio: int | None = None
    """How many times its own size a file may unzip to, beyond a little that any may."""
    total: int | None = None
    """Bytes after which no further file is begun."""
    read: int = 0
    over: list[tuple[Path, str]] = field(default_factory=list)
    """Files of which the rest was left out, and why."""
    left: set[Path] = field(default_factory=set)
    """Files that were not begun."""

    def begins(self, path: Path) -> bool:
        """Return whether there is room for another file; one for which there is none is noted."""
        if self.total is not None and self.read >= self.total:
            self.left.add(path)
            return False
        return True

    def bound(self, size: int) -> tuple[int, str]:
        """Return how many bytes a file of this size may unzip to, and what to say of one that has more."""
        if self.ratio is not None and (by_ratio := max(_FREE, self.ratio * size)) < self.most:
            return by_ratio, f"unzips to more than {self.ratio} times its size and {_FREE >> 20} MiB"
        amount = f"{self.most >> 30} GiB" if self.most >= 1 << 30 else f"{self.most >> 20} MiB"
        return self.most, f"unzips to more than {amount}"


def files_under(
    paths: Iterable[Path], asides: Asides, failed: Callable[[OSError], None] | None = None
) -> Iterator[Path]:
    """Yield every plain file of `paths`, folders with all that is below, in order of name.

    Hidden names, links to folders and what is no plain file (a pipe would never end) are left out; a path that is not
    there is set aside. A folder that cannot be read is left out, and `failed` is told of it.
    """
    for path in paths:
        if path.is_dir():
            for folder, below, names in os.walk(path, onerror=failed):
                below[:] = sorted(name for name in below if not name.startswith("."))
                yield from (
                    file
                    for name in sorted(names)
                    if not name.startswith(".") and (file := Path(folder, name)).suffix.lower() not in _NO_LOGS
                    if file.is_file()
                )
        elif path.is_file():
            yield path
        else:
            asides.add(str(path), None, "there is no such file or folder")


def chunks_of(path: Path, asides: Asides, unpacking: Unpacking | None = None) -> Iterator[bytes]:
    """Yield the file's bytes, unzipped where they are gzip (several members too).

    What breaks off is set aside, and the rest of a file that unzips to more than it may.
    """
    unpacking = unpacking or Unpacking()
    for chunk in _chunks(path, asides, unpacking):
        unpacking.read += len(chunk)
        yield chunk


def _chunks(path: Path, asides: Asides, unpacking: Unpacking) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            first = file.read(_CHUNK)
            kind = next((words for magic, words in _ARCHIVES.items() if first.startswith(magic)), None)
            if kind is not None:
                asides.add(str(path), None, f"{kind}: unpack it first")
            elif first.startswith(_GZIP):
                yield from _unzipped(path, first, iter(lambda: file.read(_CHUNK), b""), asides, unpacking)
            else:
                while first:
                    yield first
                    first = file.read(_CHUNK)
    except OSError as error:
        asides.add(str(path), None, f"cannot be read: {error.strerror or error}")


def _unzipped(path: Path, first: bytes, rest: Iterator[bytes], asides: Asides, unpacking: Unpacking) -> Iterator[bytes]:
    name, (most, why) = str(path), unpacking.bound(path.stat().st_size)
    member, data, total = zlib.decompressobj(31), first, 0
    while True:
        try:
            out = member.decompress(data, _CHUNK)
        except zlib.error:
            asides.add(name, None, "its gzip is broken; what came before that is read")
            return
        if out:
            if total == 0 and out[_TAR_AT : _TAR_AT + 5] == b"ustar":
                asides.add(name, None, "a tar archive: unpack it first")
                return
            total += len(out)
            if total > most:
                asides.add(name, None, f"{why}; the rest is left out")
                unpacking.over.append((path, why))
                return
            yield out
        data = member.unconsumed_tail or member.unused_data or (b"" if out and not member.eof else next(rest, b""))
        if member.eof:
            data = data.lstrip(b"\0") or next(rest, b"").lstrip(b"\0")
            if not data:
                return
            member = zlib.decompressobj(31)
        elif not data and not out:
            asides.add(name, None, "its gzip breaks off; what came before that is read")
            return
