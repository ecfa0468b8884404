"""The second way to watch: a dataset shown through FUSE. Each way to read leaves a record, and says how exact it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from notebook_image.audit.taking import covered
from notebook_image.audit.watched import (
    BIG_BYTES,
    MIB,
    PAGE,
    RANGES,
    WHOLE,
    Watched,
    needs_watching,
    pages,
    reader,
    watched,
    why_not,
)

pytestmark = needs_watching


@pytest.mark.parametrize("mode", ["read", "pread", "readv", "io_uring", "aio", "direct", "threads"])
@pytest.mark.parametrize("offset", [0, 3 * MIB])
def test_each_call_that_reads_is_recorded_with_the_pages_that_were_got(served: Watched, mode: str, offset: int):
    length = 64 * 1024
    pid, got = served.read(mode, "big", offset, length)
    assert got == served.file("big")[offset : offset + length]
    records = served.closed("big", pid)
    assert {one.get("exactness", RANGES) for one in records} == {RANGES}
    assert covered(records) == pages(offset, length)
    assert {(one["dataset"], one["version"], one["size"]) for one in records} == {("ct", "1", BIG_BYTES)}
    assert records[0]["uid"] == os.getuid()
    assert records[0]["program"] == str(reader())


@pytest.mark.parametrize("mode", ["mmap", "mmap_then_close", "sendfile", "splice"])
def test_what_goes_through_the_kernels_cache_counts_as_the_whole_file(served: Watched, mode: str):
    pid, got = served.read(mode, "big", MIB, 64 * 1024)
    assert got == served.file("big")[MIB : MIB + 64 * 1024]
    assert served.closed("big", pid)[-1]["exactness"] == WHOLE


def test_python_maps_a_file_as_it_does_on_any_other_file_system(served: Watched):
    script = (
        "import mmap, sys; f = open(sys.argv[1], 'rb'); print(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)[5])"
    )
    pid, got = served.run(sys.executable, "-I", "-c", script, served.target / "big")
    assert int(got) == served.file("big")[5]
    assert served.closed("big", pid)[-1]["exactness"] == WHOLE


def test_once_a_file_is_mapped_whoever_has_it_open_counts_as_having_read_it_whole(served: Watched):
    """The kernel asks for a page of a mapping once, whoever looks at it later."""
    both = [served.begin(reader(), "told", served.target / "other", "0", "0") for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == b"open\n"
    served.read("mmap", "other", 0, PAGE)
    for one in both:
        one.communicate(b"\n", timeout=20)
        assert served.closed("other", one.pid)[-1]["exactness"] == WHOLE
    pid, _ = served.read("pread", "other", MIB, PAGE)
    (record,) = served.closed("other", pid)
    assert record.get("exactness", RANGES) == RANGES
    assert covered([record]) == {256}


def test_what_was_read_before_is_asked_for_again_by_the_next_reader(served: Watched):
    for _ in range(2):
        pid, _ = served.read("pread", "big", 2 * MIB, 8192)
        assert covered(served.closed("big", pid)) == pages(2 * MIB, 8192)


def test_a_thread_that_reads_is_recorded_as_its_process_and_its_account(served: Watched):
    pid, _ = served.run(reader(), "threads", served.target / "other", "0", "8192", uid=12_345)
    (record,) = served.closed("other", pid)
    assert record["uid"] == 12_345


def test_the_dataset_looks_as_it_is_and_cannot_be_written(served: Watched):
    done = subprocess.run(
        [*served.inside, "diff", "-r", "--no-dereference", str(served.source), str(served.target)],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    for words in (["touch", "new"], ["rm", "big"], ["truncate", "-s", "0", "other"], ["chmod", "777", "small0"]):
        place = [*words[:-1], str(served.target / words[-1])]
        refused = subprocess.run([*served.inside, *place], capture_output=True, check=False)
        assert b"Read-only file system" in refused.stderr


def test_a_folder_of_thousands_is_listed_whole():
    if reason := why_not("fuse"):
        pytest.skip(reason)
    with watched(way="fuse", more_files=3000) as made:
        _, names = made.run("ls", "-U", made.target / "many")
        assert sorted(names.split()) == sorted(str(number).encode() for number in range(3000))


def test_where_the_kernel_must_use_its_cache_each_opening_is_an_upper_bound():
    """What FUSE is before Linux 6.6. A second reader finds everything in the cache, and has a record all the same."""
    if reason := why_not("fuse"):
        pytest.skip(reason)
    with watched(way="fuse-open") as made:
        assert made.seen["words"] == WHOLE
        for mode in ("pread", "pread", "mmap", "sendfile"):
            pid, got = made.read(mode, "big", MIB, 8192)
            assert got == made.file("big")[MIB : MIB + 8192]
            (record,) = made.closed("big", pid)
            assert (record["exactness"], record["ranges"]) == (WHOLE, [[0, BIG_BYTES]])


WITHOUT = """
import ctypes, os, struct, sys
def instruction(code, then, other, value):
    return struct.pack("=HBBI", code, then, other, value)
program = ctypes.create_string_buffer(
    instruction(0x20, 0, 0, 0) + instruction(0x15, 0, 1, int(sys.argv[1])) + instruction(6, 0, 0, 0x50000 | 38)
    + instruction(6, 0, 0, 0x7fff0000)
)
class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))
filtering = Program(4, ctypes.addressof(program))
assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0
assert ctypes.CDLL(None).prctl(22, 2, ctypes.byref(filtering), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs a program for which the kernel lacks one system call: the filter says ENOSYS to its number."""


FANOTIFY_INIT, MOUNT = 300, 165
"""Numbers of x86-64."""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls are a machine's own")
@pytest.mark.parametrize(
    ("lacks", "asked_for", "taken"),
    [
        (None, None, "fanotify"),
        (None, "fanotify-open", "fanotify-open"),
        (FANOTIFY_INIT, None, "fuse"),
        (FANOTIFY_INIT, "fanotify", None),
        (MOUNT, None, None),
    ],
)
def test_the_best_way_that_the_kernel_allows_is_taken(lacks: int | None, asked_for: str | None, taken: str | None):
    if reason := why_not("fuse") or why_not():
        pytest.skip(reason)
    before = [] if lacks is None else [sys.executable, "-c", WITHOUT, str(lacks)]
    with watched(way=asked_for, is_to_be=taken, before=before) as made:
        assert made.seen["name"] == taken
        if taken is None:
            assert "refused fanotify_init" in made.seen["words"] or "mount failed" in made.seen["words"]
            assert made.seen["next_step"]
            return
        pid, got = made.read("pread", "big", MIB, 8192)
        assert got == made.file("big")[MIB : MIB + 8192]
        assert covered(made.closed("big", pid)) >= pages(MIB, 8192)
