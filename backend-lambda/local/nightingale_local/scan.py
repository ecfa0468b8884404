"""The scan of a platform on one machine, in a process of its own: it alone loads DuckDB.

Every 3 seconds what was appended to the audit log is read, rules are run, findings kept and acted on. A scan that costs
much is thinned out, so that it never takes more than a quarter of one processor.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

from nightingale.adapters.cloud_scanner import CloudScanner
from nightingale.adapters.current_rules import RulesInForce
from nightingale.adapters.duckdb_scanner import DuckDBScanner
from nightingale.adapters.every_scanner import CloudScanners, EveryScanner
from nightingale.adapters.watched_folders import WatchedFolder
from nightingale.app.wiring import Platform
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.scanner import ScannerUnavailableError
from nightingale.ports.store import StoreUnavailableError
from nightingale.services.scanning import Scanning
from nightingale_local.container import local_platform
from nightingale_local.folders import Folders, Ready, write_json

_LOG = logging.getLogger(__name__)

EVERY_S = 3.0
_REST = 3.0
"""Times as long as a scan kept a processor busy, it rests; how long it waited for one on a busy machine counts not."""
_LONGEST_REST_S = 60.0


def run(folders: Folders) -> None:
    """Scan until the process is told to end. A scan that fails is told in the log and in the store, and tried again."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    write_json(folders.ready("scan"), Ready(pid=os.getpid()))
    platform = local_platform(folders)
    rules = RulesInForce(platform.services.catalog.load, platform.services.rules.load)
    scanner = DuckDBScanner(
        audit=folders.audit,
        database=folders.findings / "scan.duckdb",
        rules=rules,
        cluster=platform.services.catalog.load,
        clock=platform.adapters.clock,
    )
    clouds = _clouds(folders, platform, rules)
    scanning = platform.scanning(EveryScanner(scanner, clouds))
    try:
        while not stop.is_set():
            began, used = time.monotonic(), time.process_time()
            scan_once(scanning)
            took, cost = time.monotonic() - began, time.process_time() - used
            stop.wait(max(EVERY_S - took, min(cost * _REST, _LONGEST_REST_S)))
    finally:
        scanner.close()
        clouds.close()


def _clouds(folders: Folders, platform: Platform, rules: RulesInForce) -> CloudScanners:
    """Return the scanners of clouds' logs that lie in folders of this machine."""
    catalog, clock = platform.services.catalog, platform.adapters.clock

    def make(source: str) -> CloudScanner:
        return CloudScanner(source, folders.findings / f"scan-{source}.duckdb", rules, catalog.load, clock)

    def watch(folder: str) -> WatchedFolder:
        if folder.startswith("s3://"):
            why = "a platform on one machine reads folders of that machine, no buckets"
            raise ScannerUnavailableError(why, "Name a folder in findings.logs, or take this one out.")
        return WatchedFolder(Path(folder), clock)

    return CloudScanners(catalog.load, make, watch)


def scan_once(scanning: Scanning) -> bool:
    """Scan once; return whether it went well. Never raises: the next scan is due in any case."""
    try:
        taken = scanning.run()
    except (ScannerUnavailableError, StoreUnavailableError, AuditLogUnavailableError):
        _LOG.exception("the scan failed, it will be tried again")
        return False
    except Exception as error:  # noqa: BLE001 - the scan must go on, and it is told as failing
        _LOG.exception("the scan broke off: this is a fault of ours")
        try:
            scanning.failed(f"it broke off: {type(error).__name__}")
        except StoreUnavailableError:
            _LOG.exception("nor could that be written down")
        return False
    for finding in taken.opened:
        _LOG.warning("a finding was opened", extra={"finding": finding})
    return True
