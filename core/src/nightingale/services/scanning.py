"""The scan as a job: firings in, findings kept, actions done, notices sent; and how the scan itself does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nightingale.contract.findings import ScanOut
from nightingale.ports.clock import Clock
from nightingale.ports.scanner import Scanned, Scanner, ScannerUnavailableError
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Store
from nightingale.services import records
from nightingale.services.findings import FindingsService, Taken
from nightingale.services.notices import NoticeQueue
from nightingale.services.responses import Responses

LATE_AFTER = timedelta(minutes=2)
"""A scan that was not heard of for so long is late: locally it runs every 3 s, in AWS every minute."""

_TOLD_EVERY = timedelta(seconds=10)
_MOST_WORDS = 300


@dataclass(frozen=True)
class ScanState:
    """What is kept of the scans. Counts grow for good."""

    heard_at: datetime
    last_ok_at: datetime | None = None
    failing_since: datetime | None = None
    words: str = ""
    events_read: int = 0
    set_aside: int = 0
    undelivered: int = 0


def scan_state(store: Store, clock: Clock) -> ScanOut:
    """Return how the scan does. Raises StoreUnavailableError."""
    item = store.get(records.SCAN_KEY)
    if item is None:
        return ScanOut(state="never", words="No scan of the logs has run yet.")
    found = records.decode(item, ScanState)
    state, words = "ok", ""
    if found.failing_since is not None:
        state, words = "failing", found.words
    elif clock.now() - found.heard_at > LATE_AFTER:
        state, words = "late", f"No scan was heard of since {found.heard_at:%Y-%m-%d %H:%M:%SZ}."
    return ScanOut(
        state=state,
        last_ok_at=found.last_ok_at,
        failing_since=found.failing_since,
        words=words,
        events_read=found.events_read,
        set_aside=found.set_aside,
        undelivered=found.undelivered,
    )


def _words(scanned: Scanned) -> str:
    """Return what did not go well in a scan, or nothing."""
    told = (("logs that could not be read", scanned.unread), ("rules that could not be run", scanned.failed))
    return ". ".join(f"{what}: {'; '.join(which)}" for what, which in told if which)[:_MOST_WORDS]


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
            self._tell(words=str(error)[:_MOST_WORDS])
            self._act()
            raise
        taken = self.findings.take(scanned.firings)
        self.scanner.kept()
        self._act()
        self._tell(
            words=_words(scanned),
            events_read=scanned.events_read,
            set_aside=scanned.set_aside,
            is_news=bool(taken.opened),
        )
        return taken

    def failed(self, words: str) -> None:
        """Write down that a scan broke off for a reason that is a fault of ours."""
        self._tell(words=words[:_MOST_WORDS])

    def _act(self) -> None:
        self.responses.run()
        self.notices.deliver()

    def _tell(self, *, words: str = "", events_read: int = 0, set_aside: int = 0, is_news: bool = False) -> None:
        """Write down how it went: at once when that is news, else every ten seconds."""
        item = self.store.get(records.SCAN_KEY)
        now = self.clock.now()
        known = ScanState(heard_at=now) if item is None else records.decode(item, ScanState)
        after = replace(
            known,
            heard_at=now,
            last_ok_at=known.last_ok_at if words else now,
            failing_since=(known.failing_since or now) if words else None,
            words=words,
            events_read=known.events_read + events_read,
            set_aside=known.set_aside + set_aside,
        )
        is_due = item is None or now - known.heard_at >= _TOLD_EVERY
        is_news = is_news or bool(events_read or set_aside) or known.words != words
        if not is_due and not is_news:
            return
        after = replace(after, undelivered=self.notices.undelivered())
        try:
            self.store.put(
                Item(records.SCAN_KEY, records.encode(after), version=ABSENT if item is None else item.version)
            )
        except ConditionFailedError:
            return  # another scan told meanwhile
