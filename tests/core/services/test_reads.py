"""Records of reads on the platform's side: kept once, in order, from the instance's own shipper only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as supposing
from hypothesis import strategies as st

from doubles.audit import MemoryAuditLog
from doubles.platforms import FakePlatform
from nightingale.contract.errors import ErrorCode
from nightingale.contract.reads import MOST_RANGES, MOST_RECORDS, Exactness, ReadKind, ReadRecord
from nightingale.domain.access import InstanceIdentity, Principal
from nightingale.domain.errors import RefusedError
from nightingale.ports.audit_log import AuditEvent, SealedEvent
from nightingale.services.reads import ReadsService, covered, reads_stream

AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
ID = "i-0000000001"


def record(number: int, **changes: Any) -> ReadRecord:
    made = ReadRecord(
        number=number,
        kind=ReadKind.READ,
        at=AT + timedelta(seconds=number),
        dataset="ct",
        version="1",
        path=f"scan/{number}.dcm",
        sha256="5e" * 32,
        size=10_000,
        ranges=((0, 8192), (8192, 1808)),
        pid=4711,
        uid=12_345,
        program="/usr/bin/python3",
    )
    return msgspec.structs.replace(made, **changes)


def batch(first: int, last: int) -> tuple[ReadRecord, ...]:
    return tuple(record(number) for number in range(first, last + 1))


def shipper(instance: str = ID) -> Principal:
    identity = InstanceIdentity("brain", instance, "grace", is_shipper=True)
    return Principal(name=instance, is_person=False, instance=identity)


@pytest.fixture
def service(audit_log: MemoryAuditLog) -> ReadsService:
    return ReadsService(audit_log)


def kept(service: ReadsService, instance: str = ID) -> list[int]:
    return [one.number for one in service.page(instance, None, None, 10_000).reads]


def test_a_batch_is_kept_and_its_last_number_answered(service: ReadsService) -> None:
    assert service.take(shipper(), batch(1, 3)).number == 3
    assert kept(service) == [1, 2, 3]


def test_a_batch_that_is_sent_twice_is_kept_once(service: ReadsService, audit_log: MemoryAuditLog) -> None:
    assert [service.take(shipper(), batch(1, 3)).number for _ in range(3)] == [3, 3, 3]
    assert audit_log.head(reads_stream(ID)) == 3


def test_of_a_batch_that_overlaps_only_what_is_new_is_kept(service: ReadsService) -> None:
    service.take(shipper(), batch(1, 4))
    assert service.take(shipper(), batch(2, 6)).number == 6
    assert kept(service) == [1, 2, 3, 4, 5, 6]


def test_an_old_batch_that_comes_late_changes_nothing(service: ReadsService) -> None:
    service.take(shipper(), batch(1, 100))
    assert service.take(shipper(), batch(1, 4)).number == 100
    assert kept(service) == list(range(1, 101))


@pytest.mark.parametrize(("known", "first"), [(0, 2), (3, 5), (60, 99)])
def test_a_gap_is_refused_and_the_missing_record_named(service: ReadsService, known: int, first: int) -> None:
    if known:
        service.take(shipper(), batch(1, known))
    with pytest.raises(RefusedError) as refused:
        service.take(shipper(), batch(first, first + 2))
    assert refused.value.code is ErrorCode.RECORDS_MISSING
    assert f"record {known + 1} of {ID}" in str(refused.value)
    assert kept(service) == list(range(1, known + 1))


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1), (1, 3), (1, 2, 4, 3)])
def test_records_that_are_not_in_order_are_invalid(service: ReadsService, numbers: tuple[int, ...]) -> None:
    with pytest.raises(RefusedError) as refused:
        service.take(shipper(), tuple(record(number) for number in numbers))
    assert refused.value.code is ErrorCode.INVALID
    assert kept(service) == []


def test_each_instance_has_a_stream_of_its_own(service: ReadsService) -> None:
    service.take(shipper(), batch(1, 2))
    service.take(shipper("i-0000000002"), batch(1, 5))
    assert (kept(service), kept(service, "i-0000000002")) == ([1, 2], [1, 2, 3, 4, 5])


def test_whoever_is_no_instance_ships_nothing(service: ReadsService) -> None:
    with pytest.raises(RefusedError) as refused:
        service.take(Principal(name="grace"), batch(1, 1))
    assert refused.value.code is ErrorCode.FORBIDDEN


def test_other_facts_in_the_stream_do_not_confuse_the_numbers(service: ReadsService, audit_log: MemoryAuditLog) -> None:
    """A repair after a crash is a fact of the log's own, between the records."""
    service.take(shipper(), batch(1, 2))
    audit_log.append(AuditEvent(reads_stream(ID), AT, "audit:stream:repaired", "platform", ID, {}))
    assert service.take(shipper(), batch(2, 4)).number == 4
    assert kept(service) == [1, 2, 3, 4]


def test_shippers_that_send_the_same_at_once_keep_it_once(service: ReadsService, audit_log: MemoryAuditLog) -> None:
    """A drain and an observer never run at once; were they to, nothing would be doubled or lost."""
    answers: list[int] = []
    start = threading.Barrier(6)

    def ship() -> None:
        start.wait(5)
        for first in range(1, 40, 3):
            while True:
                try:
                    answers.append(service.take(shipper(), batch(first, first + 4)).number)
                    break
                except RefusedError as error:
                    assert error.code is ErrorCode.BUSY  # noqa: PT017 - any other refusal is a failure

    threads = [threading.Thread(target=ship) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert len(answers) == 6 * 13
    assert kept(service) == list(range(1, 42))
    assert audit_log.verify(reads_stream(ID)) is None


# --- the chain --------------------------------------------------------------------------------------------------------


def broken(audit_log: MemoryAuditLog, stream: str, how: str) -> None:
    records = audit_log._streams[stream]
    if how == "changed":
        event = replace(records[4].event, detail={**records[4].event.detail, "path": "harmless.txt"})
        records[4] = replace(records[4], event=event)
    elif how == "missing":
        del records[4]
    else:
        records[4], records[5] = records[5], records[4]


@pytest.mark.parametrize("how", ["changed", "missing", "reordered"])
def test_the_first_record_that_is_changed_missing_or_reordered_is_named(
    service: ReadsService, audit_log: MemoryAuditLog, how: str
) -> None:
    stream = reads_stream(ID)
    service.take(shipper(), batch(1, 10))
    assert audit_log.verify(stream) is None
    broken(audit_log, stream, how)
    assert audit_log.verify(stream) == 5


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_follow_one_another_and_what_comes_later_comes_behind_them(service: ReadsService) -> None:
    service.take(shipper(), batch(1, 5))
    first = service.page(ID, None, None, 3)
    assert [one.number for one in first.reads] == [1, 2, 3]
    second = service.page(ID, first.next_cursor, None, 3)
    assert [one.number for one in second.reads] == [4, 5]
    nothing = service.page(ID, second.next_cursor, None, 3)
    assert (nothing.reads, nothing.next_cursor) == ((), second.next_cursor)
    service.take(shipper(), batch(6, 6))
    assert [one.number for one in service.page(ID, nothing.next_cursor, None, 3).reads] == [6]


@pytest.mark.parametrize(("tail", "numbers"), [(1, [5]), (3, [3, 4, 5]), (50, [1, 2, 3, 4, 5])])
def test_the_last_records_can_be_asked_for(service: ReadsService, tail: int, numbers: list[int]) -> None:
    service.take(shipper(), batch(1, 5))
    assert [one.number for one in service.page(ID, None, tail, 100).reads] == numbers


def test_an_instance_that_read_nothing_has_an_empty_page(service: ReadsService) -> None:
    assert service.page(ID, None, 10, 10).reads == ()


# --- round trip -------------------------------------------------------------------------------------------------------

WHOLE = st.integers(0, 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
MOMENT = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
RANGES = st.lists(st.tuples(WHOLE, WHOLE), max_size=8).map(tuple)
READS = st.builds(
    ReadRecord,
    number=st.just(1),
    kind=st.just(ReadKind.READ),
    at=MOMENT,
    open_id=WHOLE,
    closed_at=st.none() | MOMENT,
    dataset=TEXT,
    version=TEXT,
    path=TEXT,
    sha256=st.text("0123456789abcdef", max_size=64),
    size=WHOLE,
    ranges=RANGES,
    exactness=st.sampled_from(Exactness),
    is_inherited=st.booleans(),
    pid=WHOLE,
    started_ticks=WHOLE,
    uid=st.none() | WHOLE,
    program=TEXT,
)
STARTS = st.builds(
    ReadRecord,
    number=st.just(1),
    kind=st.sampled_from([kind for kind in ReadKind if kind is not ReadKind.READ]),
    at=MOMENT,
    pid=WHOLE,
    note=st.text(max_size=40),
)


@supposing(READS | STARTS)
def test_a_record_comes_back_as_it_was_shipped(shipped: ReadRecord) -> None:
    service = ReadsService(MemoryAuditLog())
    service.take(shipper(), (shipped,))
    (found,) = service.page(ID, None, None, 10).reads
    assert found == shipped


@supposing(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=12))
def test_bytes_are_counted_once_however_often_they_were_asked_for(ranges: Sequence[tuple[int, int]]) -> None:
    assert covered(ranges) == len({at for offset, length in ranges for at in range(offset, offset + length)})


# --- over dispatch: who may -------------------------------------------------------------------------------------------


@pytest.fixture
async def platform() -> FakePlatform:
    made = FakePlatform()
    await made.run("scan", "grace")
    return made


def body(*records: ReadRecord) -> bytes:
    return msgspec.json.encode({"records": records})


def scan(platform: FakePlatform) -> str:
    found = platform.lifecycle.find_named("brain", "scan")
    assert found is not None
    return found.instance.id


async def test_the_instances_own_shipper_ships(platform: FakePlatform) -> None:
    assert platform.ask("ship_reads", "shipper", body=body(*batch(1, 2))) == {"number": 2}
    (first, second) = platform.audit.events(reads_stream(scan(platform)))
    assert (first.actor, first.subject, second.detail["bytes"]) == ("grace", scan(platform), "10000")
    assert first.detail["ranges"] == "0+8192 8192+1808"


@pytest.mark.parametrize("who", ["grace", "ada", "hedy", "otto", "instance", "operator", "gateway"])
async def test_nobody_else_ships_not_even_the_instances_own_token(platform: FakePlatform, who: str) -> None:
    answer = platform.handle("ship_reads", who, body=body(record(1)))
    assert platform.error(answer)["code"] == "forbidden"
    assert platform.audit.head(reads_stream(scan(platform))) == 0


async def test_without_a_token_nothing_is_shipped(platform: FakePlatform) -> None:
    assert platform.error(platform.handle("ship_reads", None, body=body(record(1))))["code"] == "unauthenticated"


async def test_the_shipper_of_another_instance_writes_into_its_own_stream_only(platform: FakePlatform) -> None:
    other = await platform.run("other", "mary")
    token = platform.own_token("other", is_shipper=True)
    platform._tokens["others shipper"] = token
    platform.ask("ship_reads", "others shipper", body=body(record(1)))
    assert platform.audit.head(reads_stream(scan(platform))) == 0
    assert platform.audit.head(reads_stream(other.id)) == 1


async def test_the_shippers_token_of_an_earlier_start_is_worth_nothing(platform: FakePlatform) -> None:
    before = platform.own_token("scan", is_shipper=True)
    platform._tokens["earlier"] = before
    platform.machines.own_tokens[scan(platform), True] = before[:-64] + "7a" * 32
    answer = platform.handle("ship_reads", "earlier", body=body(record(1)))
    assert platform.error(answer)["code"] == "unauthenticated"


async def test_a_token_with_the_form_of_a_shippers_made_of_the_instances_own_is_worth_nothing(
    platform: FakePlatform,
) -> None:
    platform.own_token("scan", is_shipper=True)
    own = platform.own_token("scan")
    platform.machines.own_tokens[scan(platform), False] = own[:-64] + "11" * 32
    platform._tokens["made up"] = "ns" + own[2:-64] + "11" * 32
    answer = platform.handle("ship_reads", "made up", body=body(record(1)))
    assert platform.error(answer)["code"] == "unauthenticated"


async def test_a_stopped_instances_leftovers_are_still_taken(platform: FakePlatform) -> None:
    platform._tokens["leftovers"] = platform.own_token("scan", is_shipper=True)
    platform.handle("stop_instance", "grace", "scan")
    await platform.settle()
    assert platform.ask("ship_reads", "leftovers", body=body(record(1))) == {"number": 1}


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{"number": 0, "kind": "read", "at": "2026-11-02T09:00:00Z"}],
        [{"number": 1, "kind": "rumour", "at": "2026-11-02T09:00:00Z"}],
        [{"number": 1, "kind": "read", "at": "2026-11-02T09:00:00Z", "ranges": [[-1, 4]]}],
        [{"number": 1, "kind": "read", "at": "2026-11-02T09:00:00Z", "ranges": [[0, 1]] * (MOST_RANGES + 1)}],
        [{"number": n + 1, "kind": "read", "at": "2026-11-02T09:00:00Z"} for n in range(MOST_RECORDS + 1)],
    ],
)
async def test_what_is_no_batch_is_invalid_and_keeps_nothing(
    platform: FakePlatform, records: list[dict[str, Any]]
) -> None:
    answer = platform.handle("ship_reads", "shipper", body=msgspec.json.encode({"records": records}))
    assert platform.error(answer)["code"] == "invalid"
    assert platform.audit.head(reads_stream(scan(platform))) == 0


async def test_while_the_audit_log_cannot_be_written_nothing_is_acknowledged(platform: FakePlatform) -> None:
    token = platform.token("shipper")
    assert token
    platform.audit.break_down()
    assert platform.handle("ship_reads", "shipper", body=body(record(1))).status >= 500
    platform.audit.mend()
    assert platform.ask("ship_reads", "shipper", body=body(record(1))) == {"number": 1}


async def test_the_owner_sees_the_reads_and_another_researcher_does_not(platform: FakePlatform) -> None:
    platform.ask("ship_reads", "shipper", body=body(*batch(1, 3)))
    seen = platform.ask("list_reads", "grace", "scan", query={"tail": "2"})
    assert [one["number"] for one in seen["reads"]] == [2, 3]
    assert platform.handle("list_reads", "mary", "scan").status in {403, 404}
    assert platform.handle("list_reads", "grace", "scan", query={"cursor": "x"}).status == 400


class MovingLog(MemoryAuditLog):
    """Another writer is always a moment earlier."""

    def __init__(self) -> None:
        super().__init__()
        self.is_racing = True

    def append_all(self, events: Sequence[AuditEvent], after: int | None = None) -> tuple[SealedEvent, ...]:
        if self.is_racing:
            super().append_all((replace(events[0], tag="audit:stream:repaired", detail={}),))
        return super().append_all(events, after)


def test_a_stream_that_moves_all_the_time_is_busy_and_takes_it_later() -> None:
    log = MovingLog()
    service = ReadsService(log)
    with pytest.raises(RefusedError) as refused:
        service.take(shipper(), batch(1, 2))
    assert refused.value.code is ErrorCode.BUSY
    log.is_racing = False
    assert service.take(shipper(), batch(1, 2)).number == 2
