"""The scan in AWS: each run a process that may die anywhere; what was told of is scanned, once or again, never not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from doubles.aws import FakeQueue, FakeS3
from doubles.clocks import START, FixedClock
from doubles.platforms import FakePlatform, team_cluster
from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.duckdb_scanner import DuckDBScanner
from nightingale.adapters.s3_audit_log import S3AuditLog
from nightingale.adapters.s3_audit_mirror import AuditNotices, S3AuditMirror
from nightingale.adapters.s3_scanner import KeptFile, S3Scanner
from nightingale.adapters.system_ids import SystemIds
from nightingale.contract.schemas import HoneypotsIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import AuditEvent
from nightingale.ports.scanner import Scanned, ScannerUnavailableError
from nightingale_findings.compiled import CompiledRules
from nightingale_findings.rules import shipped

pytestmark = pytest.mark.slow  # a database in a file for each, and some compile the rules

DECOY = "patients/staff.csv"
ID = "i-0000000001"
STATE = "scan/state.duckdb"


@pytest.fixture(scope="module")
def rules() -> CompiledRules:
    return shipped()


class Account:
    """A bucket, its queue, and functions that scan, each with a disk of its own."""

    def __init__(self, folder: Path, rules: CompiledRules) -> None:
        cluster = team_cluster()
        datasets = [msgspec.structs.replace(one, honeypots=HoneypotsIn(paths=(DECOY,))) for one in cluster.datasets]
        self.folder, self.rules = folder, rules
        self.platform = FakePlatform(cluster=msgspec.structs.replace(cluster, datasets=tuple(datasets)))
        self.clock = FixedClock(START + timedelta(hours=1))
        self.s3, self.queue = FakeS3(self.clock), FakeQueue()
        self.log = S3AuditLog("bucket", ids=SystemIds(), client=self.s3)
        self._told: set[str] = set()
        self._count = 0
        detail = {"project": "brain", "tier": "2", "name": "scan"}
        self._append(AuditEvent(ID, START, AuditTag.INSTANCE_LAUNCH.value, "grace", ID, detail))

    def function(self, name: str) -> S3Scanner:
        """Return what a new process of the function has."""
        disk = self.folder / name
        inner = DuckDBScanner(
            audit=disk / "audit",
            database=disk / "state" / "scan.duckdb",
            rules=lambda: self.rules,
            cluster=self.platform.services.catalog.load,
            clock=self.clock,
            checks_chains=False,
        )
        return S3Scanner(
            AuditNotices("https://queue.invalid", client=self.queue),
            S3AuditMirror("bucket", inner.audit, inner.read_so_far, client=self.s3),
            KeptFile(LazyClient("s3", client=self.s3), "builds", STATE, inner.database),
            inner,
        )

    def read(self, path: str, minute: float) -> None:
        self._count += 1
        detail = {"number": str(self._count), "dataset": "ct-demo", "version": "1", "path": path, "bytes": "10"}
        at = START + timedelta(minutes=minute)
        self._append(AuditEvent(f"reads-{ID}", at, AuditTag.DATASET_READ.value, "grace", ID, detail))

    def _append(self, event: AuditEvent) -> None:
        self.log.append(event)
        for key in sorted(self.s3.objects):
            if key.endswith(".jsonl") and key not in self._told:
                self._told.add(key)
                self.queue.tell(key)


def run(function: S3Scanner) -> Scanned:
    """Scan as the job does, with firings that are kept."""
    scanned = function.scan()
    function.kept()
    return scanned


def decoys(scanned: Scanned) -> list[tuple[str, ...]]:
    return [one.events for one in scanned.firings if one.rule.name == "honeypot_file"]


@pytest.fixture
def account(tmp_path: Path, rules: CompiledRules) -> Iterator[Account]:
    yield Account(tmp_path, rules)
    shutil.rmtree(tmp_path)


def test_a_new_process_goes_on_where_the_last_one_was(account: Account) -> None:
    account.read(DECOY, 1)
    first = account.function("a")
    assert decoys(run(first)) == [(f"reads-{ID}/1",)]
    assert (run(first).events_read, run(first).firings) == (0, ())
    account.read("scan/1.dcm", 2)
    account.read(DECOY, 3)
    second = run(account.function("b"))
    assert second.events_read == 2
    assert decoys(second) == [(f"reads-{ID}/1", f"reads-{ID}/3")]
    assert not account.queue.bodies


def test_the_same_process_scans_what_comes_later(account: Account) -> None:
    function = account.function("a")
    run(function)
    account.read(DECOY, 1)
    assert decoys(run(function)) == [(f"reads-{ID}/1",)]
    account.read(DECOY, 2)
    assert decoys(run(function)) == [(f"reads-{ID}/1", f"reads-{ID}/2")]


def test_what_is_not_new_is_not_put_into_the_bucket_again(account: Account) -> None:
    function = account.function("a")
    run(function)
    before = account.s3.calls.count("PutObject")
    run(function)
    assert account.s3.calls.count("PutObject") == before


@pytest.mark.parametrize("has_new_process", [True, False], ids=["a new process", "the same process"])
def test_firings_that_could_not_be_kept_come_again(account: Account, has_new_process: bool) -> None:  # noqa: FBT001 - a case
    account.read(DECOY, 1)
    function = account.function("a")
    assert decoys(function.scan()) == [(f"reads-{ID}/1",)]  # and then the table was not to be reached
    account.queue.time_passes()
    assert decoys(run(account.function("b") if has_new_process else function)) == [(f"reads-{ID}/1",)]
    assert not account.queue.bodies


@pytest.mark.parametrize("way", ["refused", "reply lost"])
@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "ReceiveMessage", "DeleteMessageBatch"])
def test_a_run_that_breaks_off_is_made_good_by_the_next(account: Account, operation: str, way: str) -> None:
    function = account.function("a")
    run(function)
    account.read(DECOY, 1)
    found = []
    if way == "refused":
        account.s3.refuse(operation, "SlowDown")
        account.queue.refuse(operation, "Throttling")
    else:
        account.s3.lose_reply(operation)
        account.queue.lose_reply(operation)

    def goes_well(one: S3Scanner) -> bool:
        account.queue.time_passes()
        try:
            scanned = one.scan()
            found.extend(decoys(scanned))
            one.kept()
        except ScannerUnavailableError:
            return False
        return True

    assert not goes_well(function)
    account.read(DECOY, 2)
    other = account.function("b")
    went = [goes_well(one) for one in (function, other, function, other)]
    assert went[-2:] == [True, True]
    assert found[-1] == (f"reads-{ID}/1", f"reads-{ID}/2")
    assert not account.queue.bodies


def test_of_two_that_scan_at_once_the_later_one_begins_anew(account: Account) -> None:
    one, other = account.function("a"), account.function("b")
    run(one)
    run(other)
    account.read(DECOY, 1)
    run(other)
    account.read(DECOY, 2)
    one.scan()
    with pytest.raises(ScannerUnavailableError, match="two scans run at once"):
        one.kept()
    account.queue.time_passes()
    assert decoys(run(one)) == [(f"reads-{ID}/1", f"reads-{ID}/2")]


def test_a_database_that_is_damaged_in_the_bucket_is_no_reason_to_stay_silent(account: Account) -> None:
    run(account.function("a"))
    body, at, metadata = account.s3.objects[STATE]
    account.s3.objects[STATE] = (b"\0" * len(body), at, metadata)
    account.read(DECOY, 1)
    assert decoys(run(account.function("b"))) == [(f"reads-{ID}/1",)]
