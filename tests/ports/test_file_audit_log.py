"""The file audit log: one unbroken chain whoever writes, whatever crashes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from doubles import FixedClock, MemoryAuditLog
from nightingale.adapters.file_audit_log import REPAIRED_TAG, FileAuditLog
from nightingale.contract.canonical import GENESIS, chain_hash
from nightingale.ports.audit_log import AuditEvent, AuditLog, AuditLogUnavailableError
from ports.audit_facts import STREAM, event, fill, records

# --- append and read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_facts_come_back_numbered_and_chained(log: FileAuditLog, clock: FixedClock, kind: str) -> None:
    either: AuditLog = log if kind == "file" else MemoryAuditLog()
    sealed = [either.append(event(clock.now(), number)) for number in range(5)]
    assert [one.seq for one in sealed] == [1, 2, 3, 4, 5]
    assert [one.prev for one in sealed] == [GENESIS, *(one.hash for one in sealed[:-1])]
    assert either.read(STREAM, 0, 100) == tuple(sealed)
    assert either.read(STREAM, 2, 2) == tuple(sealed[2:4])
    assert either.read(STREAM, 5, 100) == either.read(STREAM, 99, 1) == either.read(STREAM, 0, 0) == ()
    assert either.read("nobody", 0, 100) == ()
    assert either.verify(STREAM) is None
    assert either.verify("nobody") is None


def test_a_line_is_json_that_anyone_can_check(log: FileAuditLog, folder: Path, clock: FixedClock) -> None:
    log.append(event(clock.now(), 1))
    log.append(event(clock.now(), 2))
    prev = GENESIS
    for line in (folder / "2026-11-02T09.jsonl").read_bytes().split(b"\n")[:-1]:
        record = json.loads(line)
        own = record.pop("hash")
        assert record.pop("prev") == prev
        assert record["at"] == "2026-11-02T09:00:00Z"
        assert own == chain_hash(prev, record)
        prev = own


def test_each_hour_has_its_file_and_the_chain_runs_through_them(
    log: FileAuditLog, folder: Path, clock: FixedClock
) -> None:
    fill(log, clock, 6, step_s=1800)
    assert [path.name for path in records(folder)] == [f"2026-11-02T{hour}.jsonl" for hour in ("09", "10", "11")]
    for after in range(7):
        assert [one.seq for one in log.read(STREAM, after, 100)] == list(range(after + 1, 7))
    assert log.verify(STREAM) is None


def test_a_clock_that_steps_back_does_not_break_the_order(log: FileAuditLog, folder: Path, clock: FixedClock) -> None:
    fill(log, clock, 2)
    log.append(event(clock.now() - timedelta(hours=3), 3))
    assert [path.name for path in records(folder)] == ["2026-11-02T09.jsonl"]
    assert log.read(STREAM, 2, 1)[0].event.at == clock.now() - timedelta(hours=3)
    assert log.verify(STREAM) is None


def test_reading_far_into_a_long_stream_finds_the_right_place(log: FileAuditLog, clock: FixedClock) -> None:
    large = {"text": "x" * 4000}
    for number in range(1, 121):
        log.append(AuditEvent(STREAM, clock.now(), "a:b:c", "ada", str(number), large))
    for after in (0, 1, 17, 59, 60, 118, 119):
        page = log.read(STREAM, after, 3)
        assert [one.event.subject for one in page] == [str(n) for n in range(after + 1, min(after + 4, 121))]


def test_folders_and_files_are_the_owners_alone(log: FileAuditLog, folder: Path, clock: FixedClock) -> None:
    before = os.umask(0)
    try:
        fill(log, clock, 1)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("stream", ["", "..", ".", "a/b", "../platform", "/etc", "A", "a\n", "-a", "a" * 64, "ü"])
def test_a_stream_name_is_no_path(log: FileAuditLog, tmp_path: Path, clock: FixedClock, stream: str) -> None:
    with pytest.raises(ValueError, match="stream name"):
        log.append(event(clock.now(), stream=stream))
    assert log.read(stream, 0, 10) == ()
    assert log.verify(stream) is None
    assert list(tmp_path.iterdir()) == []


# --- many writers --------------------------------------------------------------------------------------------------

APPENDER = """
import sys
from datetime import UTC, datetime, timedelta
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.ports.audit_log import AuditEvent
log, name = FileAuditLog(sys.argv[1]), sys.argv[2]
at = datetime(2026, 11, 2, 9, 59, 0, tzinfo=UTC)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    sealed = log.append(AuditEvent("platform", at + timedelta(seconds=number), "a:b:c", name, str(number), {}))
    print(sealed.seq, sealed.hash, flush=True)
"""


def appender(root: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(root), name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_processes_that_append_at_once_write_one_unbroken_chain(log: FileAuditLog, tmp_path: Path) -> None:
    children = [appender(tmp_path / "audit", f"writer{number}", 100) for number in range(4)]
    said: dict[int, str] = {}
    with ThreadPoolExecutor(len(children)) as threads:
        for child, (out, errors) in zip(
            children, threads.map(lambda child: child.communicate(b"\n", timeout=50), children), strict=True
        ):
            assert child.returncode == 0, errors.decode()
            said |= {int(seq): hash_ for seq, hash_ in (line.split() for line in out.decode().splitlines())}
    found = log.read("platform", 0, 1000)
    assert log.verify("platform") is None
    assert {one.seq: one.hash for one in found} == said
    assert [one.seq for one in found] == list(range(1, 401))
    for number in range(4):
        mine = [int(one.event.subject) for one in found if one.event.actor == f"writer{number}"]
        assert mine == list(range(100))


def test_threads_that_append_at_once_write_one_unbroken_chain(log: FileAuditLog, clock: FixedClock) -> None:
    with ThreadPoolExecutor(8) as threads:
        sealed = list(threads.map(lambda number: log.append(event(clock.now(), number)), range(80)))
    assert sorted(one.seq for one in sealed) == list(range(1, 81))
    assert log.verify(STREAM) is None


def test_a_killed_writer_loses_no_acknowledged_fact(log: FileAuditLog, tmp_path: Path, clock: FixedClock) -> None:
    with appender(tmp_path / "audit", "victim", 1_000_000) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        said = [child.stdout.readline() for _ in range(150)]
        os.kill(child.pid, signal.SIGKILL)
        said += [line for line in child.stdout if line.endswith(b"\n")]
    log.append(event(clock.now(), stream="platform"))
    hashes = [one.hash for one in log.read("platform", 0, 1_000_000)]
    assert hashes[: len(said)] == [line.split()[1].decode() for line in said]
    assert log.verify("platform") is None


# --- crashes and full disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b"{", b'{"actor":"ada","at":"2026', b"\x00" * 300, b"x" * 200_000])
def test_a_torn_last_line_is_set_aside_and_that_is_recorded(
    log: FileAuditLog, folder: Path, clock: FixedClock, torn: bytes
) -> None:
    fill(log, clock, 3)
    path = records(folder)[0]
    with path.open("ab") as file:
        file.write(torn)
    assert [one.seq for one in log.read(STREAM, 0, 10)] == [1, 2, 3]
    assert log.verify(STREAM) is None  # nothing acknowledged is missing
    assert log.append(event(clock.now(), 4)).seq == 5
    repair = log.read(STREAM, 3, 1)[0].event
    assert repair.tag == REPAIRED_TAG
    assert repair.detail == {"file": path.name, "kept_in": path.name + ".torn", "bytes": str(len(torn))}
    assert (folder / (path.name + ".torn")).read_bytes() == torn + b"\n"
    assert log.verify(STREAM) is None


def test_a_first_line_torn_in_a_new_hour_goes_on_from_the_hour_before(
    log: FileAuditLog, folder: Path, clock: FixedClock
) -> None:
    fill(log, clock, 2)
    (folder / "2026-11-02T10.jsonl").write_bytes(b'{"act')
    clock.advance(3600)
    assert log.append(event(clock.now())).seq == 4
    assert log.verify(STREAM) is None


def test_a_head_that_a_crash_left_behind_catches_up(log: FileAuditLog, folder: Path, clock: FixedClock) -> None:
    fill(log, clock, 2)
    old = (folder / ".head").read_bytes()
    fill(log, clock, 2)
    for head in (old, b""):
        (folder / ".head").write_bytes(head)
        assert log.verify(STREAM) is None
        log.append(event(clock.now()))
        assert log.verify(STREAM) is None
    assert len(log.read(STREAM, 0, 100)) == 6


FULL = """
import resource, sys
from datetime import UTC, datetime
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.ports.audit_log import AuditEvent, AuditLogUnavailableError
log, at = FileAuditLog(sys.argv[1]), datetime(2026, 11, 2, 9, tzinfo=UTC)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    for number in range(1000):
        log.append(AuditEvent("platform", at, "a:b:c", "ada", str(number), {}))
except AuditLogUnavailableError as error:
    print(number, error)
"""


def test_a_file_that_can_grow_no_more_refuses_the_fact_and_stays_whole(log: FileAuditLog, tmp_path: Path) -> None:
    root = tmp_path / "audit"
    done = subprocess.run([sys.executable, "-c", FULL, str(root)], capture_output=True, text=True, check=True)
    number, words = done.stdout.split(" ", 1)
    assert "no room left" in words
    assert "free some space" in words
    assert len(log.read("platform", 0, 1000)) == int(number) > 5
    assert (root / "platform" / "2026-11-02T09.jsonl").read_bytes().endswith(b"\n")
    assert log.verify("platform") is None


def test_a_root_that_is_a_file_is_unavailable(tmp_path: Path, clock: FixedClock) -> None:
    (tmp_path / "audit").write_text("in the way")
    with pytest.raises(AuditLogUnavailableError, match="cannot be used"):
        FileAuditLog(tmp_path / "audit").append(event(clock.now()))


def test_a_symbolic_link_in_place_of_a_file_is_refused(
    log: FileAuditLog, folder: Path, tmp_path: Path, clock: FixedClock
) -> None:
    fill(log, clock, 1)
    target = tmp_path / "elsewhere"
    target.write_text("")
    (folder / "2026-11-02T10.jsonl").symlink_to(target)
    clock.advance(3600)
    with pytest.raises(AuditLogUnavailableError):
        log.append(event(clock.now()))
    assert target.read_text() == ""
