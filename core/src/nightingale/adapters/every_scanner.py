"""The platform's own log and the clouds' logs that the cluster file names, as one scanner.

Each source of a cloud has a database, and a scan, of its own: one whose log cannot be read, or whose database is
damaged, is told of and tried again; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nightingale.adapters.cloud_scanner import CloudScanner, WatchedLog
from nightingale.domain.catalog import Cluster
from nightingale.ports.scanner import LogScanned, Scanned, Scanner, ScannerUnavailableError


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
    _unkept: dict[str, ScannerUnavailableError] = field(default_factory=dict)
    """By source, why the firings of the last scan could not be noted as kept: they come again."""

    def scan(self) -> list[Scanned]:
        """Scan what is new in each; return what was found, and how each log did."""
        wanted: dict[str, list[str]] = {}
        for one in self.cluster().findings.logs:
            wanted.setdefault(one.source, []).append(one.folder)
        for source in self._scanners.keys() - wanted.keys():
            self._scanners.pop(source).close()
            self._unkept.pop(source, None)
        return [self._scanned(source, folders) for source, folders in sorted(wanted.items())]

    def _scanned(self, source: str, folders: list[str]) -> Scanned:
        logs, told = [], []
        for folder in folders:
            try:
                logs.append(self._log(folder))
            except ScannerUnavailableError as error:
                told.append(LogScanned(source, folder, str(error), error.next_step))
        if source not in self._scanners:
            self._scanners[source] = self.make(source)
        try:
            scanned = self._scanners[source].scan(logs)
        except ScannerUnavailableError as error:
            failed = (LogScanned(source, log.log, str(error), error.next_step) for log in logs)
            return Scanned(firings=(), events_read=0, set_aside=0, through=None, logs=(*told, *failed))
        told += scanned.logs
        unkept = self._unkept.get(source)
        if unkept is not None:
            told = [one if one.why else replace(one, why=str(unkept), next_step=unkept.next_step) for one in told]
        return replace(scanned, logs=tuple(told))

    def close(self) -> None:
        """Close their databases."""
        for scanner in self._scanners.values():
            scanner.close()

    def kept(self) -> None:
        """Note that the firings were kept. Where that fails, they come again, and the next scan says why."""
        self._unkept = {}
        for source, scanner in self._scanners.items():
            try:
                scanner.kept()
            except ScannerUnavailableError as error:
                self._unkept[source] = error

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
        every = (first, *self.clouds.scan())
        return Scanned(
            firings=tuple(hit for one in every for hit in one.firings),
            events_read=sum(one.events_read for one in every),
            set_aside=sum(one.set_aside for one in every),
            through=max((one.through for one in every if one.through is not None), default=None),
            failed=tuple(rule for one in every for rule in one.failed),
            late=sum(one.late for one in every),
            logs=tuple(log for one in every for log in one.logs),
        )

    def kept(self) -> None:
        """Note that the firings of the last scan are kept. Raises ScannerUnavailableError for the platform's own."""
        self.own.kept()
        self.clouds.kept()
