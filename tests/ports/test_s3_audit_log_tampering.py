"""Whatever is done to the objects of the audit log, the first record at fault is named by its number."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from doubles import FixedClock
from doubles.aws import FakeS3
from nightingale.contract.canonical import chain_hash
from nightingale.ports.audit_log import AuditLogUnavailableError
from ports.audit_facts import STREAM, event, fill
from ports.s3_audit_objects import ROOT, log_on, records


@pytest.fixture
def s3(clock: FixedClock) -> FakeS3:
    return FakeS3(clock)


def _change(s3: FakeS3, key: str, change: Callable[[bytes], bytes]) -> None:
    body, at, metadata = s3.objects[key]
    s3.objects[key] = (change(body), at, metadata)


def _reseal(body: bytes) -> bytes:
    """Change the record and give it the hash that fits: then the next no longer stands behind it."""
    record = json.loads(body)
    del record["hash"]
    prev = record.pop("prev")
    record["actor"] = "eve"
    record |= {"prev": prev, "hash": chain_hash(prev, record)}
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _swap(s3: FakeS3) -> None:
    keys = records(s3)
    s3.objects[keys[3]], s3.objects[keys[4]] = s3.objects[keys[4]], s3.objects[keys[3]]


def _remove(*numbers: int) -> Callable[[FakeS3], None]:
    def remove(s3: FakeS3) -> None:
        for key in [records(s3)[number - 1] for number in numbers]:
            del s3.objects[key]

    return remove


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (lambda s3: _change(s3, records(s3)[3], lambda body: body.replace(b'"ada"', b'"eve"')), 4),
        (lambda s3: _change(s3, records(s3)[3], lambda body: body.replace(b'":"', b'": "')), 4),
        (lambda s3: _change(s3, records(s3)[3], lambda body: body[:40]), 4),
        (lambda s3: _change(s3, records(s3)[3], lambda body: b"\n" + body), 4),
        (lambda s3: _change(s3, records(s3)[3], lambda _body: b""), 4),
        (lambda s3: _change(s3, records(s3)[3], _reseal), 5),
        (lambda s3: _change(s3, records(s3)[3], lambda body: body * 2), 5),
        (_swap, 4),
        (_remove(4), 4),
        (_remove(1), 1),
        (_remove(8), 8),
        (_remove(4, 5, 6, 7, 8), 4),
        (_remove(1, 2, 3, 4, 5, 6, 7, 8), 1),
    ],
    ids=[
        "changed",
        "reformatted",
        "shortened",
        "blank line put in",
        "emptied",
        "changed and sealed anew",
        "doubled",
        "reordered",
        "removed",
        "first removed",
        "last removed",
        "five cut off",
        "all removed",
    ],
)
def test_tampering_is_named_by_number_and_stays_named(
    s3: FakeS3, clock: FixedClock, tamper: Callable[[FakeS3], None], named: int
) -> None:
    fill(log_on(s3), clock, 8)
    tamper(s3)
    assert log_on(s3).verify(STREAM) == named
    log_on(s3).append(event(clock.now()))
    assert log_on(s3).verify(STREAM) == named
    clock.advance(3600)
    log_on(s3).append(event(clock.now()))
    assert log_on(s3).verify(STREAM) == named


def test_a_last_record_sealed_anew_differs_from_the_head_and_then_from_its_successor(
    s3: FakeS3, clock: FixedClock
) -> None:
    fill(log_on(s3), clock, 8)
    _change(s3, records(s3)[7], _reseal)
    assert log_on(s3).verify(STREAM) == 8
    log_on(s3).append(event(clock.now()))
    assert log_on(s3).verify(STREAM) == 9


@pytest.mark.parametrize(("gone", "named"), [("09", 1), ("10", 3), ("11", 5)])
def test_an_hour_that_was_removed_is_named_by_its_first_record(
    s3: FakeS3, clock: FixedClock, gone: str, named: int
) -> None:
    fill(log_on(s3), clock, 6, step_s=1800)
    for key in records(s3, turns=True):
        if f"T{gone}/" in key:
            del s3.objects[key]
    assert log_on(s3).verify(STREAM) == named
    log_on(s3).append(event(clock.now()))
    assert log_on(s3).verify(STREAM) == named


def test_a_stream_copied_over_another_is_no_chain_of_its_own(s3: FakeS3, clock: FixedClock) -> None:
    fill(log_on(s3), clock, 2)
    s3.objects |= {key.replace(STREAM, "i-other"): held for key, held in s3.objects.items()}
    assert log_on(s3).verify("i-other") == 1


def test_a_damaged_record_is_not_passed_over_in_reading(s3: FakeS3, clock: FixedClock) -> None:
    fill(log_on(s3), clock, 3)
    _change(s3, records(s3)[1], lambda _body: b"{}\n")
    with pytest.raises(AuditLogUnavailableError, match="verify"):
        log_on(s3).read(STREAM, 0, 10)


def test_a_damaged_end_without_a_head_takes_no_new_facts(s3: FakeS3, clock: FixedClock) -> None:
    fill(log_on(s3), clock, 2)
    _change(s3, records(s3)[1], lambda _body: b"{}\n")
    del s3.objects[f"{ROOT}head"]
    for _ in range(2):
        with pytest.raises(AuditLogUnavailableError, match="restore"):
            log_on(s3).append(event(clock.now()))
