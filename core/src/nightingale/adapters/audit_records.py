"""How a fact becomes a sealed record and a line of text; the same for every audit log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from nightingale.contract.canonical import canonical_json, chain_hash
from nightingale.ports.audit_log import AuditEvent, SealedEvent


class DamagedRecordError(Exception):
    """A line is not a record as it was written."""


def record_of(event: AuditEvent, seq: int) -> dict[str, Any]:
    """Return what the hash of record number `seq` covers: every field but `prev` and `hash`."""
    return {
        "stream": event.stream,
        "seq": seq,
        "at": event.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "tag": str(event.tag),
        "actor": event.actor,
        "subject": event.subject,
        "detail": dict(event.detail),
    }


def seal(event: AuditEvent, seq: int, prev: str) -> SealedEvent:
    """Return the fact sealed as record number `seq` behind the record whose hash is `prev`."""
    return SealedEvent(event=event, seq=seq, prev=prev, hash=chain_hash(prev, record_of(event, seq)))


def holds(sealed: SealedEvent, seq: int, prev: str) -> bool:
    """Return whether `sealed` is record number `seq`, unchanged, behind the record whose hash is `prev`."""
    return sealed.seq == seq and sealed.prev == prev and sealed == seal(sealed.event, seq, prev)


def to_line(sealed: SealedEvent) -> bytes:
    """Return the record as one line of canonical JSON with its newline."""
    record = record_of(sealed.event, sealed.seq)
    return canonical_json({**record, "prev": sealed.prev, "hash": sealed.hash}) + b"\n"


def from_line(line: bytes) -> SealedEvent:
    """Return the record of a line that `to_line` wrote. Raises DamagedRecordError for any other bytes."""
    try:
        raw = json.loads(line)
        sealed = SealedEvent(
            event=AuditEvent(
                stream=raw["stream"],
                at=datetime.fromisoformat(raw["at"]),
                tag=raw["tag"],
                actor=raw["actor"],
                subject=raw["subject"],
                detail=raw["detail"],
            ),
            seq=raw["seq"],
            prev=raw["prev"],
            hash=raw["hash"],
        )
        is_as_written = to_line(sealed) == line
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        message = "the line is no audit record"
        raise DamagedRecordError(message) from error
    if not is_as_written:
        message = "the line is not in the form in which records are written"
        raise DamagedRecordError(message)
    return sealed
