"""The platform's own log and the clouds' logs that the cluster file names, as one scanner.

Each source of a cloud has a database, and a scan, of its own: one whose log cannot be read, or whose database is
damaged, is told of and tried again; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nightingale.adapters.cloud_scanner import CloudScanner, WatchedLog
from nightingale.domain.catalog import Cluster
from nightingale.ports.scanner import Scanned, Scanner, ScannerUnavailableError


@dataclass
class CloudScanners:
    """Every source that the cluster file names now. Its scans never fail as a whole."""

    cluster: Callable[[], Cluster]
    make: Callable[[str], CloudScanner]
    """The scanner of a source."""
    watch: Callable[[str], WatchedLog]
    """The place that a log's `folder` names. Raises ScannerUnavailableError for one that cannot be watched here."""
    _scanners: dict[str, CloudScanner] = field(default_factory=dict)
    _watched: dict[str, WatchedLog] = field(default_factory=dict)

    def scan(self) -> tuple[list[Scanned], tuple[str, ...]]:
        """Scan what is new in each; return what was found, and which logs could not be read, and why."""
        wanted: dict[str, list[str]] = {}
        for one in self.cluster().findings.logs:
            wanted.setdefault(one.source, []).append(one.folder)
        for source in self._scanners.keys() - wanted.keys():
            self._scanners.pop(source).close()
        scanned, unread = [], []
        for source, folders in sorted(wanted.items()):
            logs = []
            for folder in folders:
                try:
                    logs.append(self._log(folder))
                except ScannerUnavailableError as error:
                    unread.append(f"{source}: {error}")
            if source not in self._scanners:
                self._scanners[source] = self.make(source)
            try:
                scanned.append(self._scanners[source].scan(logs))
            except ScannerUnavailableError as error:
                unread.append(f"{source}: {error}")
        return scanned, tuple(unread)

    def close(self) -> None:
        """Close their databases."""
        for scanner in self._scanners.values():
            scanner.close()

    def kept(self) -> None:
        """Note that the firings were kept. Raises ScannerUnavailableError when those of one could not be noted."""
        failed: ScannerUnavailableError | None = None
        for scanner in self._scanners.values():
            try:
                scanner.kept()
            except ScannerUnavailableError as error:
                failed = error
        if failed is not None:
            raise failed

    def _log(self, folder: str) -> WatchedLog:
        if folder not in self._watched:
            self._watched[folder] = self.watch(folder)
        return self._watched[folder]


@dataclass
class EveryScanner:
    """The platform's own log and those of clouds, as one scanner."""

    own: Scanner
    clouds: CloudScanners

    def scan(self) -> Scanned:
        """Scan what is new. Raises ScannerUnavailableError when the platform's own log cannot be scanned."""
        first = self.own.scan()
        others, unread = self.clouds.scan()
        every = (first, *others)
        return Scanned(
            firings=tuple(hit for one in every for hit in one.firings),
            events_read=sum(one.events_read for one in every),
            set_aside=sum(one.set_aside for one in every),
            through=max((one.through for one in every if one.through is not None), default=None),
            failed=tuple(words for one in every for words in one.failed),
            late=sum(one.late for one in every),
            unread=(*(words for one in every for words in one.unread), *unread),
        )

    def kept(self) -> None:
        """Note that the firings of the last scan are kept. Raises ScannerUnavailableError."""
        self.own.kept()
        self.clouds.kept()
