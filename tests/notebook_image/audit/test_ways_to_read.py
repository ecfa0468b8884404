"""Every way a program on Linux can read a file leaves a record that covers what it got."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from notebook_image.audit.taking import covered
from notebook_image.audit.watched import BIG_BYTES, MIB, PAGE, RANGES, Watched, needs_watching, pages, reader

pytestmark = needs_watching


@pytest.mark.parametrize(
    "mode",
    [
        "read",
        "pread",
        "readv",
        "mmap",
        "mmap_then_close",
        "sendfile",
        "splice",
        "copy_file_range",
        "io_uring",
        "aio",
        "direct",
        "threads",
    ],
)
@pytest.mark.parametrize("offset", [0, 3 * MIB])
def test_each_way_to_read_is_recorded_with_the_ranges_that_were_got(place: Watched, mode: str, offset: int):
    length = 64 * 1024
    pid, got = place.read(mode, "big", offset, length)
    assert got == place.file("big")[offset : offset + length]
    records = place.closed("big", pid)
    assert {one["path"] for one in records} <= {"big", "deep/hard"}
    assert {(one["dataset"], one["version"], one["size"]) for one in records} == {("ct", "1", BIG_BYTES)}
    assert {one.get("exactness", RANGES) for one in records} == {RANGES}
    assert covered(records) >= pages(offset, length)
    # Granular to the page, and no more than the kernel's own rounding around what was asked for.
    assert len(covered(records)) <= len(pages(offset, length)) + 2
    assert all(offset + length <= BIG_BYTES for one in records for offset, length in one.get("ranges", []))
    assert records[0]["uid"] == os.getuid()
    assert records[0]["program"] == str(reader())


def test_a_descriptor_that_outlives_an_exec_is_still_the_same_readers(place: Watched):
    pid, got = place.read("exec", "big", 2 * MIB, 8192)
    assert got == place.file("big")[2 * MIB : 2 * MIB + 8192]
    assert covered(place.closed("big", pid)) == pages(2 * MIB, 8192)


def test_the_pages_of_a_mapping_cannot_be_exchanged_for_others(place: Watched):
    """`remap_file_pages` would not be asked about; the kernel refuses it for what cannot be written."""
    _, got = place.read("remapped_pages", "big", 4 * MIB, 64 * 1024)
    assert got == b""


FILTERED = """
import os, sys
from nightingale_build.launcher.system_calls import refuse_for_good
refuse_for_good()
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("mode", ["grown_mapping", "grown_down"])
def test_a_mapping_that_grows_would_not_be_seen_and_is_refused_by_the_sandboxs_filter(place: Watched, mode: str):
    words: list[str | Path] = [reader(), mode, place.target / "big", str(4 * MIB), str(64 * 1024)]
    begun = place.begin(sys.executable, "-c", FILTERED, *words)
    got, complaint = begun.communicate(timeout=20)
    assert got == b""
    assert b"Cannot allocate memory" in complaint or b"Invalid argument" in complaint


@pytest.mark.parametrize("mode", ["read", "mmap", "io_uring", "threads", "child", "splice"])
def test_the_sandboxs_filter_leaves_reading_alone(place: Watched, mode: str):
    words: list[str | Path] = [reader(), mode, place.target / "big", str(MIB), "65536"]
    _, got = place.run(sys.executable, "-c", FILTERED, *words)
    assert got == place.file("big")[MIB : MIB + 65536]


def test_a_file_that_is_opened_and_not_read_has_a_record_without_ranges(place: Watched):
    pid, _ = place.read("open", "big", 0, 0)
    (record,) = place.closed("big", pid)
    assert record.get("ranges", []) == []


THRICE = """
import os, sys
for _ in range(100):
    held = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(3)]
    os.pread(held[1], 4096, 8192)
    for one in held:
        os.close(one)
kept = os.open(sys.argv[1], os.O_RDONLY)
print(flush=True)
sys.stdin.read()
"""


def test_a_file_that_is_open_several_times_at_once_is_closed_as_often(place: Watched):
    """The kernel makes one event of closings that come together."""
    begun = place.begin("python3", "-c", THRICE, place.target / "big")
    begun.stdout.readline()

    def look(_: object) -> bool:
        records = place.of("big", begun.pid)
        opened = {one["open_id"] for one in records}
        return len(opened) == 301 and len(opened - {one["open_id"] for one in records if "closed_at" in one}) == 1

    place.platform.until(look)
    assert covered(place.of("big", begun.pid)) == {2}
    begun.communicate(b"", timeout=20)
    place.platform.until(lambda _: sum("closed_at" in one for one in place.of("big", begun.pid)) == 301)


def test_a_file_bound_over_another_name_is_still_the_file_that_it_is(place: Watched):
    script = 'touch "$2/none" && mount --bind "$1" "$2/none" && exec head -c 4096 "$2/none"'
    words: list[str | Path] = ["unshare", "-m", "sh", "-c", script, "sh", place.target / "other", place.folder]
    pid, got = place.run(*words)
    assert got == place.file("other")[:4096]
    assert covered(place.closed("other", pid)) >= {0}


def test_after_a_file_was_read_in_pieces_the_next_reader_has_ranges_again(place: Watched):
    place.read("scattered", "other", PAGE, 300)
    pid, _ = place.read("pread", "other", MIB, 4096)
    (record,) = place.closed("other", pid)
    assert record.get("exactness", RANGES) == RANGES
    assert covered([record]) == {256}


def test_the_account_of_a_reader_is_recorded(place: Watched):
    pid, _ = place.run("head", "-c", "10", place.target / "other", uid=12_345)
    (record,) = place.closed("other", pid)
    assert record["uid"] == 12_345


def test_a_process_is_named_for_good_by_its_pid_and_start(place: Watched):
    begun = place.begin(reader(), "told", place.target / "other", "0", "0")
    assert begun.stdout.readline() == b"open\n"
    ticks = int((psutil.Process(begun.pid).create_time() - psutil.boot_time()) * os.sysconf("SC_CLK_TCK"))
    begun.communicate(b"\n", timeout=20)
    (record,) = place.closed("other", begun.pid)[-1:]
    assert abs(record["started_ticks"] - ticks) <= 2 * os.sysconf("SC_CLK_TCK")


def test_what_is_read_while_a_file_stays_open_is_told_before_it_is_closed(place: Watched):
    begun = place.begin(reader(), "told", place.target / "big", "0", "0")
    assert begun.stdout.readline() == b"open\n"
    begun.stdin.write(b"1048576 4096\n")
    begun.stdin.flush()
    assert begun.stdout.readline() == b"got 4096\n"
    place.platform.until(lambda _: covered(place.of("big", begun.pid)) == {256})
    assert not any("closed_at" in one for one in place.of("big", begun.pid))
    begun.communicate(b"\n", timeout=20)
    place.closed("big", begun.pid)


def test_each_record_is_numbered_without_a_gap(place: Watched):
    for _ in range(3):
        place.run("cat", place.target / "small1")
    place.platform.until(lambda _: len([one for one in place.of("small1") if "closed_at" in one]) >= 3)
    assert place.platform.numbers() == list(range(1, len(place.platform.records) + 1))
    assert not place.platform.refused


def test_the_dataset_cannot_be_written_through_the_mount(place: Watched):
    done = subprocess.run([*place.inside, "touch", str(place.target / "new")], capture_output=True, check=False)
    assert b"Read-only file system" in done.stderr
