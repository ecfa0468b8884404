"""The audit log in S3: one unbroken chain whoever writes, whatever gets lost, as in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import boto3  # type: ignore[import-untyped] # no types
import pytest
from moto import mock_aws

from doubles import CountingIds, FixedClock, MemoryAuditLog
from doubles.aws import FakeS3
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.adapters.s3_audit_log import MAX_BATCH, S3AuditLog
from nightingale.contract.canonical import GENESIS, chain_hash
from nightingale.ports.audit_log import AuditEvent, AuditLog, AuditLogUnavailableError
from ports.audit_facts import STREAM, event, fill
from ports.s3_audit_objects import ROOT, log_on, records


@pytest.fixture
def s3(clock: FixedClock) -> FakeS3:
    return FakeS3(clock)


@pytest.fixture(params=["memory", "file", "s3", "moto"])
def either(
    request: pytest.FixtureRequest, tmp_path: Path, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AuditLog]:
    if request.param == "memory":
        yield MemoryAuditLog()
    elif request.param == "file":
        yield FileAuditLog(tmp_path / "audit")
    elif request.param == "s3":
        yield log_on(s3)
    else:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        with mock_aws():
            client = boto3.client("s3", region_name="us-east-1")
            client.create_bucket(Bucket="bucket")
            yield log_on(client)


# --- what every audit log promises ------------------------------------------------------------------------------------


def test_facts_come_back_numbered_and_chained(either: AuditLog, clock: FixedClock) -> None:
    sealed = [either.append(event(clock.now(), number)) for number in range(5)]
    assert [one.seq for one in sealed] == [1, 2, 3, 4, 5]
    assert [one.prev for one in sealed] == [GENESIS, *(one.hash for one in sealed[:-1])]
    assert either.read(STREAM, 0, 100) == tuple(sealed)
    assert either.read(STREAM, 2, 2) == tuple(sealed[2:4])
    assert either.read(STREAM, 5, 100) == either.read(STREAM, 99, 1) == either.read(STREAM, 0, 0) == ()
    assert either.read("nobody", 0, 100) == either.read("../x", 0, 100) == ()
    assert either.verify(STREAM) is None
    assert either.verify("nobody") is None


def test_streams_know_nothing_of_each_other(either: AuditLog, clock: FixedClock) -> None:
    first = either.append(event(clock.now(), stream="platform"))
    second = either.append(event(clock.now(), stream="platform-2"))
    assert (first.seq, second.seq) == (1, 1)
    assert either.read("platform", 0, 10) == (first,)
    assert either.verify("platform") is either.verify("platform-2") is None


def test_pages_meet_over_many_hours(either: AuditLog, clock: FixedClock) -> None:
    fill(either, clock, 40, step_s=1500)
    seen: list[int] = []
    while page := either.read(STREAM, len(seen), 7):
        seen += [sealed.seq for sealed in page]
    assert seen == list(range(1, 41))
    assert either.verify(STREAM) is None


def test_a_clock_that_steps_back_breaks_no_chain(either: AuditLog, clock: FixedClock) -> None:
    for hours in (0, 3, 1, 4, 0):
        either.append(event(clock.now() + timedelta(hours=hours)))
    assert [sealed.seq for sealed in either.read(STREAM, 0, 10)] == [1, 2, 3, 4, 5]
    assert either.verify(STREAM) is None


# --- objects ----------------------------------------------------------------------------------------------------------


def test_objects_lie_by_stream_and_hour_and_a_line_is_json_that_anyone_can_check(s3: FakeS3, clock: FixedClock) -> None:
    fill(log_on(s3), clock, 4, step_s=1800)
    assert records(s3) == [
        f"{ROOT}2026-11-02T09/000000000001.jsonl",
        f"{ROOT}2026-11-02T09/000000000002.jsonl",
        f"{ROOT}2026-11-02T10/000000000003.jsonl",
        f"{ROOT}2026-11-02T10/000000000004.jsonl",
    ]
    prev = GENESIS
    for key in records(s3):
        record = json.loads(s3.objects[key][0])
        own = record.pop("hash")
        assert record.pop("prev") == prev
        assert own == chain_hash(prev, record)
        prev = own


def test_a_batch_is_one_object_and_comes_whole_or_not_at_all(s3: FakeS3, clock: FixedClock) -> None:
    log = log_on(s3)
    log.append(event(clock.now()))
    sealed = log.append_all([event(clock.now(), number) for number in range(MAX_BATCH)])
    log.append(event(clock.now()))
    assert len(records(s3)) == 3
    assert [one.seq for one in sealed] == list(range(2, MAX_BATCH + 2))
    everything = log.read(STREAM, 0, 10_000)
    assert [one.seq for one in everything] == list(range(1, MAX_BATCH + 3))
    assert log.read(STREAM, MAX_BATCH, 10) == everything[MAX_BATCH:]
    assert log.read(STREAM, 17, 1) == everything[17:18]
    assert log.verify(STREAM) is None
    s3.refuse("PutObject", "SlowDown", times=9)
    with pytest.raises(AuditLogUnavailableError, match="no more requests"):
        log.append_all([event(clock.now(), number) for number in range(2)])
    assert len(log.read(STREAM, 0, 10_000)) == MAX_BATCH + 2


def test_reading_a_page_late_in_a_stream_fetches_that_page_only(s3: FakeS3, clock: FixedClock) -> None:
    fill(log_on(s3), clock, 300, step_s=60)
    log = log_on(s3)
    s3.calls.clear()
    assert [one.seq for one in log.read(STREAM, 280, 10)] == list(range(281, 291))
    assert s3.calls.count("GetObject") <= 32
    assert s3.calls.count("ListObjectsV2") <= 8


def test_an_append_after_the_first_is_two_requests(s3: FakeS3, clock: FixedClock) -> None:
    log = log_on(s3)
    log.append(event(clock.now()))
    s3.calls.clear()
    log.append(event(clock.now()))
    assert s3.calls == ["PutObject", "PutObject"]
    s3.calls.clear()
    log_on(s3).append(event(clock.now()))
    assert s3.calls == ["GetObject", "PutObject", "PutObject"]


@pytest.mark.parametrize(
    "events",
    [
        lambda at: [event(at, stream="../x")],
        lambda at: [event(at, stream="a"), event(at, stream="b")],
        lambda at: [event(at.replace(tzinfo=None))],
        lambda _at: [],
        lambda at: [event(at)] * (MAX_BATCH + 1),
    ],
    ids=["name", "two streams", "time without zone", "none", "too many"],
)
def test_what_is_no_batch_is_refused(s3: FakeS3, clock: FixedClock, events: Callable[[Any], list[AuditEvent]]) -> None:
    with pytest.raises(ValueError, match=r"stream name|aware|at once"):
        log_on(s3).append_all(events(clock.now()))
    assert s3.calls == []


# --- many writers -----------------------------------------------------------------------------------------------------


def test_writers_of_many_functions_make_one_chain(s3: FakeS3, clock: FixedClock) -> None:
    def write(writer: int) -> list[int]:
        log = log_on(s3)
        return [log.append(event(clock.now(), writer * 100 + number)).seq for number in range(15)]

    with ThreadPoolExecutor(6) as pool:
        numbers = [number for written in pool.map(write, range(6)) for number in written]
    assert sorted(numbers) == list(range(1, 91))
    log = log_on(s3)
    assert log.verify(STREAM) is None
    assert len({one.event.detail["n"] for one in log.read(STREAM, 0, 1000)}) == 90


def test_writers_whose_clocks_differ_by_an_hour_make_one_chain(s3: FakeS3, clock: FixedClock) -> None:
    def write(writer: int) -> list[int]:
        log = log_on(s3)
        at = clock.now() + timedelta(hours=writer % 3)
        return [
            log.append(event(at + timedelta(minutes=7 * number), writer * 100 + number)).seq for number in range(15)
        ]

    with ThreadPoolExecutor(6) as pool:
        numbers = [number for written in pool.map(write, range(6)) for number in written]
    assert sorted(numbers) == list(range(1, 91))
    assert log_on(s3).verify(STREAM) is None


def test_a_writer_that_was_overtaken_goes_on_behind_the_others(s3: FakeS3, clock: FixedClock) -> None:
    slow, quick = log_on(s3), log_on(s3)
    slow.append(event(clock.now(), 0))
    fill(quick, clock, 30, step_s=600)
    s3.calls.clear()
    assert slow.append(event(clock.now(), 99)).seq == 32
    assert len(s3.calls) < 12  # it does not walk through what it missed
    assert quick.append(event(clock.now(), 100)).seq == 33
    assert log_on(s3).verify(STREAM) is None


# --- what gets lost ---------------------------------------------------------------------------------------------------


def test_a_lost_reply_is_no_lost_and_no_doubled_fact(s3: FakeS3, clock: FixedClock) -> None:
    log = log_on(s3)
    log.append(event(clock.now(), 1))
    s3.lose_reply("PutObject")
    assert log.append(event(clock.now(), 2)).seq == 2
    assert log.append(event(clock.now(), 2)).seq == 3  # the same fact again is another record
    assert len(log.read(STREAM, 0, 10)) == 3
    assert log.verify(STREAM) is None


def test_two_equal_facts_of_two_writers_are_two_records(s3: FakeS3, clock: FixedClock) -> None:
    first, second = log_on(s3), log_on(s3)
    first.append(event(clock.now(), 1))
    second.read(STREAM, 0, 1)
    assert second.append(event(clock.now(), 7)).seq == 2
    assert first.append(event(clock.now(), 7)).seq == 3


def test_a_head_that_was_not_written_catches_up(s3: FakeS3, clock: FixedClock) -> None:
    log = log_on(s3)
    fill(log, clock, 2)
    old = s3.objects[f"{ROOT}head"]
    fill(log, clock, 5, step_s=1800)
    s3.objects[f"{ROOT}head"] = old
    assert log_on(s3).verify(STREAM) is None
    assert log_on(s3).append(event(clock.now())).seq == 8
    assert log_on(s3).verify(STREAM) is None


class _NoHead(FakeS3):
    """S3 that dies with whoever wants to write a head."""

    def put_object(self, *, Key: str, **more: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if Key.endswith("head"):
            self.refuse("PutObject", "InternalError")
        return super().put_object(Key=Key, **more)


def test_the_head_is_a_help_and_not_a_condition(clock: FixedClock) -> None:
    s3 = _NoHead(clock)
    for hour in range(3):
        assert log_on(s3).append(event(clock.now())).seq == hour * 2 + 1
        assert log_on(s3).append(event(clock.now())).seq == hour * 2 + 2
        clock.advance(3600)
    assert log_on(s3).verify(STREAM) is None
    assert f"{ROOT}head" not in s3.objects


def test_a_turn_without_a_record_behind_it_is_gone_on_from(s3: FakeS3, clock: FixedClock) -> None:
    """The writer opened the next hour and died; the head is gone too."""
    log_on(s3).append(event(clock.now(), 1))
    for _ in range(2):
        clock.advance(3600)

        class Dies(FakeS3):
            def put_object(self, *, Body: bytes | BinaryIO, **more: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name
                if Body:
                    self.refuse("PutObject", "InternalError")
                return super().put_object(Body=Body, **more)

        dying = Dies(clock)
        dying.objects = s3.objects
        with pytest.raises(AuditLogUnavailableError):
            log_on(dying).append(event(clock.now()))
    s3.objects.pop(f"{ROOT}head")
    assert log_on(s3).verify(STREAM) is None
    assert log_on(s3).append(event(clock.now(), 2)).seq == 2
    assert log_on(s3).verify(STREAM) is None


def test_what_aws_refuses_is_unavailable_in_words(s3: FakeS3, clock: FixedClock) -> None:
    log = log_on(s3)
    for operation, call in (
        ("GetObject", lambda: log.append(event(clock.now()))),
        ("PutObject", lambda: log.append(event(clock.now()))),
        ("ListObjectsV2", lambda: log.read(STREAM, 0, 1)),
        ("GetObject", lambda: log.verify(STREAM)),
    ):
        s3.refuse(operation, "AccessDenied")
        with pytest.raises(AuditLogUnavailableError, match="permissions"):
            call()
    assert log.append(event(clock.now())).seq == 1


def test_the_writers_mark_is_no_part_of_a_record(s3: FakeS3, clock: FixedClock) -> None:
    S3AuditLog("bucket", ids=CountingIds(), client=s3).append(event(clock.now()))
    (key,) = records(s3)
    assert s3.objects[key][2]["writer"].startswith("secret-")
    assert b"secret-" not in s3.objects[key][0]
