"""Clouds' logs that a cluster file names: what is new in a folder becomes findings, whatever befalls the others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from doubles.clocks import START, FixedClock
from doubles.cloud_logs import OPERATOR, delivered, trail_event
from doubles.clusters import apply_cluster
from doubles.platforms import FakePlatform, team_cluster
from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.cloud_scanner import CloudScanner
from nightingale.adapters.current_rules import RulesInForce
from nightingale.adapters.every_scanner import CloudScanners, EveryScanner
from nightingale.adapters.s3_scanner import KeptFile, OvertakenError
from nightingale.adapters.watched_folders import WatchedFolder
from nightingale.contract.schemas import CloudLogIn, FindingsIn, HoneypotsIn
from nightingale.ports.scanner import Scanned
from nightingale_findings.compiled import CompiledRules
from nightingale_findings.rules import shipped
from nightingale_findings.sigma import compile_rules
from nightingale_findings.sigma.known import every_source

pytestmark = pytest.mark.slow  # a database in a file for each, and 208 rules

DECOY_KEY = "AKIADECOYDECOY234567"
RULES = shipped()


HOLDS = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


class Overtaken(KeptFile):
    """A file in a bucket that another process puts a newer one over."""

    def fetch(self) -> None:
        """Leave what is here."""

    def keep(self) -> None:
        """Come too late."""
        raise OvertakenError(self.key)


class Quiet:
    """A platform's own log with nothing in it."""

    def scan(self) -> Scanned:
        return Scanned(firings=(), events_read=0, set_aside=0, through=None)

    def kept(self) -> None:
        pass


class Clouds:
    """A platform that watches CloudTrail in a folder, and S3's access log in another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trail, self.access = folder / "trail", folder / "access"
        for one in (self.trail, self.access):
            one.mkdir()
        self.clock = FixedClock(START + timedelta(hours=1))
        self.rules = RULES
        logs = (
            CloudLogIn(source="cloudtrail", folder=str(self.trail)),
            CloudLogIn(source="s3_access", folder=str(self.access)),
        )
        cluster = team_cluster()
        datasets = [msgspec.structs.replace(one, honeypots=HoneypotsIn(keys=(DECOY_KEY,))) for one in cluster.datasets]
        self.platform = FakePlatform(
            cluster=msgspec.structs.replace(cluster, datasets=tuple(datasets), findings=FindingsIn(logs=logs))
        )
        self.scanner = self.another()

    def another(self) -> EveryScanner:
        """Return what a new process has."""
        load = self.platform.services.catalog.load

        def make(source: str) -> CloudScanner:
            database = self.folder / "findings" / f"scan-{source}.duckdb"
            return CloudScanner(source, database, self._rules, load, self.clock)

        return EveryScanner(Quiet(), CloudScanners(load, make, lambda folder: WatchedFolder(Path(folder), self.clock)))

    def _rules(self) -> CompiledRules:
        return self.rules

    def deliver(self, name: str, *events: object, written: timedelta = timedelta(minutes=1)) -> Path:
        """Put a file of CloudTrail there that was written so long ago."""
        path = self.trail / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(delivered(*events))
        at = (self.clock.now() - written).timestamp()
        os.utime(path, (at, at))
        return path

    def names(self, scanned: Scanned) -> list[str]:
        return [hit.rule.name for hit in scanned.firings]


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[Clouds]:
    clouds = Clouds(tmp_path)
    yield clouds
    clouds.scanner.clouds.close()


def stopped(event_id: str, minute: float = 0) -> object:
    return trail_event(event_id, "StopLogging", START + timedelta(minutes=minute))


def test_a_file_that_is_delivered_is_scanned_once_and_what_is_new_makes_the_firing_longer(clouds: Clouds) -> None:
    clouds.deliver("eu/2026/a.json.gz", stopped("e-1"))
    scanned = clouds.scanner.scan()
    (hit,) = [one for one in scanned.firings if "e-1" in one.events and one.rule.techniques]
    assert (scanned.events_read, hit.person) == (1, OPERATOR)
    clouds.scanner.kept()
    assert clouds.scanner.scan().firings == ()
    clouds.deliver("us/2026/b.json.gz", stopped("e-2", 1))
    again = clouds.scanner.scan()
    assert again.events_read == 1
    assert [one.events for one in again.firings if one.rule.id == hit.rule.id] == [("e-1", "e-2")]


def test_a_new_process_goes_on_where_the_last_one_was_and_tells_again_what_was_not_kept(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"))
    first = clouds.scanner.scan()
    clouds.scanner.clouds.close()  # it ends before the findings are kept
    clouds.scanner = clouds.another()
    again = clouds.scanner.scan()
    assert (again.events_read, clouds.names(again)) == (0, clouds.names(first))
    clouds.scanner.kept()
    clouds.scanner.clouds.close()
    clouds.scanner = clouds.another()
    assert clouds.scanner.scan().firings == ()


def test_a_file_that_grew_is_read_again_and_its_events_count_once(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"))
    clouds.scanner.scan()
    clouds.scanner.kept()
    clouds.deliver("a.json.gz", stopped("e-1"), stopped("e-2", 1))
    scanned = clouds.scanner.scan()
    assert scanned.events_read == 1
    assert {one.events for one in scanned.firings} == {("e-1", "e-2")}


def test_a_file_that_is_being_written_is_left_for_later_but_not_for_good(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"), written=timedelta(seconds=1))
    assert clouds.scanner.scan().events_read == 0
    clouds.clock.advance(timedelta(seconds=29))
    clouds.deliver("a.json.gz", stopped("e-1"), written=timedelta(seconds=1))
    assert clouds.scanner.scan().events_read == 0
    clouds.clock.advance(timedelta(seconds=2))
    clouds.deliver("a.json.gz", stopped("e-1"), written=timedelta(seconds=1))
    assert clouds.scanner.scan().events_read == 1


def test_a_decoy_key_that_is_used_in_the_account_is_found(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", trail_event("e-1", "GetCallerIdentity", START, key=DECOY_KEY))
    assert "honeypot_credential_cloud" in clouds.names(clouds.scanner.scan())


def test_a_folder_that_is_not_there_is_told_and_the_other_logs_are_scanned(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"))
    clouds.access.rmdir()
    scanned = clouds.scanner.scan()
    assert scanned.firings
    assert [(one.source, one.log, one.why) for one in scanned.logs] == [
        ("cloudtrail", str(clouds.trail), ""),
        ("s3_access", str(clouds.access), "there is no such folder"),
    ]
    assert scanned.logs[1].next_step.startswith("Make the folder")
    clouds.access.mkdir()
    assert [one.why for one in clouds.scanner.scan().logs] == ["", ""]


def test_a_database_that_another_process_holds_is_told_of_its_source_alone(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"))
    clouds.scanner.scan()
    clouds.scanner.kept()
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(clouds.folder / "findings" / "scan-cloudtrail.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        clouds.deliver("b.json.gz", stopped("e-2", 1))
        logs = clouds.scanner.scan().logs
        held.communicate()
    assert [(one.source, bool(one.why)) for one in logs] == [("cloudtrail", True), ("s3_access", False)]
    assert clouds.scanner.scan().events_read == 1


def test_firings_that_could_not_be_noted_as_kept_are_told_of_their_source_and_come_again(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"))
    first = clouds.scanner.scan()
    trail = clouds.scanner.clouds._scanners["cloudtrail"]
    trail.kept_file = Overtaken(LazyClient("s3", client=None), "builds", "scan/cloudtrail.duckdb", trail.database)
    clouds.scanner.kept()
    trail.kept_file = None
    again = clouds.scanner.scan()
    assert [("two scans run at once" in one.why) for one in again.logs] == [True, False]
    assert again.through == first.through
    clouds.scanner.kept()
    assert [one.why for one in clouds.scanner.scan().logs] == ["", ""]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account")
def test_a_folder_that_may_not_be_read_is_told_and_nothing_in_it_is_forgotten() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        closed = Path(name, "2026")
        closed.mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            with (
                pytest.raises(PermissionError),
                WatchedFolder(Path(name), FixedClock()).bring({"2026/a.json.gz": "1"}),
            ):
                pass
        finally:
            os.seteuid(0)


def test_lines_that_are_no_events_are_counted_and_harm_nothing(clouds: Clouds) -> None:
    path = clouds.deliver("a.json", stopped("e-1"))
    path.write_bytes(b'{"Records": [{"eventName": "X"}, 7, {"eventName": ["' + b"\xff" * 10)
    clouds.clock.advance(timedelta(minutes=1))
    clouds.deliver("b.json.gz", stopped("e-2"))
    scanned = clouds.scanner.scan()
    assert scanned.events_read == 1
    assert scanned.set_aside >= 1


def test_a_damaged_database_is_made_anew_from_the_files(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"))
    before = clouds.names(clouds.scanner.scan())
    clouds.scanner.kept()
    (clouds.folder / "findings" / "scan-cloudtrail.duckdb").write_bytes(b"no database" * 1000)
    clouds.scanner = clouds.another()
    assert clouds.names(clouds.scanner.scan()) == before


def test_other_rules_are_asked_about_the_events_that_are_there(clouds: Clouds) -> None:
    clouds.deliver("a.json.gz", stopped("e-1"))
    clouds.rules = CompiledRules(digest="none", rules=())
    assert clouds.scanner.scan().firings == ()
    clouds.scanner.kept()
    clouds.rules = RULES
    assert clouds.scanner.scan().firings


def test_a_rule_of_the_organisation_finds_in_a_clouds_log_by_its_authors_name(clouds: Clouds) -> None:
    text = """
title: A trail was described
id: 6f1f2c0a-4f0e-4d63-9f39-0a4b9a1d5c11
author: Security of the clinic
level: medium
logsource: {product: aws, service: cloudtrail}
detection:
  asked: {eventSource: cloudtrail.amazonaws.com, eventName: DescribeTrails}
  condition: asked
"""
    own = compile_rules({"described.yml": text}, every_source(), origin="organisation")
    logs = clouds.platform.services.catalog.load().findings.logs
    findings = FindingsIn(rules=("./sigma",), rules_digest="0" * 64, logs=logs)
    clouds.rules = RulesInForce(
        lambda: replace(clouds.platform.services.catalog.load(), findings=findings), lambda _: own.rules
    )()
    clouds.deliver("a.json.gz", trail_event("e-1", "DescribeTrails", START))
    found = [hit.rule for hit in clouds.scanner.scan().firings if hit.rule.origin == "organisation"]
    assert [(rule.title, rule.author) for rule in found] == [("A trail was described", "Security of the clinic")]


def test_a_log_that_left_the_cluster_file_is_no_longer_read(clouds: Clouds) -> None:
    cluster = clouds.platform.services.catalog.load
    assert {one.source for one in cluster().findings.logs} == {"cloudtrail", "s3_access"}
    apply_cluster(clouds.platform.store, msgspec.structs.replace(team_cluster(), findings=None))
    clouds.clock.advance(timedelta(minutes=5))  # the platform reads its cluster anew now and then
    clouds.deliver("a.json.gz", stopped("e-1"))
    assert clouds.scanner.scan().events_read == 0


def test_the_state_of_the_scan_says_which_log_cannot_be_read(clouds: Clouds) -> None:
    clouds.access.rmdir()
    scanning = clouds.platform.made.scanning(clouds.scanner)
    clouds.deliver("a.json.gz", stopped("e-1"))
    assert scanning.run().opened
    told = clouds.platform.ask("list_findings", "hedy")["scan"]
    assert (told["state"], told["events_read"]) == ("partial", 1)
    assert told["words"] == (
        f"The S3 access log of {clouds.access} has not been read yet: there is no such folder. Make the folder, or "
        "take it out of findings.logs of the cluster file. It is tried again at each scan. Everything else is scanned."
    )
    assert [(one["source"], one["state"]) for one in told["sources"]] == [
        ("nightingale", "ok"),
        ("cloudtrail", "ok"),
        ("s3_access", "failing"),
    ]
