"""Reads of a watched dataset, to reads of the same file system unwatched: what the read audit costs a reader.

FUSE, the second way to watch, stands beside fanotify without a bound.

Root on Linux only, with the image's environment set up (./run setup). Both sides mount the same packed image, read it
warm and take turns; the first round is thrown away, the rest are medians. Prints a table, then a line of JSON; exit
status 1 when a bound is missed.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGE_PYTHON = str(ROOT / "notebook-image/.venv/bin/python")
MODULE = "nightingale_instance.audit"

BOUNDS = {"1 MiB reads": 0.85, "mmap": 0.85, "4 KiB reads": 0.65, "10,000 files of 8 KiB": 0.2, "256 of 1 MiB": None}
"""Least speed, as a part of the unwatched one. The last is a file whose reads are asked about one by one to its end: it
has no bound, and stands here so that nobody takes the first for it."""

ROUNDS = 8
BIG_BYTES = 1 << 30
"""Four times what is asked about at one opening when it is read by 1 MiB."""
SMALL_FILES = 10_000

READER = """
import mmap, os, sys, time
folder, what = sys.argv[1:]
def big(size, most=1 << 30):
    descriptor = os.open(f"{folder}/big", os.O_RDONLY)
    buffer = bytearray(size)
    while most and os.readv(descriptor, [buffer]):
        most -= 1
    os.close(descriptor)
def mapped():
    with open(f"{folder}/big", "rb") as file, mmap.mmap(file.fileno(), 1 << 28, access=mmap.ACCESS_READ) as pages:
        sum(pages[0 : len(pages) : 4096])
def small():
    for number in range(10_000):
        with open(f"{folder}/small/{number}", "rb", 0) as file:
            file.read()
ways = {"1 MiB reads": lambda: big(1 << 20), "mmap": mapped, "4 KiB reads": lambda: big(4096, 1 << 16),
        "256 of 1 MiB": lambda: big(1 << 20, 256)}
way = ways.get(what, small)
way()
began = time.perf_counter()
way()
print(time.perf_counter() - began)
"""


def make_dataset(folder: Path) -> Path:
    """Return a dataset's folder, packed."""
    source = folder / "dataset" / "1"
    (source / "small").mkdir(parents=True)
    with (source / "big").open("wb") as file:
        file.writelines([os.urandom(1 << 20)] * (BIG_BYTES >> 20))
    for number in range(SMALL_FILES):
        (source / "small" / str(number)).write_bytes(os.urandom(8192))
    command = [IMAGE_PYTHON, "-I", "-m", MODULE, "pack", str(source)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return source


@contextmanager
def unwatched(folder: Path, source: Path) -> Iterator[int]:
    """Yield the pid of a process in whose mount namespace the image is mounted at `folder`/mount."""
    # A loop device of its own: `-o loop` may take the watched one. Let go at once, it ends with the mount.
    script = f"""device=$(losetup --find --show --read-only {source}.ext4) &&
        mount -t ext4 -o ro,noatime $device {folder}/mount && losetup -d $device && echo up && exec sleep infinity"""
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdout.readline() != b"up\n":
            raise SystemExit("the image could not be mounted: is there a loop device?")
        yield process.pid
        process.kill()


@contextmanager
def watched(folder: Path, source: Path, way: str, platform: int = 0) -> Iterator[int]:
    """Yield the pid of an observer that watches the image, mounted in its mount namespace at `folder`/mount.

    Without the port of a platform its records stay in the spool.
    """
    spec = {
        "instance_id": "i-0000000001",
        "spool_dir": str(folder / "spool"),
        "api_file": str(folder / "platform.json"),
        "token_file": str(folder / "token"),
        "mounts": [{"dataset": "d", "version": "1", "tier": 1, "source": str(source), "target": str(folder / "mount")}],
    }
    (folder / "observer.json").write_text(json.dumps(spec))
    if platform:
        (folder / "platform.json").write_text(json.dumps({"host": "127.0.0.1", "port": platform}))
        (folder / "token").write_text("none")
    ours, theirs = socket.socketpair()
    with ours, theirs, (folder / "observer.log").open("w") as log:
        command = ["unshare", "-m", "--propagation", "private", IMAGE_PYTHON, "-I", "-m", MODULE]
        command += [str(folder / "observer.json"), "--report-fd", str(theirs.fileno()), "--most-segments", "1000"]
        command += ["--way", way]
        with subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=log) as process:
            theirs.close()
            said = json.loads(ours.recv(65536))
            if said["name"] != way:
                raise SystemExit(f"{way} does not watch here: {said['words']}")
            yield process.pid
            process.terminate()


def seconds(pid: int, mount: Path, what: str) -> float:
    """Return how long one warm pass takes inside a process's mount namespace."""
    command = ["nsenter", "-t", str(pid), "-m", "--", sys.executable, "-I", "-c", READER, str(mount), what]
    return float(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)


def main() -> int:
    """Measure, print, and return 1 when a bound is missed."""
    if os.geteuid() != 0 or not Path(IMAGE_PYTHON).exists():
        sys.stderr.write("reads are watched for root only, after ./run setup: nothing was measured\n")
        return 0
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="nightingale-reads-") as name, ExitStack() as stack:
        source = make_dataset(Path(name))
        folders = {side: Path(name, side) for side in ("unwatched", "fanotify", "fuse")}
        for folder in folders.values():
            (folder / "mount").mkdir(parents=True)
        pids = {"unwatched": stack.enter_context(unwatched(folders["unwatched"], source))}
        pids["fanotify"] = stack.enter_context(watched(folders["fanotify"], source, "fanotify"))
        if os.access("/dev/fuse", os.R_OK):
            pids["fuse"] = stack.enter_context(watched(folders["fuse"], source, "fuse"))
        for what in BOUNDS:
            rounds = [
                {side: seconds(pid, folders[side] / "mount", what) for side, pid in pids.items()} for _ in range(ROUNDS)
            ][1:]
            found[what] = {side: round(statistics.median(one[side] for one in rounds), 4) for side in pids}
        time.sleep(1)  # what is left of the spool is written
    is_held = True
    for what, row in found.items():
        speeds = {side: row["unwatched"] / taken for side, taken in row.items() if side != "unwatched"}
        bound = BOUNDS[what]
        least = "no bound" if bound is None else f"at least {bound}"
        verdict = "" if bound is None or speeds["fanotify"] >= bound else "  MISSED"
        is_held = is_held and not verdict
        beside = f"  FUSE {row['fuse']:8.4f} s  speed {speeds['fuse']:.2f}" if "fuse" in speeds else ""
        print(
            f"{what:<24} {row['unwatched']:8.4f} s  watched {row['fanotify']:8.4f} s  "
            f"speed {speeds['fanotify']:.2f} ({least}){verdict}{beside}"
        )
        row["ratio"] = speeds["fanotify"]
    print(json.dumps({"reads": found, "load": os.getloadavg()[0], "ok": is_held}))
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
