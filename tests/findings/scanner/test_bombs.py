"""Files that hold more than they seem to, in a log that is watched: they fill no disk, are named, and hide nothing."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from doubles.clocks import START, FixedClock
from doubles.cloud_logs import delivered, trail_event
from doubles.platforms import FakePlatform
from nightingale.adapters.cloud_scanner import CloudScanner, watched_unpacking
from nightingale.adapters.watched_folders import WatchedFolder
from nightingale.ports.scanner import LogScanned, Scanned
from nightingale_findings.rules import shipped
from nightingale_findings.sources import s3_access
from nightingale_findings.sources.reading import Unpacking, chunks_of
from nightingale_findings.sources.set_aside import Asides

MIB = 1 << 20
RULES = shipped()


def bomb(mib: int, first: bytes = b"") -> bytes:
    """Return gzip of some MiB of blanks: a thousandth of it."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(first)
        for _ in range(mib):
            file.write(b" " * MIB)
    return packed.getvalue()


def read(path: Path, unpacking: Unpacking) -> tuple[int, list[str]]:
    asides = Asides()
    size = sum(len(chunk) for chunk in chunks_of(path, asides, unpacking))
    return size, [one.why for one in asides.told]


def test_a_bomb_ends_at_the_bound_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb(64))
    assert path.stat().st_size < 64 * 1024 + 4096
    by_size, by_ratio = Unpacking(most=8 * MIB), Unpacking(ratio=100)
    size, told = read(path, by_size)
    assert size <= 8 * MIB
    assert told == ["unzips to more than 8 MiB; the rest is left out"]
    size, told = read(path, by_ratio)
    assert size <= 16 * MIB
    assert told == ["unzips to more than 100 times its size and 16 MiB; the rest is left out"]
    assert [path for path, _ in by_ratio.over] == [path]


def test_many_members_of_one_file_are_bounded_together(tmp_path: Path) -> None:
    path = tmp_path / "members.gz"
    path.write_bytes(bomb(4) * 16)
    size, told = read(path, Unpacking(most=8 * MIB))
    assert size <= 8 * MIB
    assert len(told) == 1


def test_a_small_file_that_repeats_itself_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "honest.gz"
    path.write_bytes(bomb(8))
    assert read(path, watched_unpacking()) == (8 * MIB, [])


def test_of_many_files_those_beyond_the_total_are_left_for_the_next_load(tmp_path: Path) -> None:
    import duckdb  # noqa: PLC0415 - this test alone

    for name in "abc":
        (tmp_path / f"{name}.gz").write_bytes(bomb(6))
    unpacking = Unpacking(total=7 * MIB)
    with duckdb.connect() as connection:
        s3_access.load(connection, [tmp_path], unpacking=unpacking)
    assert {path.name for path in unpacking.left} == {"c.gz"}


class Watched:
    """A folder of CloudTrail that is watched, within small bounds."""

    def __init__(self, folder: Path, total: int) -> None:
        self.clock = FixedClock(START + timedelta(hours=1))
        self.folder = folder / "trail"
        self.folder.mkdir()
        self.log = WatchedFolder(self.folder, self.clock)
        load = FakePlatform().services.catalog.load
        self.scanner = CloudScanner(
            *("cloudtrail", folder / "findings" / "scan.duckdb", lambda: RULES, load, self.clock),
            unpacking=lambda: Unpacking(most=20 * MIB, ratio=100, total=total),
        )

    def scan(self) -> tuple[Scanned, LogScanned]:
        self.clock.advance(timedelta(days=1000))  # what lies there was not written just now
        scanned = self.scanner.scan([self.log])
        self.scanner.kept()
        (log,) = scanned.logs
        return scanned, log


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path, 20 * MIB)
    yield watched
    watched.scanner.close()


def stopped(event_id: str) -> Any:
    return trail_event(event_id, "StopLogging", START)


@pytest.mark.slow
def test_a_bomb_in_a_watched_log_is_named_and_the_others_are_read(watched: Watched) -> None:
    hidden = msgspec.json.encode(stopped("e-before")) + b"\n"
    (watched.folder / "a-bomb.json.gz").write_bytes(bomb(128, hidden))
    (watched.folder / "b.json.gz").write_bytes(delivered(stopped("e-1")))
    before = disk_of(watched)
    scanned, log = watched.scan()
    assert log.left_out == ("a-bomb.json.gz: it unzips to more than 100 times its size and 16 MiB",)
    assert scanned.set_aside >= 1
    assert disk_of(watched) - before < 20 * MIB
    again, log = watched.scan()
    assert (log.waiting, log.left_out) == (0, ())
    assert scanned.events_read + again.events_read == 2  # what stands before the bomb in its own file is not hidden


@pytest.mark.slow
def test_what_a_bomb_leaves_no_room_for_is_read_by_the_next_scan(watched: Watched) -> None:
    for name in ("a", "b"):
        (watched.folder / f"{name}.json.gz").write_bytes(bomb(64))
    (watched.folder / "c.json.gz").write_bytes(delivered(stopped("e-1")))
    scans = [watched.scan() for _ in range(3)]
    assert [(log.waiting, len(log.left_out)) for _, log in scans] == [(1, 2), (0, 0), (0, 0)]
    assert [scanned.events_read for scanned, _ in scans] == [0, 1, 0]


def disk_of(watched: Watched) -> int:
    folder = watched.scanner.database.parent
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
