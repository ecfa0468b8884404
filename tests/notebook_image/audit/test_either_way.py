"""What holds in either way to watch: by fanotify, and through FUSE."""

from __future__ import annotations

import pytest

from notebook_image.audit.taking import covered
from notebook_image.audit.watched import BIG_BYTES, MIB, PAGE, WHOLE, Watched, needs_watching, pages, reader

pytestmark = needs_watching


@pytest.mark.parametrize("mode", ["child", "passed"])
def test_whoever_reads_through_a_descriptor_of_another_is_the_one_who_is_named(either: Watched, mode: str):
    pid, got = either.read(mode, "big", MIB, 8192)
    assert got == either.file("big")[MIB : MIB + 8192]
    either.closed("big", pid)

    def look(_: object) -> list[object]:
        return [
            one
            for one in either.of("big")
            if one["pid"] > pid and one.get("is_inherited") and covered([one]) == pages(MIB, 8192)
        ]

    assert either.platform.until(look)


def test_dd_from_an_offset_is_recorded_as_what_it_read(either: Watched):
    pid, got = either.run("dd", f"if={either.target}/big", "bs=4096", "skip=100", "count=3", "status=none")
    assert got == either.file("big")[100 * PAGE : 103 * PAGE]
    (record,) = either.closed("big", pid)
    assert covered([record]) == {100, 101, 102}
    assert record["program"].endswith("/dd")


def test_two_who_read_one_file_at_once_have_records_of_their_own(either: Watched):
    both = [either.begin(reader(), "told", either.target / "big", "0", "0") for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == b"open\n"
    for number, one in enumerate(both):
        one.stdin.write(f"{number * MIB} 8192\n".encode())
        one.stdin.flush()
        assert one.stdout.readline() == b"got 8192\n"
    for one in both:
        one.communicate(b"\n", timeout=20)
    for number, one in enumerate(both):
        records = either.closed("big", one.pid)
        assert covered(records) == pages(number * MIB, 8192)
        assert len({record["open_id"] for record in records}) == 1


@pytest.mark.parametrize("name", ["deep/hard", "deep/soft"])
def test_another_name_of_a_file_is_the_same_file(either: Watched, name: str):
    pid, got = either.read("pread", name, 0, 4096)
    assert got == either.file("big")[:4096]
    (record,) = either.closed("big", pid)
    assert record["path"] in {"big", "deep/hard"}


def test_a_file_asked_for_in_more_than_256_pieces_counts_as_read_whole(either: Watched):
    pid, got = either.read("scattered", "big", 5 * PAGE, 300)
    assert len(got) == 300 * PAGE
    records = either.closed("big", pid)
    assert records[-1]["exactness"] == WHOLE
    assert records[-1]["ranges"] == [[0, BIG_BYTES]]


def test_a_small_file_counts_as_read_whole_by_whoever_opens_it(either: Watched):
    for name in ("small0", "small0", "slice.dcm"):
        pid, _ = either.run("head", "-c", "10", either.target / name)
        (record,) = either.closed(name, pid)
        assert record["exactness"] == WHOLE
        assert record["ranges"] == [[0, len(either.file(name))]]
