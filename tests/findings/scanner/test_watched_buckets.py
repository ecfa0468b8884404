"""A cloud's log in a bucket: each new object is read once, old days are not listed, a run that dies loses nothing."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from doubles.aws import FakeS3
from doubles.clocks import START, FixedClock
from doubles.cloud_logs import delivered, trail_event
from doubles.platforms import FakePlatform, team_cluster
from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.cloud_scanner import CloudScanner
from nightingale.adapters.s3_scanner import KeptFile
from nightingale.adapters.watched_buckets import WatchedBucket, is_before, on_day
from nightingale.adapters.watched_folders import MOST_BYTES, MOST_FILES
from nightingale.contract.schemas import CloudLogIn, FindingsIn
from nightingale.ports.scanner import ScannerUnavailableError
from nightingale_findings.rules import shipped

RULES = shipped()
LOG = "s3://trails/AWSLogs"


class Account:
    """A bucket with CloudTrail's files, and functions that scan them, each with a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FixedClock(START + timedelta(hours=1))
        self.s3 = FakeS3(self.clock)
        self.bucket = WatchedBucket(LOG, LazyClient("s3", client=self.s3), self.clock)
        logs = FindingsIn(logs=(CloudLogIn(source="cloudtrail", folder=LOG),))
        self.platform = FakePlatform(cluster=msgspec.structs.replace(team_cluster(), findings=logs))

    def deliver(self, name: str, *events: object) -> None:
        self.s3.put_object(Bucket="trails", Key=f"AWSLogs/{name}", Body=delivered(*events))

    def today(self, name: str) -> str:
        return f"111122223333/CloudTrail/eu-central-1/{START:%Y/%m/%d}/{name}"

    def new(self, known: dict[str, str] | None = None) -> list[str]:
        with self.bucket.bring(known or {}) as brought:
            return [file.name for file in brought.files]

    def function(self, name: str) -> CloudScanner:
        """Return what a new process of the function has."""
        database = self.folder / name / "scan-cloudtrail.duckdb"
        kept = KeptFile(LazyClient("s3", client=self.s3), "builds", "scan/cloudtrail.duckdb", database)
        load = self.platform.services.catalog.load
        return CloudScanner("cloudtrail", database, lambda: RULES, load, self.clock, kept)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def stopped(event_id: str) -> object:
    return trail_event(event_id, "StopLogging", START)


def test_objects_of_the_last_days_are_brought_by_when_they_came(account: Account) -> None:
    account.deliver(account.today("b.json.gz"), stopped("e-1"))
    account.clock.advance(60)
    account.deliver(account.today("a.json.gz"), stopped("e-2"))
    account.deliver("111122223333/CloudTrail/eu-central-1/2025/01/01/old.json.gz", stopped("e-0"))
    account.deliver(account.today("x").replace("/CloudTrail/", "/CloudTrail-Digest/"), stopped("e-3"))
    assert account.new() == [account.today("b.json.gz"), account.today("a.json.gz")]


def test_what_is_known_is_not_brought_again_unless_it_changed_and_what_is_gone_is_told(account: Account) -> None:
    name = account.today("a.json.gz")
    account.deliver(name, stopped("e-1"))
    with account.bucket.bring({"gone": "1"}) as brought:
        (file,) = brought.files
        assert file.path.read_bytes().startswith(b"\x1f\x8b")
        assert brought.gone == {"gone"}
    assert not file.path.exists()
    assert account.new({name: file.mark}) == []
    account.deliver(name, stopped("e-1"), stopped("e-2"))
    assert account.new({name: file.mark}) == [name]


def test_between_two_walks_only_folders_of_today_are_looked_at(account: Account) -> None:
    account.deliver(account.today("a.json.gz"), stopped("e-1"))
    yesterday = START - timedelta(days=1)
    account.deliver(f"111122223333/CloudTrail/eu-central-1/{yesterday:%Y/%m/%d}/late.json.gz", stopped("e-0"))
    with account.bucket.bring({}) as brought:
        known = {file.name: file.mark for file in brought.files}
    walk = account.s3.calls.count("ListObjectsV2")
    account.deliver(account.today("b.json.gz"), stopped("e-2"))
    account.deliver(f"111122223333/CloudTrail/eu-central-1/{yesterday:%Y/%m/%d}/later.json.gz", stopped("e-3"))
    account.clock.advance(60)
    with account.bucket.bring(known) as brought:
        assert [file.name for file in brought.files] == [account.today("b.json.gz")]
        known |= {file.name: file.mark for file in brought.files}
        assert brought.gone == frozenset()
    assert account.s3.calls.count("ListObjectsV2") - walk < walk
    # At midnight the day's folder is another; what came late to an old one is found by the next walk.
    tomorrow = START + timedelta(days=1)
    account.clock.set(tomorrow.replace(hour=0, minute=5))
    account.bucket._walked_at = account.clock.now()
    account.deliver(f"111122223333/CloudTrail/eu-central-1/{tomorrow:%Y/%m/%d}/c.json.gz", stopped("e-4"))
    assert [name[-9:] for name in account.new(known)] == ["c.json.gz"]
    account.clock.advance(timedelta(minutes=11))
    assert {name.rpartition("/")[2] for name in account.new(known)} == {"later.json.gz", "c.json.gz"}


def test_access_logs_that_are_named_by_their_time_are_listed_from_there_on(account: Account) -> None:
    for day in ("2020-01-01", f"{START:%Y-%m-%d}"):
        account.s3.put_object(Bucket="trails", Key=f"AWSLogs/{day}-10-00-00-ABCD", Body=b"")
    assert account.new() == [f"{START:%Y-%m-%d}-10-00-00-ABCD"]


@pytest.mark.parametrize(
    ("folder", "is_old"),
    [
        ("a/2025/", True),
        ("a/2026/10/", True),
        ("a/2026/11/", False),
        ("a/2026/11/19/", True),
        ("a/2026/11/20/", False),
        ("a/2026/11/20/05/", False),
        ("a/2027/01/", False),
        ("y=2026/m=11/d=19/h=05/m=00/", True),
        ("y=2026/m=11/d=20/h=05/m=00/", False),
        ("year=2026/month=10/", True),
        ("111122223333/", False),
        ("2026/logs/", False),
        ("", False),
    ],
)
def test_folders_by_date_are_told_from_others(folder, is_old):
    assert is_before(folder, date(2026, 11, 20)) is is_old


@pytest.mark.parametrize(
    ("folder", "today"),
    [
        ("AWSLogs/1/CloudTrail/eu/2026/11/19/", "AWSLogs/1/CloudTrail/eu/2027/01/02/"),
        ("y=2026/m=11/d=19/h=05/m=00/", "y=2027/m=01/d=02/h=05/m=00/"),
        ("logs/2026/", "logs/2026/"),
        ("plain/", "plain/"),
        ("", ""),
    ],
)
def test_a_folder_by_date_has_one_for_each_day(folder: str, today: str) -> None:
    assert on_day(folder, date(2027, 1, 2)) == today


@pytest.mark.slow
def test_a_run_that_dies_before_it_has_kept_its_findings_tells_them_again(account: Account) -> None:
    account.deliver(account.today("a.json.gz"), stopped("e-1"))
    first = account.function("first").scan([account.bucket])
    assert first.firings
    second = account.function("second")
    again = second.scan([account.bucket])
    assert again.firings == first.firings
    second.kept()
    third = account.function("third")
    assert third.scan([account.bucket]).firings == ()
    account.deliver(account.today("b.json.gz"), stopped("e-2"))
    assert [one.events for one in third.scan([account.bucket]).firings] == [("e-1", "e-2")]


@pytest.mark.slow
def test_of_two_runs_at_once_one_gives_way_and_reads_anew(account: Account) -> None:
    account.deliver(account.today("a.json.gz"), stopped("e-1"))
    one, other = account.function("one"), account.function("other")
    one.scan([account.bucket])
    other.scan([account.bucket])
    one.kept()
    with pytest.raises(ScannerUnavailableError, match="two scans run at once"):
        other.kept()
    assert other.scan([account.bucket]).firings == ()


@pytest.mark.slow
def test_a_bucket_that_may_not_be_read_is_told_and_read_later(account: Account) -> None:
    account.deliver(account.today("a.json.gz"), stopped("e-1"))
    function = account.function("one")
    account.s3.refuse("ListObjectsV2", "AccessDenied")
    (log,) = function.scan([account.bucket]).logs
    assert (log.source, log.log) == ("cloudtrail", LOG)
    assert "AccessDenied" in log.why
    again = function.scan([account.bucket])
    assert again.firings
    assert [one.why for one in again.logs] == [""]


@pytest.mark.slow
def test_what_does_not_fit_into_one_scan_waits_and_is_counted(account: Account) -> None:
    yesterday = f"111122223333/CloudTrail/eu-central-1/{START - timedelta(days=1):%Y/%m/%d}"
    for number in range(MOST_FILES + 1):
        account.deliver(f"{yesterday}/{number}.gz")
    with account.bucket.bring({}) as brought:
        assert (len(brought.files), brought.waiting) == (MOST_FILES, 1)
        known = {file.name: file.mark for file in brought.files}
    account.clock.advance(60)
    with account.bucket.bring(known) as brought:  # though it lies in the folder of another day
        assert (len(brought.files), brought.waiting) == (1, 0)


@pytest.mark.slow
def test_an_object_that_is_too_large_is_not_brought_and_is_named_once(account: Account) -> None:
    account.deliver(account.today("a.json.gz"), stopped("e-1"))
    account.s3.put_object(Bucket="trails", Key=f"AWSLogs/{account.today('b.json')}", Body=b" " * (MOST_BYTES + 1))
    function = account.function("one")
    scanned = function.scan([account.bucket])
    (log,) = scanned.logs
    assert scanned.events_read == 1
    assert log.left_out == (f"{account.today('b.json')}: it is larger than a scan can bring",)
    function.kept()
    (log,) = account.function("two").scan([account.bucket]).logs
    assert (log.left_out, log.waiting) == ((), 0)
