"""Drift: files of an image that are not what was installed.

A package's RECORD says what its files were. What no RECORD tells of (the standard library, compiled modules, the
environment's own files) is remembered when it is first seen. A quick check reads only files whose time, size or inode
is another than when they were last read; a full one reads them all, no faster than it is told.

Compiled modules that appear later are none: Python writes them. Of each, the code counts and not its header, which
holds the time of its source.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nightingale.contract.images import MOST_TOLD, Drift, DriftedFile, ImageCheck, ImageCheckSpec
from nightingale_build.launcher.image_digest import cache_file, image_digest, records_of
from nightingale_build.launcher.sandbox import environment_folders
from nightingale_build.wall_time import now
from nightingale_build.whole_files import write_whole

RECORD, FIRST_SEEN = "RECORD", "first seen"

_PIECE = 1 << 20
_HEADER_OF_COMPILED = 16
"""PEP 552: magic number, flags, time and size of the source."""

Stamp = tuple[int, int, int, int]


class _File(msgspec.Struct, array_like=True):
    """What is remembered of a file; `expected` is empty for one that came later."""

    stamp: Stamp
    expected: str
    seen: str
    source: str


class _Manifest(msgspec.Struct):
    """`images/<key>.files.json`: of the environment with this digest."""

    digest: str
    files: dict[str, _File]


class Check:
    """One look at an image."""

    def __init__(self, spec: ImageCheckSpec) -> None:
        """Take what to look at and how."""
        self._spec = spec
        self._python = Path(spec.python)
        self._data = Path(spec.data_dir)
        self._began = time.monotonic()
        self._read = 0

    def run(self) -> ImageCheck:
        """Look, remember, and return what was seen. Raises OSError."""
        kept = cache_file(self._data, self._python, ".files.json")
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        with cache_file(self._data, self._python, ".lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            digest = image_digest(self._python, self._data)
            before = _load(kept, digest)
            files = dict(self._look(before))
            write_whole(kept, msgspec.json.encode(_Manifest(digest, files)))
        drift = sorted(_drifted(files), key=lambda one: one.path)
        return ImageCheck(
            digest=digest,
            checked_at=now(),
            is_full=self._spec.is_full or before is None,
            files=len(files),
            bytes_read=self._read,
            drifted=len(drift),
            drift=tuple(drift[:MOST_TOLD]),
        )

    def _look(self, before: dict[str, _File] | None) -> Iterator[tuple[str, _File]]:
        expected = _recorded(self._python) if before is None else {}
        left = set(before if before is not None else expected)
        for path, seen in _walk(places_of(self._python)):
            left.discard(path)
            known = before.get(path) if before is not None else None
            stamp = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino)
            if known is not None and known.stamp == stamp and not self._spec.is_full:
                yield path, known
                continue
            try:
                digest = self._digest(path, seen)
            except FileNotFoundError:  # gone while we looked
                continue
            if known is not None:
                yield path, _File(stamp, known.expected, digest, known.source)
            elif path in expected:
                yield path, _File(stamp, expected[path], digest, RECORD)
            elif before is None or _is_compiled(path):
                yield path, _File(stamp, digest, digest, FIRST_SEEN)
            else:
                yield path, _File(stamp, "", digest, FIRST_SEEN)
        for path in left:
            known = before[path] if before is not None else _File((0, 0, 0, 0), expected[path], "", RECORD)
            if known.expected and not _is_compiled(path):
                yield path, _File((0, 0, 0, 0), known.expected, "", known.source)

    def _digest(self, path: str, seen: os.stat_result) -> str:
        if stat.S_ISLNK(seen.st_mode):
            return hashlib.sha256(b"link to " + os.fsencode(Path(path).readlink())).hexdigest()
        digest = hashlib.sha256()
        with Path(path).open("rb", buffering=0) as file:
            if _is_compiled(path):
                file.seek(_HEADER_OF_COMPILED)
            while piece := file.read(_PIECE):
                digest.update(piece)
                self._read += len(piece)
                self._slow_down()
        return digest.hexdigest()

    def _slow_down(self) -> None:
        if self._spec.mib_per_s > 0:
            due = self._began + self._read / (self._spec.mib_per_s * _PIECE)
            if (ahead := due - time.monotonic()) > 0:
                time.sleep(ahead)


def places_of(python: Path) -> list[Path]:
    """Return the folders that make up the image with this interpreter: its environment, and its standard library."""
    real = python.resolve()
    libraries = sorted(real.parent.parent.glob("lib/python3.*/os.py"))
    environment = environment_folders(python)
    version = real.name.removeprefix("python")
    return [
        *environment,
        *(
            path.parent
            for path in libraries
            if path.parent.name.endswith(version) and not any(path.is_relative_to(folder) for folder in environment)
        ),
    ]


def _load(kept: Path, digest: str) -> dict[str, _File] | None:
    """Return what is remembered; None where that is nothing, or of another state of the environment."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        manifest = msgspec.json.decode(kept.read_bytes(), type=_Manifest)
        if manifest.digest == digest:
            return manifest.files
    return None


def _recorded(python: Path) -> dict[str, str]:
    """Return the SHA-256 in hex of every file that a RECORD tells of."""
    found = {}
    for record in records_of(python):
        with contextlib.suppress(FileNotFoundError), record.open(encoding="utf-8", newline="") as file:
            for name, digest, *_ in csv.reader(file):
                method, _, value = digest.partition("=")
                if method == "sha256":
                    path = os.path.normpath(record.parent.parent / name)
                    found[path] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    return found


def _walk(folders: list[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every file and link once; none is followed."""
    rest, gone = [str(folder) for folder in folders], set[str]()
    while rest:
        folder = rest.pop()
        if folder in gone:
            continue
        gone.add(folder)
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    rest.append(entry.path)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.path, entry.stat(follow_symlinks=False)


def _is_compiled(path: str) -> bool:
    return path.endswith(".pyc") and "/__pycache__/" in path


def _drifted(files: dict[str, _File]) -> Iterator[DriftedFile]:
    for path, file in files.items():
        if file.seen != file.expected:
            drift = Drift.CHANGED if file.expected and file.seen else Drift.MISSING if file.expected else Drift.ADDED
            yield DriftedFile(path=path, drift=drift, expected=file.expected, seen=file.seen, expected_from=file.source)
