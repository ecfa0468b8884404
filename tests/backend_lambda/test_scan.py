"""The scan's loop on one machine: whatever goes wrong is told, and the next scan comes."""

from __future__ import annotations

from doubles.firings import FakeScanner, hit
from doubles.platforms import FakePlatform
from nightingale.ports.scanner import Scanned
from nightingale.services.scanning import Scanning
from nightingale_local.scan import scan_once


class BrokenScanner:
    """A scanner with a fault of ours in it."""

    def scan(self) -> Scanned:
        """Fail as a programmer's mistake does."""
        message = "patients/mueller.dcm"
        raise KeyError(message)

    def kept(self) -> None:
        """Never called: no scan comes to it."""
        raise AssertionError


def scanning(platform: FakePlatform, scanner: FakeScanner | BrokenScanner) -> Scanning:
    return platform.made.scanning(scanner)


def test_a_scan_that_goes_well_opens_findings() -> None:
    platform = FakePlatform()
    assert scan_once(scanning(platform, FakeScanner((hit(),))))
    assert len(platform.ask("list_findings", "hedy")["findings"]) == 1
    assert platform.ask("get_health", None)["scan"] == "ok"


def test_logs_that_cannot_be_read_make_health_say_so_and_the_next_scan_mends_it() -> None:
    platform = FakePlatform()
    scanner = FakeScanner(trouble="the disk is gone")
    assert not scan_once(scanning(platform, scanner))
    assert platform.ask("get_health", None)["scan"] == "failing"
    scanner.trouble = ""
    assert scan_once(scanning(platform, scanner))
    assert platform.ask("get_health", None)["scan"] == "ok"


def test_a_fault_of_ours_is_told_without_what_was_in_it() -> None:
    platform = FakePlatform()
    assert not scan_once(scanning(platform, BrokenScanner()))
    scan = platform.ask("list_findings", "hedy")["scan"]
    assert (scan["state"], scan["words"]) == ("failing", "it broke off: KeyError")


def test_an_audit_log_that_is_full_stops_no_scan_for_good() -> None:
    platform = FakePlatform()
    platform.audit.break_down()
    assert not scan_once(scanning(platform, FakeScanner((hit(),))))
    platform.audit.mend()
    assert scan_once(scanning(platform, FakeScanner((hit(),))))
    assert len(platform.ask("list_findings", "hedy")["findings"]) == 1
