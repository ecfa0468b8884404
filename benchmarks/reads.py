"""Reads of a watched dataset, to reads of the same file system unwatched: what the read audit costs a reader.

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
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGE_PYTHON = str(ROOT / "notebook-image/.venv/bin/python")
MODULE = "nightingale_instance.audit"

BOUNDS = {"1 MiB reads": 0.85, "mmap": 0.85, "4 KiB reads": 0.65, "10,000 files of 8 KiB": 0.2}
"""Least speed, as a part of the unwatched one."""

ROUNDS = 8
BIG_BYTES = 256 << 20
SMALL_FILES = 10_000

READER = """
import mmap, os, sys, time
folder, what = sys.argv[1:]
def big(size):
    descriptor = os.open(f"{folder}/big", os.O_RDONLY)
    buffer = bytearray(size)
    while os.readv(descriptor, [buffer]):
        pass
    os.close(descriptor)
def mapped():
    with open(f"{folder}/big", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        sum(pages[0 : len(pages) : 4096])
def small():
    for number in range(10_000):
        with open(f"{folder}/small/{number}", "rb", 0) as file:
            file.read()
ways = {"1 MiB reads": lambda: big(1 << 20), "mmap": mapped, "4 KiB reads": lambda: big(4096)}
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
    (source / "big").write_bytes(os.urandom(1 << 20) * (BIG_BYTES >> 20))
    for number in range(SMALL_FILES):
        (source / "small" / str(number)).write_bytes(os.urandom(8192))
    command = [IMAGE_PYTHON, "-I", "-m", MODULE, "pack", str(source)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return source


@contextmanager
def unwatched(folder: Path, source: Path) -> Iterator[int]:
    """Yield the pid of a process in whose mount namespace the image is mounted at `folder`/mount."""
    device = f"$(losetup --find --show --read-only {source}.ext4)"  # its own: `-o loop` may take the watched one
    script = f"mount -t ext4 -o ro,noatime {device} {folder}/mount && echo up && exec sleep infinity"
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdout.readline() != b"up\n":
            raise SystemExit("the image could not be mounted: is there a loop device?")
        yield process.pid
        process.kill()


@contextmanager
def watched(folder: Path, source: Path) -> Iterator[int]:
    """Yield the pid of an observer that watches the image, mounted in its mount namespace at `folder`/mount."""
    spec = {
        "instance_id": "i-0000000001",
        "spool_dir": str(folder / "spool"),
        "api_file": str(folder / "nowhere.json"),  # records stay in the spool: shipping costs the reader nothing
        "token_file": str(folder / "nowhere.token"),
        "mounts": [{"dataset": "d", "version": "1", "tier": 1, "source": str(source), "target": str(folder / "mount")}],
    }
    (folder / "observer.json").write_text(json.dumps(spec))
    ours, theirs = socket.socketpair()
    with ours, theirs, (folder / "observer.log").open("w") as log:
        command = ["unshare", "-m", "--propagation", "private", IMAGE_PYTHON, "-I", "-m", MODULE]
        command += [str(folder / "observer.json"), "--report-fd", str(theirs.fileno()), "--most-segments", "1000"]
        with subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=log) as process:
            theirs.close()
            said = json.loads(ours.recv(65536))
            if said["name"] != "fanotify":
                raise SystemExit(f"nothing watches with ranges here: {said['words']}")
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
    with tempfile.TemporaryDirectory(prefix="nightingale-reads-") as name:
        folders = Path(name, "plain"), Path(name, "watched")
        for folder in folders:
            (folder / "mount").mkdir(parents=True)
        source = make_dataset(Path(name))
        with unwatched(folders[0], source) as plain, watched(folders[1], source) as observer:
            for what in BOUNDS:
                rounds = [
                    (seconds(plain, folders[0] / "mount", what), seconds(observer, folders[1] / "mount", what))
                    for _ in range(ROUNDS)
                ][1:]
                native, seen = (statistics.median(side) for side in zip(*rounds, strict=True))
                found[what] = {"unwatched s": round(native, 4), "watched s": round(seen, 4), "ratio": native / seen}
            time.sleep(1)  # what is left of the spool is written
    is_held = True
    for what, row in found.items():
        verdict = "" if row["ratio"] >= BOUNDS[what] else "  MISSED"
        is_held = is_held and not verdict
        print(
            f"{what:<24} {row['unwatched s']:8.4f} s  watched {row['watched s']:8.4f} s  "
            f"speed {row['ratio']:.2f} (at least {BOUNDS[what]}){verdict}"
        )
    print(json.dumps({"reads": found, "load": os.getloadavg()[0], "ok": is_held}))
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
