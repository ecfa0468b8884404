"""From a guard's frames to records: in any order nothing that was read is left out, and no number is missing."""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from hypothesis import given as supposing
from hypothesis import strategies as st

from nightingale.contract.reads import Exactness, ReadKind, ReadRecord
from nightingale_instance.audit.frames import DamagedSpoolError, Frame, FrameFlag, FrameKind, Position, Spool
from nightingale_instance.audit.kernel import Granularity
from nightingale_instance.audit.records import WAIT_NS, KnownFile, Recorder, RecorderState

SIZE = 1 << 20
FILES = {(7, inode): KnownFile("ct", "1", f"{inode}.dcm", f"{inode:064x}") for inode in (12, 13)}
SECOND = 1_000_000_000
BEGUN = 1_762_000_000 * SECOND


def frame(kind: bytes, open_id: int = 0, at_ns: int = BEGUN, **changes: object) -> Frame:
    made = {
        "flags": 0,
        "device": 7,
        "inode": 12,
        "pid": 100 + open_id,
        "uid": 5000,
        "started_ticks": 9,
        "file_size": SIZE,
        "ranges": (),
        "program": "/usr/bin/cat" if kind == FrameKind.OPENED else "",
    } | changes
    return Frame(kind=kind, open_id=open_id, at_ns=at_ns, **made)  # type: ignore[arg-type] # fields by name


def recorder(state: RecorderState | None = None, granularity: Granularity = Granularity.RANGES) -> Recorder:
    return Recorder(state or RecorderState(), FILES, granularity)


def test_a_quick_read_is_one_record() -> None:
    state = RecorderState()
    frames = [
        frame(FrameKind.OPENED, 1),
        frame(FrameKind.CLOSED, 1, BEGUN + 5_000_000, ranges=((0, 4096), (8192, 4096))),
    ]
    (record,) = recorder(state).records(frames, BEGUN + SECOND // 2)
    assert (record.number, record.path, record.ranges) == (1, "12.dcm", ((0, 4096), (8192, 4096)))
    assert record.closed_at is not None
    assert (record.closed_at - record.at).total_seconds() == 0.005
    assert state.openings == {}


def test_a_file_that_stays_open_is_told_after_a_second_and_then_in_parts() -> None:
    one = recorder()
    assert one.records([frame(FrameKind.OPENED, 1)], BEGUN + WAIT_NS - 1) == []
    (opened,) = one.records([], BEGUN + WAIT_NS)
    assert (opened.ranges, opened.closed_at) == ((), None)
    assert one.records([], BEGUN + 9 * SECOND) == []
    (part,) = one.records([frame(FrameKind.READ, 1, BEGUN + 10 * SECOND, ranges=((0, 4096),))], BEGUN + 10 * SECOND)
    (end,) = one.records([frame(FrameKind.CLOSED, 1, BEGUN + 11 * SECOND)], BEGUN + 11 * SECOND)
    assert (part.ranges, part.closed_at, end.ranges) == (((0, 4096),), None, ())
    assert end.closed_at is not None
    assert {opened.open_id, part.open_id, end.open_id} == {1}


def test_what_was_open_when_a_guard_died_counts_as_read_whole() -> None:
    one = recorder()
    one.records([frame(FrameKind.STARTED), frame(FrameKind.OPENED, 1)], BEGUN)
    (given_up, restarted) = one.records([frame(FrameKind.STARTED, at_ns=BEGUN + SECOND)], BEGUN + SECOND)
    assert (given_up.ranges, given_up.exactness) == (((0, SIZE),), Exactness.WHOLE_FILE)
    assert restarted.kind is ReadKind.OBSERVER_RESTARTED


def test_where_the_kernel_tells_of_openings_only_every_record_is_an_upper_bound() -> None:
    one = recorder(granularity=Granularity.OPENS)
    (record,) = one.records([frame(FrameKind.OPENED, 1), frame(FrameKind.CLOSED, 1)], BEGUN)
    assert (record.ranges, record.exactness) == (((0, SIZE),), Exactness.WHOLE_FILE)


def test_an_empty_file_has_no_range() -> None:
    frames = [frame(FrameKind.OPENED, 1, file_size=0), frame(FrameKind.CLOSED, 1, flags=FrameFlag.WHOLE_FILE)]
    (record,) = recorder().records(frames, BEGUN)
    assert record.ranges == ()


def test_a_file_that_is_in_no_list_is_recorded_and_says_so() -> None:
    (record,) = recorder().records([frame(FrameKind.OPENED, 1, inode=99), frame(FrameKind.CLOSED, 1)], BEGUN)
    assert (record.sha256, "inode 99" in record.path) == ("", True)


# --- in any order -----------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "read", "read", "read", "close", "restart"]),
        st.integers(0, 5),
        st.integers(0, 255),
        st.integers(1, 16),
        st.integers(0, 3 * SECOND),
    ),
    max_size=60,
)


def played(steps: list[tuple[str, int, int, int, int]]) -> tuple[list[Frame], dict[int, set[int]]]:
    """Return a guard's frames of what happened, and the pages that each open was asked for."""
    frames = [frame(FrameKind.STARTED)]
    asked: dict[int, set[int]] = defaultdict(set)
    alive: dict[int, int] = {}
    at, next_id = BEGUN, 1
    for what, slot, page, count, pause in steps:
        at += pause
        if what == "restart":
            frames.append(frame(FrameKind.STARTED, at_ns=at))
            alive.clear()
        elif what == "open" and slot not in alive:
            alive[slot], next_id = next_id, next_id + 1
            frames.append(frame(FrameKind.OPENED, alive[slot], at, inode=12 + slot % 2))
            asked[alive[slot]] |= set()
        elif slot in alive and what in {"read", "close"}:
            ranges = ((page * 4096, min(count * 4096, SIZE - page * 4096)),) if what == "read" else ()
            asked[alive[slot]] |= {number for offset, size in ranges for number in range(offset, offset + size, 4096)}
            kind = FrameKind.READ if what == "read" else FrameKind.CLOSED
            frames.append(frame(kind, alive[slot], at, inode=12 + slot % 2, ranges=ranges))
            if what == "close":
                del alive[slot]
    return frames, asked


@supposing(STEPS, st.lists(st.integers(1, 20), max_size=8))
def test_however_frames_come_in_nothing_is_left_out_and_no_number_twice(
    steps: list[tuple[str, int, int, int, int]], cuts: list[int]
) -> None:
    frames, asked = played(steps)
    state, records = RecorderState(), []
    left = list(frames)
    for cut in [*cuts, len(frames)]:
        part, left = left[:cut], left[cut:]
        # Between two batches the process may be another one, that knows the state from the disk only.
        state = msgspec.json.decode(msgspec.json.encode(state), type=RecorderState)
        now = part[-1].at_ns if part else BEGUN
        records += recorder(state).records(part, now)
    records += recorder(state).give_up()
    assert [one.number for one in records] == list(range(1, len(records) + 1))
    covered: dict[int, set[int]] = defaultdict(set)
    for one in records:
        covered[one.open_id] |= {at for offset, size in one.ranges for at in range(offset, offset + size, 4096)}
    for open_id, pages in asked.items():
        assert covered[open_id] >= pages
    told = {one.open_id for one in records if one.kind is ReadKind.READ}
    assert told == set(asked)
    restarts = sum(one.kind is ReadKind.OBSERVER_RESTARTED for one in records)
    assert restarts == sum(one.kind == FrameKind.STARTED for one in frames) - 1


@supposing(STEPS)
def test_the_same_frames_at_the_same_time_give_the_same_records(steps: list[tuple[str, int, int, int, int]]) -> None:
    frames, _ = played(steps)
    now = BEGUN + 500 * SECOND
    first: list[ReadRecord] = recorder().records(frames, now)
    assert recorder().records(frames, now) == first


# --- the spool --------------------------------------------------------------------------------------------------------


def packed(open_id: int, kind: bytes = FrameKind.OPENED, program: bytes = b"/usr/bin/cat") -> bytes:
    """Return a frame as `struct frame` of guard.c lays it out."""
    size = 64 + 16 + len(program)
    head = struct.pack("=IcBHQQQqiIQQ", size, kind, 0, 1, open_id, 7, 12, BEGUN, 100, 5000, 9, SIZE)
    return head + struct.pack("=QQ", 0, 4096) + program


@supposing(st.integers(0, 12), st.integers(1, 5), st.data())
def test_a_spool_is_read_whole_in_any_steps_and_over_what_was_cut_off(
    tmp_path_factory: pytest.TempPathFactory, count: int, limit: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    written = [packed(number) for number in range(count)]
    number = 1
    content = b""
    for one in written:
        content += one
        if data.draw(st.booleans()):  # a guard died here, in the middle of a frame
            content += packed(999)[: data.draw(st.integers(0, 90))]
            (folder / f"{number:010d}.reads").write_bytes(content)
            number, content = number + 1, b""
    (folder / f"{number:010d}.reads").write_bytes(content)
    spool, position, seen = Spool(folder), Position(), []
    while True:
        frames, position = spool.read(position, limit)
        if not frames:
            break
        seen += [one.open_id for one in frames]
        spool.take_away_before(position)
    assert seen == list(range(count))
    assert spool.segments()[-1] == number


def test_a_frame_that_is_not_finished_yet_is_read_when_it_is(tmp_path: Path) -> None:
    segment, whole = tmp_path / "0000000001.reads", packed(1) + packed(2)
    segment.write_bytes(whole[:-5])
    frames, position = Spool(tmp_path).read(Position(), 10)
    assert [one.open_id for one in frames] == [1]
    segment.write_bytes(whole)
    frames, _ = Spool(tmp_path).read(position, 10)
    assert [(one.open_id, one.program) for one in frames] == [(2, "/usr/bin/cat")]


@pytest.mark.parametrize("junk", [bytes(100), b"\x10\x00\x00\x00O" + bytes(90), b"x" * 100])
def test_what_no_guard_wrote_is_damage(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "0000000001.reads").write_bytes(packed(1) + junk)
    with pytest.raises(DamagedSpoolError):
        Spool(tmp_path).read(Position(), 10)
