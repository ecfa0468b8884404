"""One-time codes: a file named by the code's hash, taken once.

The platform writes `run/codes/<sha256 of the code, hex>` with the time of expiry inside and hands the code to the
person's browser. Whoever renames the file first has taken the code; a rename is atomic, so two cannot.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

MAX_CODE_CHARACTERS = 512
_MAX_FILE_BYTES = 64  # an ISO time is half of that


class CodeOutcome(StrEnum):
    """What became of a code."""

    TAKEN = "taken"
    UNKNOWN = "unknown"  # never written, or used before: the two look the same on purpose
    EXPIRED = "expired"


def code_file(folder: Path, code: str) -> Path:
    """Return where the code's file lies. The code itself is in no file name: only its SHA-256."""
    return folder / hashlib.sha256(code.encode()).hexdigest()


def take_code(folder: Path, code: str, now: datetime) -> CodeOutcome:
    """Use up `code` and return what it was worth at `now` (aware). Only one caller ever gets TAKEN.

    A file whose content is no aware ISO time counts as expired: it is used up and opens nothing.
    """
    if not code or len(code) > MAX_CODE_CHARACTERS:
        return CodeOutcome.UNKNOWN
    mine = folder / f".taken-{secrets.token_hex(8)}"
    try:
        code_file(folder, code).rename(mine)
    except OSError:
        return CodeOutcome.UNKNOWN
    try:
        expires_at = _read_expiry(mine)
    finally:
        mine.unlink(missing_ok=True)
    if expires_at is None or now >= expires_at:
        return CodeOutcome.EXPIRED
    return CodeOutcome.TAKEN


def _read_expiry(path: Path) -> datetime | None:
    """Return the aware time in `path`, or None. A link is not followed: the file was written by the platform."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            expires_at = datetime.fromisoformat(file.read(_MAX_FILE_BYTES).decode("ascii").strip())
        except (OSError, ValueError):
            return None
    return expires_at.astimezone(UTC) if expires_at.tzinfo else None
