"""The scan as a job: firings in, findings kept, actions done, notices sent; and how the scan itself does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from nightingale.ports.clock import Clock
from nightingale.ports.scanner import Scanned, Scanner, ScannerUnavailableError
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Store
from nightingale.services import records
from nightingale.services.findings import FindingsService, Taken
from nightingale.services.notices import NoticeQueue
from nightingale.services.responses import Responses
from nightingale.services.scan_state import MOST_WORDS, ScanState, is_news, logs_after, rules_after

_TOLD_EVERY = timedelta(seconds=10)


@dataclass
class Scanning:
    """Scans once each time it is run. One process runs it; a second one beside it finds everything taken."""

    store: Store
    clock: Clock
    scanner: Scanner
    findings: FindingsService
    responses: Responses
    notices: NoticeQueue

    def run(self) -> Taken:
        """Scan, keep, act, send; return what became of the firings.

        Raises ScannerUnavailableError, StoreUnavailableError, AuditLogUnavailableError, after noting that it failed.
        What was due before is done even where the logs cannot be read.
        """
        try:
            scanned = self.scanner.scan()
        except ScannerUnavailableError as error:
            self._tell(words=str(error)[:MOST_WORDS])
            self._act()
            raise
        taken = self.findings.take(scanned.firings)
        self.scanner.kept()
        self._act()
        self._tell(scanned, opened=bool(taken.opened))
        return taken

    def failed(self, words: str) -> None:
        """Write down that a scan broke off for a reason that is a fault of ours."""
        self._tell(words=words[:MOST_WORDS])

    def _act(self) -> None:
        self.responses.run()
        self.notices.deliver()

    def _tell(self, scanned: Scanned | None = None, *, words: str = "", opened: bool = False) -> None:
        """Write down how it went: at once when that is news, else every ten seconds.

        Of a scan that failed as a whole nothing is known of the clouds' logs: what was known of them stays.
        """
        item = self.store.get(records.SCAN_KEY)
        now = self.clock.now()
        known = ScanState(heard_at=now) if item is None else records.decode(item, ScanState)
        after = replace(
            known,
            heard_at=now,
            last_ok_at=known.last_ok_at if words else now,
            failing_since=(known.failing_since or now) if words else None,
            words=words,
        )
        has_read = False
        if scanned is not None:
            has_read = bool(scanned.events_read or scanned.set_aside)
            after = replace(
                after,
                events_read=known.events_read + scanned.events_read,
                set_aside=known.set_aside + scanned.set_aside,
                logs=logs_after(known.logs, scanned.logs, now),
                rules=rules_after(known.rules, scanned.failed, now),
                rules_failing=len(scanned.failed),
            )
        is_due = item is None or now - known.heard_at >= _TOLD_EVERY
        if not is_due and not has_read and not opened and not is_news(known, after):
            return
        after = replace(after, undelivered=self.notices.undelivered())
        try:
            self.store.put(
                Item(records.SCAN_KEY, records.encode(after), version=ABSENT if item is None else item.version)
            )
        except ConditionFailedError:
            return  # another scan told meanwhile
