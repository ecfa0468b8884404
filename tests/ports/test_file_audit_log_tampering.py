"""Whatever is done to the files of the audit log, the first record at fault is named by its number."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from doubles import FixedClock
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.contract.canonical import chain_hash
from nightingale.ports.audit_log import AuditLogUnavailableError
from ports.audit_facts import STREAM, event, fill, records


def _drop(lines: list[bytes]) -> list[bytes]:
    return lines[:3] + lines[4:]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


def _reseal(lines: list[bytes]) -> list[bytes]:
    """Change record 4 and give it the hash that fits: then record 5 no longer stands behind it."""
    record = json.loads(lines[3])
    del record["hash"]
    prev = record.pop("prev")
    record["actor"] = "eve"
    record |= {"prev": prev, "hash": chain_hash(prev, record)}
    text = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return [*lines[:3], text.encode() + b"\n", *lines[4:]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda lines: [line.replace(b'"ada"', b'"eve"') if n == 3 else line for n, line in enumerate(lines)], 4),
        (lambda lines: [line.replace(b'":"', b'": "') if n == 3 else line for n, line in enumerate(lines)], 4),
        (lambda lines: [line[:40] + b"\n" if n == 3 else line for n, line in enumerate(lines)], 4),
        (lambda lines: [*lines[:3], b"\n", *lines[3:]], 4),
        (_drop, 4),
        (_swap, 4),
        (_reseal, 5),
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], 5),
        (lambda lines: lines[1:], 1),
        (lambda lines: lines[:-1], 8),
        (lambda lines: lines[:3], 4),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 8),
        (lambda lines: [*lines[:-1], lines[-1][:50]], 8),
        (lambda _lines: [], 1),
    ],
    ids=[
        "changed",
        "reformatted",
        "shortened",
        "blank line put in",
        "removed",
        "reordered",
        "changed and sealed anew",
        "doubled",
        "first removed",
        "last removed",
        "five cut off",
        "last newline cut off",
        "last line cut short",
        "emptied",
    ],
)
def test_tampering_is_named_by_number_and_stays_named(
    log: FileAuditLog, folder: Path, clock: FixedClock, change: Callable[[list[bytes]], list[bytes]], named: int
) -> None:
    fill(log, clock, 8)
    path = records(folder)[0]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert log.verify(STREAM) == named
    log.append(event(clock.now()))
    assert log.verify(STREAM) == named
    clock.advance(3600)
    log.append(event(clock.now()))
    assert log.verify(STREAM) == named


@pytest.mark.parametrize(("gone", "named"), [("09", 1), ("10", 3), ("11", 5)])
def test_an_hour_that_was_removed_is_named_by_its_first_record(
    log: FileAuditLog, folder: Path, clock: FixedClock, gone: str, named: int
) -> None:
    fill(log, clock, 6, step_s=1800)
    (folder / f"2026-11-02T{gone}.jsonl").unlink()
    assert log.verify(STREAM) == named
    log.append(event(clock.now()))
    assert log.verify(STREAM) == named


def test_a_stream_copied_over_another_is_no_chain_of_its_own(
    log: FileAuditLog, folder: Path, clock: FixedClock
) -> None:
    fill(log, clock, 2)
    shutil.copytree(folder, folder.parent / "i-other")
    assert log.verify("i-other") == 1


def test_a_damaged_record_is_not_passed_over_in_reading(log: FileAuditLog, folder: Path, clock: FixedClock) -> None:
    fill(log, clock, 3)
    path = records(folder)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + lines[2])
    with pytest.raises(AuditLogUnavailableError, match="verify"):
        log.read(STREAM, 0, 10)


def test_a_damaged_end_without_a_head_takes_no_new_facts(log: FileAuditLog, folder: Path, clock: FixedClock) -> None:
    fill(log, clock, 2)
    path = records(folder)[0]
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] + b"{}\n")
    (folder / ".head").unlink()
    for _ in range(2):
        with pytest.raises(AuditLogUnavailableError, match="restore it from a backup"):
            log.append(event(clock.now()))
