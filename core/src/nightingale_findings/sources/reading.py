"""Files as they lie in a folder: unzipped by what they are, not by what they are called; nothing in them raises."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nightingale_findings.sources.set_aside import Asides

_CHUNK = 1 << 18
_MOST_UNZIPPED = 8 << 30
"""What one file may unzip to, in bytes: a bomb ends there."""
_GZIP = b"\x1f\x8b"
_ARCHIVES = {b"PK\x03\x04": "a zip archive", b"PAR1": "a Parquet file", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}
_TAR_AT = 257
_NO_LOGS = frozenset({".md", ".yml", ".yaml", ".py", ".png", ".svg", ".tf", ".html", ".rst", ".toml", ".sh"})


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


def chunks_of(path: Path, asides: Asides) -> Iterator[bytes]:
    """Yield the file's bytes, unzipped where they are gzip (several members too); what breaks off is set aside."""
    try:
        with path.open("rb") as file:
            first = file.read(_CHUNK)
            kind = next((words for magic, words in _ARCHIVES.items() if first.startswith(magic)), None)
            if kind is not None:
                asides.add(str(path), None, f"{kind}: unpack it first")
            elif first.startswith(_GZIP):
                yield from _unzipped(str(path), first, iter(lambda: file.read(_CHUNK), b""), asides)
            else:
                while first:
                    yield first
                    first = file.read(_CHUNK)
    except OSError as error:
        asides.add(str(path), None, f"cannot be read: {error.strerror or error}")


def _unzipped(name: str, first: bytes, rest: Iterator[bytes], asides: Asides) -> Iterator[bytes]:
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
            if total > _MOST_UNZIPPED:
                asides.add(name, None, "unzips to more than 8 GiB; the rest is left out")
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
