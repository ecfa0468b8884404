"""The audit log: facts, sealed in a hash chain per stream, appended and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

PLATFORM_STREAM = "platform"


@dataclass(frozen=True)
class AuditEvent:
    """A fact before it is sealed. `detail` holds text only and never a secret or a file's content."""

    stream: str
    at: datetime
    tag: str
    actor: str
    subject: str
    detail: Mapping[str, str]


@dataclass(frozen=True)
class SealedEvent:
    """A fact with its number (from 1), the hash of the record before, and its own."""

    event: AuditEvent
    seq: int
    prev: str
    hash: str


class AuditLogUnavailableError(Exception):
    """The fact could not be kept; what it records must not happen. Say why in words."""


class AuditLogMovedError(Exception):
    """The stream does not end where the writer thought: another wrote meanwhile, and nothing was kept."""


class AuditLog(Protocol):
    """Append and read."""

    def append(self, event: AuditEvent) -> SealedEvent:
        """Keep the fact for good before returning. Raises AuditLogUnavailableError."""

    def append_all(self, events: Sequence[AuditEvent], after: int | None = None) -> tuple[SealedEvent, ...]:
        """Keep up to 500 facts of one stream, all or none; with `after`, only right behind the record of that number.

        Raises AuditLogUnavailableError, AuditLogMovedError.
        """

    def head(self, stream: str) -> int:
        """Return the number of the stream's last record, 0 for none. Raises AuditLogUnavailableError."""

    def read(self, stream: str, after: int, limit: int) -> tuple[SealedEvent, ...]:
        """Return up to `limit` facts with a number above `after`, in order."""

    def verify(self, stream: str) -> int | None:
        """Return the number of the first missing, changed or reordered record, or None when the chain holds."""
