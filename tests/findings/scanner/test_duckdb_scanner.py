"""The scanner over a real audit log: a decoy that is read becomes a firing, incrementally and from nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from doubles.clocks import START, FixedClock
from doubles.platforms import FakePlatform, team_cluster
from nightingale.adapters.duckdb_scanner import DuckDBScanner
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.contract.findings import Severity
from nightingale.contract.schemas import HoneypotsIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.finding import Hit
from nightingale.ports.audit_log import AuditEvent
from nightingale.ports.scanner import ScannerUnavailableError
from nightingale.services.scanning import Scanning
from nightingale_findings.compiled import CompiledRules
from nightingale_findings.rules import shipped

pytestmark = pytest.mark.slow  # a database in a file for each, and some compile the rules

DECOY = "patients/staff.csv"
ID = "i-0000000001"


@pytest.fixture(scope="module")
def rules() -> CompiledRules:
    return shipped()


def cluster_with_decoy() -> object:
    cluster = team_cluster()
    datasets = tuple(
        msgspec.structs.replace(one, honeypots=HoneypotsIn(paths=(DECOY,))) if one.name == "ct-demo" else one
        for one in cluster.datasets
    )
    return msgspec.structs.replace(cluster, datasets=datasets)


class Watched:
    """A platform on a real log, and the scanner beside it."""

    def __init__(self, folder: Path, rules: CompiledRules) -> None:
        self.folder = folder
        self.log = FileAuditLog(folder / "audit")
        self.platform = FakePlatform(cluster=cluster_with_decoy())  # type: ignore[arg-type]  # it is a ClusterIn
        self.rules = rules
        self.scanner = self.another()
        self._count = 0

    def another(self) -> DuckDBScanner:
        return DuckDBScanner(
            audit=self.folder / "audit",
            database=self.folder / "findings" / "scan.duckdb",
            rules=lambda: self.rules,
            cluster=self.platform.services.catalog.load,
            clock=FixedClock(START + timedelta(hours=1)),
        )

    def launch(self) -> None:
        detail = {"project": "brain", "tier": "2", "name": "scan"}
        self.log.append(AuditEvent(ID, START, AuditTag.INSTANCE_LAUNCH.value, "grace", ID, detail))

    def read(self, path: str, minute: float) -> None:
        self._count += 1
        detail = {
            "number": str(self._count),
            "dataset": "ct-demo",
            "version": "1",
            "path": path,
            "size": "1000",
            "bytes": "1000",
            "program": "/usr/bin/python3",
        }
        at = START + timedelta(minutes=minute)
        self.log.append(AuditEvent(f"reads-{ID}", at, AuditTag.DATASET_READ.value, "grace", ID, detail))

    def decoys(self) -> list[Hit]:
        return [one for one in self.scanner.scan().firings if one.rule.name == "honeypot_file"]


@pytest.fixture
def watched(tmp_path: Path, rules: CompiledRules) -> Iterator[Watched]:
    watched = Watched(tmp_path, rules)
    watched.launch()
    yield watched
    watched.scanner.close()


def test_a_decoy_that_is_read_fires_for_its_reader_and_instance(watched: Watched) -> None:
    watched.read("scan/1.dcm", 1)
    assert watched.decoys() == []
    watched.read(DECOY, 2)
    (found,) = watched.decoys()
    assert (found.person, found.instance, found.project) == ("grace", ID, "brain")
    assert found.rule.severity is Severity.CRITICAL
    assert found.events == (f"reads-{ID}/2",)
    assert found.first_seen == START + timedelta(minutes=2)


def test_what_is_appended_makes_the_firing_longer_and_nothing_is_read_twice(watched: Watched) -> None:
    watched.read(DECOY, 1)
    assert watched.scanner.scan().events_read == 2
    assert watched.scanner.scan().events_read == 0
    watched.read(DECOY, 5)
    scanned = watched.scanner.scan()
    assert scanned.events_read == 1
    (found,) = [one for one in scanned.firings if one.rule.name == "honeypot_file"]
    assert (found.event_count, found.last_seen) == (2, START + timedelta(minutes=5))


def test_a_new_process_and_a_lost_database_give_the_same_firings(watched: Watched) -> None:
    for minute in (1, 5, 200):
        watched.read(DECOY, minute)
    before = watched.decoys()
    assert len(before) == 2
    watched.scanner.close()
    watched.scanner = watched.another()
    assert watched.decoys() == before
    watched.scanner.close()
    shutil.rmtree(watched.folder / "findings")
    watched.scanner = watched.another()
    assert watched.decoys() == before


def test_firings_that_were_kept_come_again_only_longer_and_others_until_they_are(watched: Watched) -> None:
    watched.read(DECOY, 1)
    assert len(watched.decoys()) == 1
    assert len(watched.decoys()) == 1  # nobody said that it was kept: whoever took it may have died
    watched.scanner.kept()
    assert watched.decoys() == []
    watched.scanner.close()
    watched.scanner = watched.another()
    assert watched.decoys() == []
    watched.read(DECOY, 5)
    (longer,) = watched.decoys()
    assert (longer.event_count, longer.first_seen) == (2, START + timedelta(minutes=1))


def test_a_database_that_is_none_is_put_aside_and_made_anew(watched: Watched) -> None:
    watched.read(DECOY, 1)
    (watched.folder / "findings").mkdir()
    (watched.folder / "findings" / "scan.duckdb").write_bytes(b"x" * 5000)
    assert len(watched.decoys()) == 1
    assert (watched.folder / "findings" / "scan.duckdb.damaged").exists()


def test_a_line_that_is_no_record_is_counted_and_stops_nothing(watched: Watched) -> None:
    watched.read(DECOY, 1)
    (file,) = (watched.folder / "audit" / f"reads-{ID}").glob("*.jsonl")
    with file.open("ab") as lines:
        lines.write(b"this is no record\n")
    scanned = watched.scanner.scan()
    assert scanned.set_aside == 1
    assert "honeypot_file" in {one.rule.name for one in scanned.firings}


def test_a_log_that_cannot_be_read_is_said_and_the_next_scan_goes_on(watched: Watched) -> None:
    watched.read(DECOY, 1)
    moved = watched.folder / "elsewhere"
    (watched.folder / "audit").rename(moved)
    (watched.folder / "audit").write_text("a file, no folder")
    with pytest.raises(ScannerUnavailableError, match="could not be scanned"):
        watched.scanner.scan()
    (watched.folder / "audit").unlink()
    moved.rename(watched.folder / "audit")
    assert len(watched.decoys()) == 1


def test_no_rule_of_ours_fails_over_its_tables(watched: Watched) -> None:
    assert watched.scanner.scan().failed == ()


def test_from_a_read_to_an_open_finding_with_its_quarantine_under_way(watched: Watched) -> None:
    platform = watched.platform
    platform.launch(datasets=["ct-demo"])  # its id is the one in the log
    watched.read(DECOY, 2)
    services = platform.services
    scanning = Scanning(
        platform.store,
        platform.clock,
        watched.scanner,
        services.findings,
        services.responses,
        services.responses.notices,
    )
    for _ in range(2):
        scanning.run()
    found = platform.ask("list_findings", "hedy", query={"rule": "honeypot_file"})["findings"]
    assert [(one["severity"], one["person"], one["state"]) for one in found] == [("critical", "grace", "open")]
    assert {one["kind"]: one["state"] for one in found[0]["actions"]}["notify"] == "done"
    assert platform.ask("list_findings", "hedy")["scan"]["state"] == "ok"
