"""What an image is, in one line: a digest over what is installed in its environment.

Every installed package has a RECORD (PEP 376, PEP 427) with the SHA-256 of each of its files. The digest is over those,
and over the interpreter. What only tells how and when something was installed does not count, so two environments made
of the same lock file at the same path have the same digest. Whether the files still are what RECORD says is another
question, see `drift`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nightingale.contract.images import image_key
from nightingale_build.whole_files import write_whole

NOT_CONTENT = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD")
"""Files of a .dist-info folder that tell of the installing."""


class _Known(msgspec.Struct, frozen=True):
    """`images/<name>.json`: the digest of the environment as long as its stamp is this."""

    stamp: str
    digest: str


def cache_file(data_dir: Path, python: Path, suffix: str = ".json") -> Path:
    """Return where the platform keeps what it knows of the image with this interpreter."""
    return data_dir / "images" / f"{image_key(str(python))}{suffix}"


def image_digest(python: Path, data_dir: Path) -> str:
    """Return `sha256:` and the digest of the image with this interpreter; some 2 ms once known. Raises OSError."""
    records = sorted(records_of(python))
    interpreters = _interpreters(python)
    stamp = _stamp([*records, *interpreters])
    cached = cache_file(data_dir, python)
    with contextlib.suppress(OSError, msgspec.DecodeError):
        known = msgspec.json.decode(cached.read_bytes(), type=_Known)
        if known.stamp == stamp:
            return known.digest
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.parent.name}\n".encode())
        for line in sorted(_content_lines(record)):
            digest.update(line.encode())
    for path in interpreters:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    found = f"sha256:{digest.hexdigest()}"
    with contextlib.suppress(OSError):  # a full disk costs the next start its time, no more
        cached.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(cached, msgspec.json.encode(_Known(stamp, found)))
    return found


def records_of(python: Path) -> Iterator[Path]:
    """Yield the RECORD of every package in the environment of the interpreter."""
    for packages in (python.parent.parent / "lib").glob("python3*/site-packages"):
        with os.scandir(packages) as entries:
            for entry in entries:
                if entry.name.endswith(".dist-info"):
                    yield Path(entry.path, "RECORD")


def _interpreters(python: Path) -> list[Path]:
    """Return the interpreter itself and its library, where it has one."""
    real = python.resolve()
    return [real, *sorted(path for path in real.parent.parent.glob("lib/libpython3*") if path.is_file())]


def _stamp(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            seen = os.stat(path)  # noqa: PTH116 - Path.stat costs as much again, for some hundred files at each start
        except FileNotFoundError:
            digest.update(f"{path} -\n".encode())
        else:
            digest.update(f"{path} {seen.st_mtime_ns} {seen.st_size} {seen.st_ino}\n".encode())
    return digest.hexdigest()


def _content_lines(record: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):  # an old way of installing writes none
        for line in record.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True):
            folder, _, name = line.split(",")[0].rpartition("/")
            if not (folder.endswith(".dist-info") and name in NOT_CONTENT):
                yield line
