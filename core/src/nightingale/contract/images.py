"""What is known of an image on one machine: whether its files still are what was installed."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from enum import StrEnum

import msgspec

MOST_TOLD = 100
"""Files named in one answer; the number says how many there are."""


class Drift(StrEnum):
    """How a file differs from what was installed."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"


class DriftedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that is not as installed. Hashes are SHA-256 in hex, empty where there is no file."""

    path: str
    drift: Drift
    expected: str
    seen: str
    expected_from: str
    """`RECORD`, which came with the package, or `first seen`: what no package tells of was remembered then."""


class ImageCheck(msgspec.Struct, frozen=True, kw_only=True):
    """`images/<key>.check.json`: the last look at an image's files."""

    digest: str
    checked_at: datetime
    is_full: bool
    """Every file was read; else those whose time, size or inode changed since they were."""
    files: int
    bytes_read: int
    drifted: int
    drift: tuple[DriftedFile, ...] = ()
    """The first MOST_TOLD of them, by path."""


class ImageCheckSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher's `check-image` is told."""

    python: str
    data_dir: str
    is_full: bool = False
    mib_per_s: float = 0.0
    """Read no faster than this; 0 for as fast as the disk gives."""


def image_key(python: str) -> str:
    """Return the name under which the platform keeps what it knows of the image with this interpreter."""
    return hashlib.sha256(os.fsencode(python)).hexdigest()[:16]
