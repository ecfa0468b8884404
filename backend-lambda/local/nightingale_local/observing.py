"""The API observed: one log line a request, what it counts, and the page `/metrics` that shows it.

A log line says who did what, how it ended and how long it took; never a body, a path, a query or a token.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable

from nightingale.app.dispatch import Dispatcher, Request, Response
from nightingale.app.use_cases import use_cases
from nightingale.app.wiring import Platform
from nightingale.contract.operations import Operation
from nightingale.contract.vocabulary import Status
from nightingale.domain.access import Access, Principal
from nightingale.domain.instance import Instance
from nightingale.ports.clock import Clock
from nightingale.ports.store import Store, StoreUnavailableError
from nightingale.services import records
from nightingale.services.scan_state import scan_state
from nightingale_local import metrics
from nightingale_local.folders import Folders, read_json

_LOG = logging.getLogger(__name__)
_KEPT_SECONDS = 5.0
"""A page is made at most so often: whoever is on this machine may ask for it."""
_LEASE_SECONDS = 30.0
"""The gateway closes a channel whose lease was not renewed for so long."""


class ObservedDispatcher(Dispatcher):
    """Logs and counts every answer."""

    tally: metrics.Tally
    channels: Channels
    _asking: threading.local

    def handle(self, name: str, request: Request) -> Response:
        """Return the answer, as the dispatcher does, and note it."""
        self._asking.principal = ""
        began = time.perf_counter()
        answer = super().handle(name, request)
        took = time.perf_counter() - began
        self.tally.note(name, answer.status, took)
        self.channels.note(name, request, answer)
        detail = {
            "operation": name,
            "status": answer.status,
            "ms": round(took * 1000, 2),
            "request_id": answer.request_id,
            "principal": self._asking.principal,
        }
        _LOG.info("request", extra=detail)
        return answer

    def _permit(self, operation: Operation, principal: Principal, request: Request) -> Access:
        self._asking.principal = principal.name
        return super()._permit(operation, principal, request)


class Channels:
    """Which channels of the gateway stand: those whose lease was renewed of late, whichever process granted them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._renewed: dict[str, float] = {}
        self._turn = threading.Lock()

    def note(self, operation: str, request: Request, answer: Response) -> None:
        """Take up what a request made of a channel."""
        channel = request.path.get("channel", "")
        if operation not in {"renew_channel", "close_channel"}:
            return
        with self._turn:
            if operation == "renew_channel" and answer.status < 300:  # noqa: PLR2004 - HTTP's own
                self._renewed[channel] = time.monotonic()
            else:
                self._renewed.pop(channel, None)

    def count(self) -> int:
        """Return how many stand."""
        oldest = time.monotonic() - _LEASE_SECONDS
        with self._turn:
            self._renewed = {key: at for key, at in self._renewed.items() if at >= oldest}
            return len(self._renewed)


def observed(platform: Platform) -> ObservedDispatcher:
    """Return what answers this platform's requests, observed."""
    adapters = platform.adapters
    made = ObservedDispatcher(
        use_cases(platform.services),
        login=platform.services.login,
        audit=adapters.audit,
        clock=adapters.clock,
        ids=adapters.ids,
    )
    made.tally, made.channels, made._asking = metrics.Tally(), Channels(), threading.local()  # noqa: SLF001 - of this file
    return made


class MetricsPage:
    """The text of `/metrics`. Threads may share it."""

    def __init__(self, folders: Folders, store: Store, clock: Clock, dispatcher: ObservedDispatcher) -> None:
        """Take where the numbers are."""
        self._folders = folders
        self._store = store
        self._clock = clock
        self._dispatcher = dispatcher
        self._turn = threading.Lock()
        self._made_at = 0.0
        self._text = b""

    def text(self) -> bytes:
        """Return the page; it may be a few seconds old."""
        with self._turn:
            if not self._text or time.monotonic() - self._made_at > _KEPT_SECONDS:
                self._text = "".join(f"{line}\n" for line in (*self._lines(), "# EOF")).encode()
                self._made_at = time.monotonic()
            return self._text

    def _lines(self) -> Iterable[str]:
        found: Counter[str] = Counter()
        is_up = 1
        try:
            found = self._by_status()
        except StoreUnavailableError:
            is_up = 0  # and no numbers of it: none is not nothing
        yield from metrics.family("nightingale_store_up", "gauge", "Whether the store could be read just now.")
        yield metrics.sample("nightingale_store_up", is_up)
        if is_up:
            values = {status.value: found[status.value] for status in Status if status is not Status.TERMINATED}
            yield from metrics.gauge("nightingale_instances", "Instances that live, by status.", "status", values)
            yield from self._scan()
        yield from metrics.family("nightingale_open_channels", "gauge", "Channels that the gateway holds open.")
        yield metrics.sample("nightingale_open_channels", self._dispatcher.channels.count())
        counts = read_json(self._folders.counts, metrics.Counts) or metrics.Counts()
        yield from metrics.counter("nightingale_probes", "Probes of running servers.", "outcome", counts.probes)
        yield from metrics.counter("nightingale_builds", "Builds that ended, by result.", "result", counts.builds)
        words = "Beats of the scheduler that failed and are tried again."
        yield from metrics.counter("nightingale_failed_beats", words, "beat", counts.failed_beats)
        yield from metrics.histograms("nightingale_beat_seconds", "How long beats took.", "beat", counts.beats)
        yield from self._dispatcher.tally.families()

    def _scan(self) -> Iterable[str]:
        """Yield how the scan of the logs does; it is read from the store, where the scan's own process tells it."""
        scan = scan_state(self._store, self._clock)
        words = "Whether all that is to be scanned was when the scan was last heard of, of late."
        yield from metrics.family("nightingale_scan_ok", "gauge", words)
        yield metrics.sample("nightingale_scan_ok", int(scan.state == "ok"))
        sources: dict[str, int] = {}
        for one in scan.sources:
            sources[one.source] = min(sources.get(one.source, 1), int(one.state in {"ok", "behind", "partial"}))
        words = "The same of each source by itself: 0 where one of its logs is not read."
        yield from metrics.gauge("nightingale_scan_source_ok", words, "source", sources)
        words = "Rules that are not run, or were not when something new was last logged."
        yield from metrics.family("nightingale_scan_rules_failing", "gauge", words)
        yield metrics.sample("nightingale_scan_rules_failing", scan.rules_failing)
        read, aside = "Events that scans have read.", "Lines of the log that were none."
        for name, told, count in (("read", read, scan.events_read), ("set_aside", aside, scan.set_aside)):
            yield from metrics.family(f"nightingale_scan_{name}", "counter", told)
            yield metrics.sample(f"nightingale_scan_{name}_total", count)
        words = "Notices to the outside that have not arrived."
        yield from metrics.family("nightingale_undelivered_notices", "gauge", words)
        yield metrics.sample("nightingale_undelivered_notices", scan.undelivered)

    def _by_status(self) -> Counter[str]:
        """Count what the index lists; it may lag, and a graph may too."""
        found: Counter[str] = Counter()
        for shard in range(records.SHARDS):
            cursor: str | None = None
            while True:
                page = self._store.query_index(records.INDEX1, f"SHARD#{shard}", limit=500, cursor=cursor)
                found.update(records.decode(item, Instance).status.value for item in page.items)
                cursor = page.cursor
                if cursor is None:
                    break
        return found
