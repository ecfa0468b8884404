"""The read audit on a platform that runs: a cell reads, the record is there; nothing inside can stop or blind it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from e2e.jupyter import run_cell
from e2e.outside import Outside, needs_everything
from e2e.processes import arguments, descendants, is_alive, wait_until

pytestmark = [
    *needs_everything,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="reads are watched by root"),
    pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="e2fsprogs is not on this machine"),
]

DICOM = """
import pathlib, pydicom, time
path = next(p for p in sorted(pathlib.Path("/data/demo-scans").rglob("*.dcm")))
pixels = pydicom.dcmread(path).pixel_array
import os
print(path.relative_to("/data/demo-scans"), os.getuid(), time.time())
"""


@pytest.fixture(scope="module", params=["", "fuse"])
def name(outside: Outside, request: pytest.FixtureRequest) -> Iterator[str]:
    """An instance whose reads are watched, in the best way and by FUSE; skipped, in its words, where nothing works."""
    setting, way = outside.folder / "observer", request.param
    if way:
        setting.write_text(way, encoding="ascii")
    seen = outside.run_one(f"reader{way}")
    observer = json.loads((outside.folder / "instances" / seen["id"] / "launcher.json").read_text())
    if observer["observer"] is None:
        pytest.skip(observer["observer_words"])
    assert not way or observer["observer"] == way
    yield f"reader{way}"
    setting.unlink(missing_ok=True)


def instance_folder(outside: Outside, name: str) -> Path:
    return outside.folder / "instances" / str(outside.get(name)["id"])


def reads(outside: Outside, name: str) -> list[dict[str, Any]]:
    said = outside.say("reads", name, person="ada")
    found: list[dict[str, Any]] = said["reads"] if isinstance(said, dict) else said
    return found


def read_of(outside: Outside, name: str, path: str, after: int = 0, seconds: float = 20) -> dict[str, Any]:
    """Return the record of a file that was opened, read and closed, once `nightingale reads` shows it."""
    until = time.monotonic() + seconds
    while True:
        found = [one for one in reads(outside, name) if one.get("path") == path and one["number"] > after]
        if found:
            return found[-1]
        assert time.monotonic() < until, f"no record of {path}"


def last_number(outside: Outside, name: str) -> int:
    return max(int(one["number"]) for one in reads(outside, name))


def test_a_cell_that_reads_an_image_leaves_a_record_within_seconds(outside: Outside, name: str) -> None:
    path, uid, at = run_cell(outside, name, DICOM).split()
    record = read_of(outside, name, path)
    shown_after = time.time() - float(at)  # noqa: TID251 - the wall's clock is what the cell printed
    assert shown_after < 10, "three seconds are promised; a loaded machine gets some more"
    print(f"shown {shown_after:.1f} s after the cell had read")  # noqa: T201 - a figure to report
    (end, _) = max((offset + length, 0) for offset, length in record["ranges"])
    assert (record["ranges"][0][0], end) == (0, record["size"])
    assert (record["dataset"], record["uid"]) == ("demo-scans", int(uid))
    assert "python" in record["program"]
    stream = f"reads-{outside.get(name)['id']}"
    (sealed,) = [one for one in outside.audit(stream) if one["detail"].get("number") == str(record["number"])]
    assert (sealed["actor"], sealed["subject"]) == ("ada", outside.get(name)["id"])


OBSERVER = "nightingale_instance.audit"
WRITERS = ("nightingale-guard", "nightingale_instance.audit.passed_through")
"""What answers readers: one or the other."""


def running(launcher: int, program: str) -> list[int]:
    """Return the processes under a launcher that are a program, or Python with a module."""
    found = []
    for pid in descendants(launcher):
        words = arguments(pid)
        if words and (Path(words[0]).name == program or program in words):
            found.append(pid)
    return found


ATTEMPTS = r"""
import ctypes, ctypes.util, json, os, pathlib, subprocess
told = json.loads(TOLD)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
FAILED = ctypes.c_void_p(-1).value
answers = {}


def command(name, *words):
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
        answers[name] = "" if done.returncode == 0 else "refused: " + (done.stderr or done.stdout)[-200:]
    except OSError as error:
        answers[name] = f"refused: {error}"


def call(name, result):
    error = ctypes.get_errno()
    answers[name] = "" if result not in (-1, FAILED) else f"refused: {os.strerror(error)}"


def python(name, act):
    try:
        act()
        answers[name] = ""
    except OSError as error:
        answers[name] = f"refused: {error}"


data = "/data/demo-scans"
command("umount", "umount", "-l", data)
command("remount", "mount", "-o", "remount,rw", data)
command("mount over", "mount", "-t", "tmpfs", "tmpfs", data)
command("mount namespace", "unshare", "-m", "true")
command("user namespace", "unshare", "-rm", "true")
over = f"mount -t overlay o -o lowerdir={data}:/tmp/l /tmp/m && cat /tmp/m/*"
command("overlay", "unshare", "-rm", "sh", "-c", "mkdir -p /tmp/l /tmp/m; " + over)
command("others' namespace", "nsenter", "-t", "1", "-m", "true")
connections = "/sys/fs/fuse/connections"
command("fuse connection", "sh", "-c", f"mount -t fusectl f {connections} && echo 1 > {connections}/*/abort")
own = "mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 f /tmp"
command("file system of its own", "sh", "-c", "exec 3<> /dev/fuse && " + own)
python("the volume behind", lambda: os.listdir(str(pathlib.Path(data).parent / ".demo-scans.volume")))
command("loop device", "mknod", "/tmp/loop", "b", "7", "0")
call("clone", libc.syscall(56 if os.uname().machine == "x86_64" else 220, 0x10000000 | 17, 0, 0, 0, 0))
call("open_tree", libc.syscall(428, -100, data.encode(), 1))
call("fsopen", libc.syscall(430, b"ext4", 0))
call("ptrace of the first", libc.ptrace(16, 1, None, None))
for pid in told["pids"]:
    python(f"kill {pid}", lambda: os.kill(pid, 9))
    call(f"ptrace {pid}", libc.ptrace(16, pid, None, None))
    python(f"see {pid}", lambda: os.listdir(f"/proc/{pid}"))
python("root of the first", lambda: os.listdir("/proc/1/root/"))
python("files of the first", lambda: os.listdir("/proc/1/fd"))
for path in told["paths"]:
    python(f"see {path}", lambda: os.stat(path))
handle = (ctypes.c_char * 136)()
ctypes.cast(handle, ctypes.POINTER(ctypes.c_uint))[0] = 128
mount = ctypes.c_int()
libc.name_to_handle_at(-100, data.encode(), handle, ctypes.byref(mount), 0)
folder = os.open(data, os.O_RDONLY)
call("open by handle", libc.open_by_handle_at(folder, handle, 0))
large = max((p for p in pathlib.Path(data).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
python("write", lambda: large.open("ab"))
python("remove", large.unlink)
descriptor = os.open(large, os.O_RDONLY)
at = libc.mmap(None, 4096, 1, 1, descriptor, 0)
call("grow a mapping", libc.mremap(at, 4096, 16384, 1))
call("a mapping that grows", libc.mmap(None, 4096, 1, 2 | 0x100, descriptor, 4096))
os.close(descriptor)
visible = sorted(int(n) for n in os.listdir("/proc") if n.isdigit())
names = [pathlib.Path(f"/proc/{n}/cmdline").read_bytes().replace(b"\0", b" ").decode() for n in visible]
secrets = [str(p) for p in pathlib.Path("/run").rglob("*") if "shipper" in p.name]
print(json.dumps({"answers": answers, "names": names, "secrets": secrets}))
"""


def test_nothing_inside_can_see_stop_or_go_around_the_observer(outside: Outside, name: str) -> None:
    folder = instance_folder(outside, name)
    launcher = outside.launcher_pid(outside.get(name)["id"])
    watching = [pid for program in (*WRITERS, OBSERVER) for pid in running(launcher, program)]
    assert len(watching) >= 2
    datasets = list(outside.folder.rglob("*.ext4"))
    assert datasets
    paths = [folder / "reads", folder / "observer.json", folder / "mounts", *datasets, datasets[0].with_suffix("")]
    paths += [path for path in folder.rglob("*") if "shipper" in path.name]
    told = json.dumps({"pids": [launcher, *watching], "paths": [str(path) for path in paths]})
    said = json.loads(run_cell(outside, name, ATTEMPTS.replace("TOLD", repr(told))))
    let = [attempt for attempt, answer in said["answers"].items() if not answer.startswith("refused")]
    assert let == []
    assert len(said["answers"]) > 25
    assert not [words for words in said["names"] if "guard" in words or "nightingale_instance.audit" in words]
    assert said["secrets"] == []
    assert all(psutil.pid_exists(pid) for pid in watching)
    before = last_number(outside, name)
    path, _, _ = run_cell(outside, name, DICOM).split()
    assert read_of(outside, name, path, before)["ranges"]


def test_an_observer_killed_by_root_is_started_again_and_the_next_read_is_recorded(outside: Outside, name: str) -> None:
    launcher = outside.launcher_pid(outside.get(name)["id"])
    for programs in (WRITERS, (OBSERVER,)):
        before = last_number(outside, name)
        victims = [pid for program in programs for pid in running(launcher, program)]
        assert victims
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, victims)), 20, "a killed observer that is dead")  # noqa: B023 - called at once
        path, _, _ = run_cell(outside, name, DICOM).split()
        read_of(outside, name, path, before)
        later = [one for one in reads(outside, name) if one["number"] > before]
        assert "observer_restarted" in {one["kind"] for one in later}
    seen = outside.get(name)
    told = [one for one in seen["notifications"] if "killed and replaced" in one["text"]]
    assert len(told) >= 2
    assert seen["reads_trouble"] is None  # readers waited, and wait no more
    assert told[-1]["text"] in outside.run("show", name, person="ada").stdout
    facts = [one for one in outside.audit() if one["tag"] == "observer:restart:succeeded"]
    assert [one["subject"] for one in facts][-2:] == [seen["id"]] * 2
    numbers = [one["number"] for one in reads(outside, name)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


KEPT = """
import pathlib, subprocess
file = next(p for p in pathlib.Path("/data/demo-scans").rglob("*.dcm")).open("rb")
subprocess.Popen(["setsid", "nohup", "sleep", "300.25"], stdin=file, start_new_session=True)
"""


def test_after_a_stop_everything_is_shipped_and_nothing_stays_mounted(outside: Outside, name: str) -> None:
    run_cell(outside, name, DICOM)
    run_cell(outside, name, KEPT)
    folder = instance_folder(outside, name)
    assert any("300.25" in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    outside.act(name, "stop")
    outside.until(name, "stopped")
    # A descriptor that was opened before would not be seen by the observer of the next start: none survives.
    assert not any("300.25" in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    found = reads(outside, name)
    assert sum(one["kind"] == "read" for one in found) >= 2
    for image in outside.folder.rglob("*.ext4"):
        assert str(image) not in Path("/proc/mounts").read_text()
    assert not (folder / "reads" / "outbox.json").exists()
    outside.act(name, "start")
    outside.until(name, "running")
    before = last_number(outside, name)
    path, _, _ = run_cell(outside, name, DICOM).split()
    assert read_of(outside, name, path, before)["number"] > before


def test_the_stream_of_reads_is_whole_and_a_changed_record_is_named(outside: Outside, name: str) -> None:
    for _ in range(3):
        before = last_number(outside, name)
        read_of(outside, name, run_cell(outside, name, DICOM).split()[0], before)
    stream = f"reads-{outside.get(name)['id']}"
    verified = outside.ask("GET", f"/v1/admin/audit/{stream}/verification", "grace")
    assert verified["first_bad"] is None
    assert verified["records"] > 3
    file = min((outside.folder / "audit" / stream).glob("*.jsonl"))
    good = file.read_bytes()
    lines = good.splitlines(keepends=True)
    assert b"demo-scans" in lines[2]
    seq = json.loads(lines[2])["seq"]
    try:
        file.write_bytes(b"".join([*lines[:2], lines[2].replace(b"demo-scans", b"other-scan"), *lines[3:]]))
        assert outside.ask("GET", f"/v1/admin/audit/{stream}/verification", "grace")["first_bad"] == seq
        file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
        assert outside.ask("GET", f"/v1/admin/audit/{stream}/verification", "grace")["first_bad"] == seq
    finally:
        file.write_bytes(good)
    assert outside.ask("GET", f"/v1/admin/audit/{stream}/verification", "grace")["first_bad"] is None
