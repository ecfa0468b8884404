"""A backup: one tar file (mode 0600) whose last member, `manifest.json`, says what the others must be.

    nightingale.db   audit/…   platform.json            always
    secrets/…  gateway/…  demo/…                        --with-secrets
    homes/<instance_id>/…                               --with-homes

The manifest comes last so that everything is read once, and so that an archive that was cut short has none.
Symbolic links stand in the manifest, not among the members: people's homes may point anywhere, and whoever unpacks an
archive must never be led through one.
"""

from __future__ import annotations

import hashlib
import os
import re
from datetime import datetime
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

FORMAT = 1
MANIFEST = "manifest.json"
STORE = "nightingale.db"
AUDIT = "audit"
SETTINGS = "platform.json"
SECRET_PARTS = ("secrets", "gateway", "demo")
HOMES = "homes"
INSTANCE_ID = re.compile(r"i-[a-z0-9]{10}")
MOST_MANIFEST_BYTES = 1 << 30
"""Some 150 bytes a file: seven million files. A member that claims more is not read into memory."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds; `files` and `links` by path relative to the data folder, as `quoted` writes it."""

    format: int
    made_at: datetime
    parts: tuple[str, ...]
    files: dict[str, FileEntry]
    links: dict[str, str]


def quoted(name: str) -> str:
    """Return a path as JSON can hold it: a file's name is bytes, and not always text."""
    return quote_from_bytes(os.fsencode(name), safe="/")


def unquoted(text: str) -> str:
    """Return the path that `quoted` wrote."""
    return os.fsdecode(unquote_to_bytes(text))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
