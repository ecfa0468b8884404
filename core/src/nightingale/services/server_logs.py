"""The Jupyter server's log of a machine in a cloud: its end, as the machine sends it, in the store.

    machine ── lines, number n ──▶ report ──▶ SERVERLOG (the last 64 KiB) ──▶ read_log
            ◀── next after 3 s or 60 s ──       LOGLOOK (somebody looks) ◀────────┘

The host that serves people stands outside of the machines' network, so nobody fetches: the machine tells. What is kept
is one item, written anew by each report under its version, and goes a week after the last one.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.machines import LogKeptOut, ReportLogIn
from nightingale.domain.access import Principal
from nightingale.domain.errors import RefusedError
from nightingale.domain.server_log import LINE_CHARACTERS, ServerLog
from nightingale.ports.clock import Clock
from nightingale.ports.starts import Starts
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Store
from nightingale.services import records
from nightingale.services.own_instance import plain
from nightingale.services.rate_limit import Bucket, Rate, RateLimiter

KEPT = timedelta(days=7)
"""After the last report. A machine whose log is silent reports that each day."""

SOON_S, LATER_S = 3, 60
FIRST = 5
"""Reports of a start are wanted soon in any case: it is then that people look."""

LOOK_HOLDS = timedelta(seconds=30)
LOOK_AGAIN = timedelta(seconds=10)
"""A look is noted when the last one is older than this."""

_TRIES = 5
_REPORTS = Rate(20, timedelta(seconds=2))


@dataclass(frozen=True)
class StoredServerLogs:
    """Implements ports.server_logs.ServerLogs."""

    store: Store
    clock: Clock

    def find(self, instance_id: str) -> ServerLog | None:
        """Return what is kept, None when nothing is (any more)."""
        item = self._item(instance_id)
        return records.decode(item, ServerLog) if item is not None and self._stands(item) else None

    def look(self, instance_id: str) -> ServerLog | None:
        """Return the same, and note that somebody looks."""
        now = self.clock.now()
        key = records.log_look_key(instance_id)
        seen = self.store.get(key)
        if seen is None or not timedelta() <= now - _at(seen) < LOOK_AGAIN:
            version = seen.version if seen is not None else ABSENT
            with contextlib.suppress(ConditionFailedError):  # another was noted at the same moment: one is enough
                self.store.put(Item(key, {"at": now.isoformat()}, version=version, expires_at=now + LOOK_HOLDS))
        return self.find(instance_id)

    def is_looked_at(self, instance_id: str) -> bool:
        """Return whether somebody has looked in the last half minute."""
        seen = self.store.get(records.log_look_key(instance_id))
        return seen is not None and abs(self.clock.now() - _at(seen)) < LOOK_HOLDS

    def grow(self, instance_id: str, report: ReportLogIn) -> None:
        """Keep a report's lines unless they were taken already. Raises RefusedError."""
        for _ in range(_TRIES):
            item = self._item(instance_id)
            known = records.decode(item, ServerLog) if item is not None and self._stands(item) else ServerLog()
            if known.has(report.generation, report.number):
                return
            lines = (plain(line[:LINE_CHARACTERS]) for line in report.lines)
            grown = known.grown(report.generation, report.number, lines, has_gap=report.has_gap)
            version = item.version if item is not None else ABSENT
            until = self.clock.now() + KEPT
            try:
                self.store.put(
                    Item(records.server_log_key(instance_id), records.encode(grown), version=version, expires_at=until)
                )
            except ConditionFailedError:
                continue
            return
        words = f"too many reports of the log of {instance_id} at the same moment"
        raise RefusedError(ErrorCode.TOO_MANY_REQUESTS, words, "Send it again.", retry_after_s=1)

    def _item(self, instance_id: str) -> Item | None:
        return self.store.get(records.server_log_key(instance_id))

    def _stands(self, item: Item) -> bool:
        return item.expires_at is None or self.clock.now() < item.expires_at


@dataclass(frozen=True)
class ServerLogService:
    """The use case of machines that send their server's log."""

    logs: StoredServerLogs
    starts: Starts

    def report(self, principal: Principal, body: ReportLogIn) -> LogKeptOut:
        """Keep what the log has grown by; the same report again changes nothing.

        Raises RefusedError: `forbidden`, `too_many_requests`, `not_allowed_now` when that start is not the latest.
        """
        own = principal.instance
        if own is None or not own.is_shipper:
            raise RefusedError(ErrorCode.FORBIDDEN, "only a machine reports about itself", "Leave it to that.")
        RateLimiter(self.logs.store, self.logs.clock).take(
            "reports were sent", (Bucket(f"log#{own.id}", _REPORTS, "by this machine"),)
        )
        start = self.starts.find(own.id)
        if start is None or start.generation != body.generation:
            words = f"start {body.generation} is not the latest of {own.id}"
            raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, "Nothing more is kept of it.")
        self.logs.grow(own.id, body)
        is_wanted = body.number <= FIRST or self.logs.is_looked_at(own.id)
        return LogKeptOut(next_after_s=SOON_S if is_wanted else LATER_S)


def _at(item: Item) -> datetime:
    return datetime.fromisoformat(item.document["at"])
