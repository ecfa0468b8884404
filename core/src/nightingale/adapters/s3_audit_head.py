"""Where an audit stream in S3 stands, and what an object or a line makes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nightingale.adapters.audit_records import DamagedRecordError, from_line, holds
from nightingale.adapters.s3_audit_keys import FIRST_HOUR
from nightingale.contract.canonical import GENESIS

_FORM = re.compile(rb"([0-9]{12}) ([0-9a-f]{64}) ([0-9T-]{13})\n")


@dataclass(frozen=True)
class Head:
    """The last record, the hour in which the next is filed, and the ETag of the head object it was read from."""

    seq: int = 0
    hash: str = GENESIS
    hour: str = FIRST_HOUR
    etag: str | None = None

    def to_bytes(self) -> bytes:
        """Return what stands in the head object."""
        return b"%012d %s %s\n" % (self.seq, self.hash.encode(), self.hour.encode())

    @staticmethod
    def from_bytes(body: bytes, etag: str) -> Head | None:
        """Return the head of an object's content, None when it is none."""
        match = _FORM.fullmatch(body)
        return Head(int(match[1]), match[2].decode(), match[3].decode(), etag) if match is not None else None


def following(stream: str, head: Head, line: bytes) -> Head | None:
    """Return the head after this line, None when it is not the record that comes next, unchanged."""
    try:
        sealed = from_line(line)
    except DamagedRecordError:
        return None
    is_next = sealed.event.stream == stream and holds(sealed, head.seq + 1, head.hash)
    return replace(head, seq=sealed.seq, hash=sealed.hash) if is_next else None


def behind(stream: str, head: Head, body: bytes, turn: str) -> Head:
    """Return the head behind an object. Raises DamagedRecordError."""
    if not body:
        return replace(head, hour=max(head.hour, turn), etag=None)
    sealed = from_line(body.splitlines(keepends=True)[-1])
    if sealed.event.stream != stream:
        raise DamagedRecordError("the record belongs to another stream")
    return replace(head, seq=sealed.seq, hash=sealed.hash, etag=None)
