"""Reads of datasets, as the observers ship them: kept once each, in order, in a stream of the instance's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.reads import ABOUT_THE_OBSERVER, Exactness, ReadKind, ReadRecord, ReadsOut, ReadsTaken
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.access import InstanceIdentity, Principal
from nightingale.domain.errors import RefusedError
from nightingale.ports.audit_log import AuditEvent, AuditLog, AuditLogMovedError, SealedEvent
from nightingale.ports.store import InvalidCursorError
from nightingale.services.observer_facts import ObserverFacts

_TRIES = 5
_LOOK_BACK = 50
"""Records at a stream's end among which one of a read is found: others are repairs after a crash, and rare."""

_NOUGHT_SAYS_NOTHING = frozenset({"open_id", "size", "pid", "started_ticks"})
"""Left out where they are nought; elsewhere it is a fact: root's account, or a file that is called `0`."""

_TAGS = {
    ReadKind.READ: AuditTag.DATASET_READ,
    ReadKind.OBSERVER_STARTED: AuditTag.OBSERVER_STARTED,
    ReadKind.OBSERVER_RESTARTED: AuditTag.OBSERVER_RESTARTED,
    ReadKind.SPOOL_FULL: AuditTag.SPOOL_FULL,
    ReadKind.SPOOL_DRAINED: AuditTag.SPOOL_DRAINED,
    ReadKind.SPOOL_DAMAGED: AuditTag.SPOOL_DAMAGED,
}
_KINDS = {tag.value: kind for kind, tag in _TAGS.items()}


def reads_stream(instance_id: str) -> str:
    """Return the audit stream of an instance's reads."""
    return f"reads-{instance_id}"


@dataclass(frozen=True)
class ReadsService:
    """Takes batches from the observers' shippers, and shows what was read."""

    audit: AuditLog
    facts: ObserverFacts | None = None
    """Who is told of facts about the observer itself; None: nobody."""

    def take(self, shipper: Principal, records: tuple[ReadRecord, ...]) -> ReadsTaken:
        """Keep what is new of a batch from an instance's shipper; return the number of the last record that is kept.

        A batch that was sent before changes nothing. Raises RefusedError `records_missing` when records between the
        last one kept and the batch's first are missing, AuditLogUnavailableError.
        """
        instance = shipper.instance
        if instance is None:
            raise RefusedError(ErrorCode.FORBIDDEN, "only an instance's shipper ships its reads", "Leave it to that.")
        stream = reads_stream(instance.id)
        if [one.number for one in records] != list(range(records[0].number, records[0].number + len(records))):
            raise RefusedError(ErrorCode.INVALID, "the records are not in order", "Send them as they were made.")
        told = 0
        for _ in range(_TRIES):
            head = self.audit.head(stream)
            known = self._last_number(stream, head)
            fresh = tuple(one for one in records if one.number > known)
            if not fresh:
                return ReadsTaken(number=known)
            if fresh[0].number != known + 1:
                raise RefusedError(
                    ErrorCode.RECORDS_MISSING,
                    f"record {known + 1} of {instance.id} was not shipped: the batch begins with {fresh[0].number}",
                    "Look at the instance's spool of reads, and whether the audit log was restored from a backup.",
                )
            events = [_event(stream, instance, one) for one in fresh]
            about = [one for one in fresh if one.kind in ABOUT_THE_OBSERVER and one.number > told]
            if self.facts is not None and about:
                self.facts.tell(instance, [(_TAGS[one.kind], one) for one in about])
                told = about[-1].number
            try:
                self.audit.append_all(events, after=head)
            except AuditLogMovedError:
                continue
            return ReadsTaken(number=fresh[-1].number)
        raise RefusedError(ErrorCode.BUSY, "another shipper of this instance writes all the time", "Send it again.")

    def page(self, instance_id: str, cursor: str | None, tail: int | None, limit: int) -> ReadsOut:
        """Return records behind a cursor, oldest first, or the last `tail` ones. Raises InvalidCursorError."""
        if cursor is not None and not cursor.isdecimal():
            raise InvalidCursorError
        stream = reads_stream(instance_id)
        after = int(cursor or 0)
        if cursor is None and tail is not None:
            after = max(0, self.audit.head(stream) - tail)
        sealed = self.audit.read(stream, after, limit)
        reads = tuple(_record(one) for one in sealed if one.event.tag in _KINDS)
        return ReadsOut(reads=reads, next_cursor=str(sealed[-1].seq if sealed else after))

    def _last_number(self, stream: str, head: int) -> int:
        sealed = self.audit.read(stream, max(0, head - _LOOK_BACK), _LOOK_BACK)
        return max((int(one.event.detail["number"]) for one in sealed if "number" in one.event.detail), default=0)


def _event(stream: str, instance: InstanceIdentity, record: ReadRecord) -> AuditEvent:
    return AuditEvent(stream, record.at, _TAGS[record.kind].value, instance.owner, instance.id, _detail(record))


def _detail(record: ReadRecord) -> dict[str, str]:
    """Return the record as texts, which is what a sealed record holds."""
    detail = {
        "number": str(record.number),
        "open_id": str(record.open_id),
        "closed_at": "" if record.closed_at is None else record.closed_at.astimezone(UTC).isoformat(),
        "dataset": record.dataset,
        "version": record.version,
        "path": record.path,
        "sha256": record.sha256,
        "size": str(record.size),
        "ranges": " ".join(f"{offset}+{length}" for offset, length in record.ranges),
        "bytes": str(covered(record.ranges)),
        "exactness": record.exactness.value if record.kind is ReadKind.READ else "",
        "is_inherited": "true" if record.is_inherited else "",
        "pid": str(record.pid),
        "started_ticks": str(record.started_ticks),
        "uid": "" if record.uid is None else str(record.uid),
        "program": record.program,
        "note": record.note,
    }
    return {name: text for name, text in detail.items() if text and (text != "0" or name not in _NOUGHT_SAYS_NOTHING)}


def covered(ranges: Iterable[tuple[int, int]]) -> int:
    """Return how many bytes the ranges cover, each counted once."""
    total, end = 0, 0
    for offset, length in sorted(ranges):
        total += max(0, offset + length - max(offset, end))
        end = max(end, offset + length)
    return total


def _record(sealed: SealedEvent) -> ReadRecord:
    detail = dict(sealed.event.detail)
    detail.pop("bytes", None)
    pieces = (piece.split("+") for piece in detail.pop("ranges", "").split())
    fields = {
        **detail,
        "kind": _KINDS[sealed.event.tag],
        "at": sealed.event.at,
        "ranges": [(int(offset), int(length)) for offset, length in pieces],
        "exactness": detail.get("exactness", Exactness.RANGES.value),
        "is_inherited": detail.get("is_inherited") == "true",
    }
    return msgspec.convert(fields, ReadRecord, strict=False)
