"""A record that is missing, changed, moved or cut off becomes a derived event; an honest log never makes one."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from doubles.own_events import SCAN, OwnLog, rows
from nightingale_findings.producers import chain, produce
from nightingale_findings.producers.derived import create_tables
from nightingale_findings.sources import own_log


@pytest.fixture
def connection():
    with duckdb.connect() as made:
        create_tables(made)
        yield made


@pytest.fixture
def log(tmp_path: Path) -> OwnLog:
    made = OwnLog(tmp_path / "audit")
    made.launch()
    for number in range(12):
        made.denied(number * 400)  # over two hours, a file each
    return made


def breaks(connection: duckdb.DuckDBPyConnection, log: OwnLog, *, is_full: bool = False) -> list[tuple[str, int]]:
    if is_full:
        chain.produce(connection, log.root, 99, is_full=True)
    produce(connection, log.root)
    found = rows(
        connection, "SELECT subject, value FROM nightingale_derived WHERE kind = 'chain_broken' ORDER BY value"
    )
    return [(one["subject"], int(one["value"])) for one in found]


def lines(log: OwnLog) -> list[bytes]:
    return log.file("platform").read_bytes().splitlines(keepends=True)


def test_a_log_that_grows_is_whole_at_every_look(connection, log):
    for number in range(3):
        assert breaks(connection, log) == []
        log.denied(8000 + number * 3000)
    (log.root / "platform/.torn").write_bytes(b"x")
    newest = max((log.root / "platform").glob("*.jsonl"))
    with newest.open("ab") as file:
        file.write(b'{"torn')
    assert breaks(connection, log) == []
    log.denied(30_000)  # sets the torn end aside, and says so
    assert breaks(connection, log, is_full=True) == []


@pytest.mark.parametrize(
    ("damage", "is_seen_before"),
    [
        (lambda those: [*those[:3], *those[4:]], False),
        (lambda those: [*those[:3], those[4], those[3], *those[5:]], True),
        (lambda those: [*those[:3], those[3].replace(b"192.0.2.7", b"192.0.2.8"), *those[4:]], True),
        (lambda those: [*those[:3], b"{}\n", *those[4:]], True),
        (lambda those: [*those[:3], those[3].replace(b'{"actor"', b'{ "actor"'), *those[4:]], True),
    ],
    ids=["missing", "moved", "changed", "no record", "written otherwise"],
)
def test_tampering_is_told_by_the_first_record_that_does_not_hold(connection, log, damage, is_seen_before):
    if is_seen_before:
        assert breaks(connection, log) == []
    log.file("platform").write_bytes(b"".join(damage(lines(log))))
    found = breaks(connection, log)
    assert min(number for _, number in found if number) == 4
    assert ("platform", 0) in found or not is_seen_before
    assert {stream for stream, _ in found} == {"platform"}
    assert breaks(connection, log) == found  # told once


def test_a_log_whose_end_was_cut_off_is_told_by_its_head(connection, log):
    newest = max((log.root / "platform").glob("*.jsonl"))
    newest.write_bytes(b"".join(newest.read_bytes().splitlines(keepends=True)[:-1]))
    assert breaks(connection, log) == [("platform", 12)]


def test_a_file_that_was_taken_away_is_told(connection, log):
    assert breaks(connection, log) == []
    log.file("platform").unlink()
    assert ("platform", 0) in breaks(connection, log)


def test_a_change_that_hides_its_time_is_found_by_a_full_look(connection, log):
    assert breaks(connection, log) == []
    file = max((log.root / "platform").glob("*.jsonl"))  # the newest: its size and time change with each record
    before = file.stat()
    file.write_bytes(file.read_bytes().replace(b"192.0.2.7", b"192.0.2.8"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert breaks(connection, log) == []
    assert breaks(connection, log, is_full=True)


def test_a_break_in_an_instances_stream_names_its_owner(connection, log):
    log.read("a.dcm")
    log.read("b.dcm")
    own_log.load(connection, log.root)
    file = log.file(f"reads-{SCAN}")
    file.write_bytes(file.read_bytes().replace(b"a.dcm", b"z.dcm"))
    produce(connection, log.root)
    (found,) = rows(connection, "SELECT person, instance, project FROM nightingale_derived WHERE kind = 'chain_broken'")
    assert found == {"person": "grace", "instance": SCAN, "project": "brain"}
