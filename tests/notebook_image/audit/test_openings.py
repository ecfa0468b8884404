"""What a FUSE server writes down: by process, never less than was read, and nothing while the spool has no room."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightingale_instance.audit.frames import Frame, FrameFlag, FrameKind, Position, Spool
from nightingale_instance.audit.openings import MOST_RANGES, SMALL_FILE, Openings
from nightingale_instance.audit.readers import Reader, Readers
from nightingale_instance.audit.spool_writer import SEGMENT_BYTES, SpoolWriter

PAGE = 4096
SIZE = 1 << 20
FILE = (7, 12)
ADA, BEN = Reader(100, 5000, 9), Reader(200, 5001, 11)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def openings(folder: int) -> Openings:
    return Openings(SpoolWriter(folder, 10), 1000, tells_ranges=True)


def written(folder: Path) -> list[Frame]:
    return Spool(folder).read(Position(), 10_000)[0]


def whole(frame: Frame) -> bool:
    return bool(frame.flags & FrameFlag.WHOLE_FILE)


def test_an_opening_is_in_the_spool_before_it_is_answered(openings: Openings, tmp_path: Path) -> None:
    openings.open(FILE, SIZE, ADA)
    (frame,) = written(tmp_path)
    assert (frame.kind, frame.inode, frame.pid, frame.uid, frame.file_size) == (FrameKind.OPENED, 12, 100, 5000, SIZE)


def test_ranges_are_whole_pages_cut_at_the_files_end_and_neighbours_are_one(openings: Openings, tmp_path: Path) -> None:
    size = SIZE + 10
    handle = openings.open(FILE, size, ADA)
    for offset, length in ((5, 10), (PAGE, PAGE), (3 * PAGE + 1, 1), (SIZE + 1, 99_999), (size, 10), (size + PAGE, 1)):
        openings.read(handle, FILE, size, ADA, offset=offset, length=length)
    openings.close(handle)
    assert written(tmp_path)[-1].ranges == ((0, 2 * PAGE), (3 * PAGE, PAGE), (SIZE, 10))


def test_two_processes_with_one_descriptor_are_told_apart(openings: Openings, tmp_path: Path) -> None:
    handle = openings.open(FILE, SIZE, ADA)
    openings.read(handle, FILE, SIZE, BEN, offset=PAGE, length=PAGE)
    openings.read(handle, FILE, SIZE, ADA, offset=0, length=PAGE)
    openings.close(handle)
    closed = {frame.pid: frame for frame in written(tmp_path) if frame.kind == FrameKind.CLOSED}
    assert closed[100].ranges == ((0, PAGE),)
    assert closed[200].ranges == ((PAGE, PAGE),)
    assert closed[200].flags & FrameFlag.INHERITED
    assert not closed[100].flags & FrameFlag.INHERITED


def test_from_the_first_page_of_a_cache_until_nobody_has_the_file_everyone_read_it_whole(
    openings: Openings, tmp_path: Path
) -> None:
    first, other = openings.open(FILE, SIZE, ADA), openings.open((7, 13), SIZE, ADA)
    second = openings.open(FILE, SIZE, BEN)
    openings.fill_cache(second, FILE, SIZE, BEN)
    third = openings.open(FILE, SIZE, ADA)
    for handle in (second, third, first, other):
        openings.close(handle)
    again = openings.open(FILE, SIZE, ADA)
    openings.close(again)
    assert [whole(frame) for frame in written(tmp_path) if frame.kind == FrameKind.CLOSED] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_handle_of_an_earlier_server_begins_anew(openings: Openings, tmp_path: Path) -> None:
    openings.close(77)
    openings.read(77, FILE, SIZE, ADA, offset=0, length=1)
    openings.close(77)
    opened, closed = written(tmp_path)
    assert opened.flags & FrameFlag.INHERITED
    assert closed.ranges == ((0, PAGE),)
    assert opened.open_id == closed.open_id == 1000


def test_more_pieces_than_a_record_holds_are_the_whole_file(openings: Openings, tmp_path: Path) -> None:
    handle = openings.open(FILE, 4 * SIZE, ADA)
    for number in range(MOST_RANGES + 1):
        openings.read(handle, FILE, 4 * SIZE, ADA, offset=2 * number * PAGE, length=1)
        if number % 100 == 0:
            openings.write_parts()
    openings.close(handle)
    frames = written(tmp_path)
    assert whole(frames[-1])
    assert sum(len(frame.ranges) for frame in frames) <= MOST_RANGES


def test_what_was_read_is_told_while_the_file_stays_open(openings: Openings, tmp_path: Path) -> None:
    handle = openings.open(FILE, SIZE, ADA)
    openings.read(handle, FILE, SIZE, ADA, offset=0, length=1)
    openings.write_parts()
    openings.write_parts()
    _, part = written(tmp_path)
    assert (part.kind, part.ranges) == (FrameKind.READ, ((0, PAGE),))


@pytest.mark.parametrize(("size", "tells_ranges"), [(SMALL_FILE, True), (SIZE, False)])
def test_what_may_stay_in_the_cache_counts_as_read_when_it_is_opened(
    folder: int, tmp_path: Path, size: int, *, tells_ranges: bool
) -> None:
    openings = Openings(SpoolWriter(folder, 10), 1, tells_ranges=tells_ranges)
    assert openings.is_cached(size)
    openings.close(openings.open(FILE, size, ADA))
    assert whole(written(tmp_path)[-1])


def test_at_a_servers_end_everything_is_closed(openings: Openings, tmp_path: Path) -> None:
    openings.open(FILE, SIZE, ADA)
    openings.open(FILE, SIZE, BEN)
    openings.give_up()
    closed = [frame for frame in written(tmp_path) if frame.kind == FrameKind.CLOSED]
    assert len(closed) == 2
    assert all(frame.flags & FrameFlag.GUARD_ENDED for frame in closed)


def test_a_full_spool_makes_its_writer_wait_until_something_was_taken_away(folder: int, tmp_path: Path) -> None:
    rests = []

    def rest(_: float) -> None:
        rests.append(sorted(tmp_path.iterdir()))
        (tmp_path / "0000000001.reads").unlink()

    writer = SpoolWriter(folder, 2, rest)
    frame = Frame(FrameKind.OPENED, 0, 1, 7, 12, 0, 100, 0, 0, SIZE, (), "x" * 4000)
    for _ in range(2 * SEGMENT_BYTES // 4000 + 10):
        writer.add(frame)
        writer.flush()
    assert len(rests) == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000000002.reads", "0000000003.reads"]


def test_a_next_writer_begins_behind_what_there_is(folder: int, tmp_path: Path) -> None:
    for _ in range(2):
        SpoolWriter(folder, 10)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000000001.reads", "0000000002.reads"]


def test_a_thread_is_named_as_its_process() -> None:
    found: list[Reader] = []
    thread = threading.Thread(target=lambda: found.append(Readers().of(threading.get_native_id(), 4)))
    thread.start()
    thread.join()
    (reader,) = found
    assert (reader.pid, reader.uid) == (os.getpid(), 4)
    assert reader.started_ticks > 0
    assert Path(reader.program()) == Path("/proc/self/exe").readlink()


def test_a_process_that_has_ended_is_still_a_number() -> None:
    reader = Readers().of(2**22 + 1, 4)  # past the largest there is
    assert reader == Reader(2**22 + 1, 4, 0)
    assert reader.program() == ""
