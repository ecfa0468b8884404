"""A small dataset under a real observer, as the launcher keeps one, and programs that read it."""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from notebook_image.audit.taking import TakingPlatform

IMAGE_PYTHON = Path(__file__).parents[3] / "notebook-image" / ".venv" / "bin" / "python"
SERVER = "nightingale_instance.audit.passed_through"
TOKEN = "ns_demo_i-0123456789_" + "ab" * 32
MIB = 1 << 20
PAGE = 4096
BIG_BYTES = 6 * MIB + 1234
RANGES = "page-granular ranges asked for, by reader"
WHOLE = "whole file, upper bound"


def pages(offset: int, length: int) -> set[int]:
    """Return the pages of the large file that these bytes of it lie on."""
    return set(range(offset // PAGE, (min(offset + length, BIG_BYTES) + PAGE - 1) // PAGE))


def until(look: Callable[[], Any], seconds: float = 20) -> Any:
    """Return the first true thing that `look` returns: other processes and files offer nothing to await."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r} after {seconds} s"
        time.sleep(0.01)
    return found


class Watched:
    """One dataset and its observer. A process of its own holds the mount namespace, and we the kernel's descriptor."""

    def __init__(self, folder: Path, platform: TakingPlatform, spool: Path | None = None) -> None:
        self.folder = folder
        self.platform = platform
        self.source = folder / "datasets" / "ct" / "1"
        self.target = folder / "mounts" / "ct"
        self.spool = spool or folder / "reads"
        self.log = folder / "observer.log"
        self.way: str | None = "fanotify"
        """The only way that the observer is to try; None: the best it can."""
        self.before: list[str] = []
        """Words before the observer's command line."""
        self.extra: list[str] = []
        """More words for the observer's command line."""
        self.events: list[int] = []
        self.seen: dict[str, Any] = {}
        self.observer: subprocess.Popen[bytes] | None = None
        self._readers: list[subprocess.Popen[bytes]] = []
        self.holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sleep", "3600"], stdin=subprocess.DEVNULL
        )
        ours = Path("/proc/self/ns/mnt").readlink()
        until(lambda: Path(f"/proc/{self.holder.pid}/ns/mnt").readlink() != ours)
        self.tell()
        (folder / "token").write_text(TOKEN, encoding="ascii")
        self.spec = folder / "observer.json"
        mount = {"dataset": "ct", "version": "1", "tier": 1, "source": str(self.source), "target": str(self.target)}
        self.spec.write_text(
            json.dumps(
                {
                    "instance_id": "i-0123456789",
                    "spool_dir": str(self.spool),
                    "api_file": str(folder / "platform.json"),
                    "token_file": str(folder / "token"),
                    "mounts": [mount],
                }
            ),
            encoding="utf-8",
        )

    def tell(self, port: int | None = None) -> None:
        """Write down where the platform is."""
        part = self.folder / ".platform.json"
        part.write_text(json.dumps({"host": "127.0.0.1", "port": port or self.platform.port}), encoding="utf-8")
        part.replace(self.folder / "platform.json")

    @property
    def inside(self) -> list[str]:
        """The words before a command that make it see the mounts."""
        return ["nsenter", "-t", str(self.holder.pid), "-m", "--"]

    # --- the observer -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the observer, or start it again with the descriptor that is held here."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [
                *self.inside,
                *self.before,
                str(IMAGE_PYTHON),
                "-I",
                "-m",
                "nightingale_instance.audit",
                str(self.spec),
            ]
            command += ["--report-fd", str(theirs.fileno()), *self.extra]
            if self.way is not None:
                command += ["--way", self.way]
            kept = [theirs.fileno(), *self.events]
            if self.events:
                command += ["--events-fd", ",".join(str(one) for one in self.events)]
            with self.log.open("ab") as log:
                self.observer = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=kept, start_new_session=True
                )
            theirs.close()
            ours.settimeout(60)
            said, ancillary, _, _ = ours.recvmsg(65536, socket.CMSG_SPACE(4))
        assert said, self.log.read_text()
        self.seen = json.loads(said)
        for _, _, data in ancillary:
            descriptors = array.array("i", data)
            if not self.events:
                self.events = list(descriptors)
            else:
                for descriptor in descriptors:
                    os.close(descriptor)

    def stop(self) -> None:
        """End the observer as the launcher does, and let the kernel's descriptor go."""
        assert self.observer is not None
        self.observer.terminate()
        self.observer.wait(20)
        self.observer = None
        self.let_go()
        # With a launcher its mount namespace ends, and so do the mounts.
        subprocess.run([*self.inside, "umount", "-l", str(self.target)], check=True)
        if self.seen["name"].startswith("fuse"):
            subprocess.run(
                [*self.inside, "umount", "-l", f"{self.target.parent}/.{self.target.name}.volume"], check=True
            )

    def let_go(self) -> None:
        while self.events:
            os.close(self.events.pop())

    def kill_observer(self) -> None:
        assert self.observer is not None
        self.observer.kill()
        self.observer.wait(20)

    def guard(self) -> int:
        """Return the pid of the guard once there is one."""
        assert self.observer is not None
        parent = psutil.Process(self.observer.pid)

        def look() -> int:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in parent.children():
                    is_it = child.name().startswith("nightingale-gua") or SERVER in child.cmdline()
                    if child.status() != psutil.STATUS_ZOMBIE and is_it:
                        return int(child.pid)
            return 0

        return int(until(look))

    def kill_guard(self) -> None:
        """Kill the guard and return once it is dead: until then it may take a question, which the next one refuses."""
        victim = psutil.Process(self.guard())
        victim.kill()
        with contextlib.suppress(psutil.NoSuchProcess):
            while victim.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.001)

    def drain(self) -> subprocess.Popen[bytes]:
        """Start what ships the leftovers of an instance without an observer."""
        with self.log.open("ab") as log:
            drain = subprocess.Popen(
                [str(IMAGE_PYTHON), "-I", "-m", "nightingale_instance.audit", str(self.spec), "--drain"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._readers.append(drain)
        return drain

    # --- readers ------------------------------------------------------------------------------------------------------

    def begin(self, *words: str | Path, uid: int | None = None) -> subprocess.Popen[bytes]:
        """Start a program that sees the mounts; nsenter turns itself into it, so that the pid is the program's."""
        command = [*self.inside]
        if uid is not None:
            command += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
        command += [str(word) for word in words]
        begun = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._readers.append(begun)
        return begun

    def run(self, *words: str | Path, uid: int | None = None) -> tuple[int, bytes]:
        """Run a program to its end; return its pid and what it said."""
        begun = self.begin(*words, uid=uid)
        said, complaint = begun.communicate(timeout=60)
        if begun.returncode == 77:
            pytest.skip(f"this kernel has no such way to read: {complaint.decode()}")
        assert begun.returncode == 0, complaint.decode()
        return begun.pid, said

    def read(self, mode: str, name: str, offset: int, length: int) -> tuple[int, bytes]:
        """Read by `reader.c`; return its pid and what it got."""
        return self.run(reader(), mode, self.target / name, str(offset), str(length))

    def file(self, name: str) -> bytes:
        return (self.source / name).read_bytes()

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.file(name)).hexdigest()

    def of(self, name: str, pid: int | None = None) -> list[dict[str, Any]]:
        """Return the records that the platform has of a file, found by its content."""
        wanted = self.sha256(name)
        return [
            one
            for one in list(self.platform.records)
            if one.get("sha256") == wanted and (pid is None or one.get("pid") == pid)
        ]

    def closed(self, name: str, pid: int | None = None) -> list[dict[str, Any]]:
        """Return the records of a file and reader once one says that it was closed."""

        def look(_: list[dict[str, Any]]) -> list[dict[str, Any]]:
            found = self.of(name, pid)
            return found if any("closed_at" in one for one in found) else []

        found: list[dict[str, Any]] = self.platform.until(look)
        return found

    def end(self) -> None:
        """End everything that was started here."""
        self.let_go()
        for begun in self._readers:
            if begun.poll() is None:
                begun.kill()
            begun.wait(20)
            for pipe in (begun.stdin, begun.stdout, begun.stderr):
                if pipe is not None:
                    pipe.close()
        if self.observer is not None:
            if self.observer.poll() is None:
                self.observer.kill()
            self.observer.wait(20)
        self.holder.kill()
        self.holder.wait(20)


@functools.cache
def reader() -> Path:
    """Return the compiled `reader.c`; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the readers cannot be built")
    folder = Path(tempfile.gettempdir()) / f"nightingale-reader-{os.getpid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source = Path(__file__).with_name("reader.c")
    made = folder / "reader"
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", made, source], check=True)
    return made


def dicom_file() -> Path:
    """Return a CT slice that comes with pydicom, which is in the image."""
    (found,) = IMAGE_PYTHON.parent.parent.glob("lib/python3*/site-packages/pydicom/data/test_files/CT_small.dcm")
    return found


def make_dataset(folder: Path) -> None:
    """Fill a dataset's folder: a large file under two names and a link, small ones, one by an imaging device."""
    (folder / "deep").mkdir(parents=True)
    content = random.Random(4)  # noqa: S311 - content that does not repeat, no secret
    (folder / "big").write_bytes(content.randbytes(BIG_BYTES))
    os.link(folder / "big", folder / "deep" / "hard")
    (folder / "deep" / "soft").symlink_to("../big")
    (folder / "other").write_bytes(content.randbytes(2 * MIB))
    for number in range(5):
        (folder / f"small{number}").write_bytes(content.randbytes(10_000 + number))
    shutil.copy(dicom_file(), folder / "slice.dcm")


@contextmanager
def watched(
    *extra: str,
    spool: Path | None = None,
    way: str | None = "fanotify",
    before: Sequence[str] = (),
    is_to_be: str | None = "",
    more_files: int = 0,
) -> Iterator[Watched]:
    """Pack the dataset, start its observer, and end both afterwards. `way` is what it is to try, `is_to_be` to take."""
    folder = Path(tempfile.mkdtemp(prefix="ng-reads-"))
    folder.chmod(0o755)
    platform = TakingPlatform(TOKEN)
    made = Watched(folder, platform, spool)
    try:
        make_dataset(made.source)
        if more_files:
            (made.source / "many").mkdir()
        for number in range(more_files):
            (made.source / "many" / str(number)).touch()
        made.way, made.before, made.extra = way, list(before), list(extra)
        made.start()
        assert made.seen["name"] == (way if is_to_be == "" else is_to_be), made.seen
        made.target.parent.mkdir(exist_ok=True)
        made.target.parent.chmod(0o755)  # the sandbox binds the mount itself
        yield made
    finally:
        made.end()
        platform.end()
        shutil.rmtree(folder)


@functools.cache
def why_not(way: str = "fanotify") -> str:
    """Return why reads cannot be watched here in a way, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if not IMAGE_PYTHON.exists():
        return "the image's environment is not made here"
    if shutil.which("nsenter") is None or shutil.which("mkfs.ext4") is None:
        return "needs util-linux and e2fsprogs"
    guard = next(IMAGE_PYTHON.parent.parent.glob("lib/python3*/site-packages/nightingale_instance/audit/*-guard"), None)
    if guard is None and way == "fanotify":
        return "the image was made without a C compiler"
    try:
        with watched(way=way):
            return ""
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return f"this kernel does not tell of each read: {error}"


needs_watching = [
    pytest.mark.e2e,
    pytest.mark.root,
    pytest.mark.image,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not IMAGE_PYTHON.exists(), reason="the image's environment is not made here"),
]
