"""An audit log in memory."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence

from nightingale.adapters.audit_records import holds, seal
from nightingale.contract.canonical import GENESIS
from nightingale.ports.audit_log import AuditEvent, AuditLogMovedError, AuditLogUnavailableError, SealedEvent


class MemoryAuditLog:
    """Seals like the real ones. `break_down` makes every append fail until `mend`."""

    def __init__(self) -> None:
        self._streams: defaultdict[str, list[SealedEvent]] = defaultdict(list)
        self._lock = threading.Lock()
        self._broken: str | None = None

    def break_down(self, words: str = "the disk of the audit log is full") -> None:
        self._broken = words

    def mend(self) -> None:
        self._broken = None

    def append(self, event: AuditEvent) -> SealedEvent:
        return self.append_all((event,))[0]

    def append_all(self, events: Sequence[AuditEvent], after: int | None = None) -> tuple[SealedEvent, ...]:
        with self._lock:
            if self._broken is not None:
                raise AuditLogUnavailableError(self._broken)
            records = self._streams[events[0].stream]
            if after is not None and after != len(records):
                raise AuditLogMovedError(f"{len(records)} records, not {after}")
            for event in events:
                records.append(seal(event, len(records) + 1, records[-1].hash if records else GENESIS))
            return tuple(records[len(records) - len(events) :])

    def head(self, stream: str) -> int:
        return len(self._streams.get(stream, ()))

    def read(self, stream: str, after: int, limit: int) -> tuple[SealedEvent, ...]:
        return tuple(sealed for sealed in self._streams.get(stream, ()) if sealed.seq > after)[:limit]

    def verify(self, stream: str) -> int | None:
        prev = GENESIS
        for number, sealed in enumerate(self._streams.get(stream, ()), start=1):
            if not holds(sealed, number, prev):
                return number
            prev = sealed.hash
        return None

    def events(self, stream: str | None = None) -> list[AuditEvent]:
        """Return the facts of one stream, or of all, stream by stream."""
        streams: Iterable[str] = self._streams if stream is None else (stream,)
        return [sealed.event for name in streams for sealed in self._streams.get(name, ())]

    def tags(self, stream: str | None = None) -> list[str]:
        """Return the facts' tags in order."""
        return [event.tag for event in self.events(stream)]
