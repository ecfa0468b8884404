"""The local place for tests: a data folder with a short path, and an image whose server is a small stand-in."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from doubles.homes import shown_homes
from nightingale.contract.build import BuildSpec, ExitRecord, LauncherRecord, LaunchSpec
from nightingale.contract.vocabulary import Action, DesiredState
from nightingale_build.launcher.sandbox import probe_sandbox

INSTANCE_ID = f"i-{os.getpid():010}"
"""Another one in each test process: control groups are the whole machine's."""

SERVER = """
import json, os, resource, signal, socket, subprocess, sys, time
from pathlib import Path

home = Path(os.environ["NIGHTINGALE_HOME"])
wish = json.loads((home / "wish.json").read_text()) if (home / "wish.json").exists() else {}
print("first words", flush=True)
if "exit" in wish:
    print("cannot go on", file=sys.stderr, flush=True)
    sys.exit(wish["exit"])
if wish.get("is_deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def attempt(act):
    try:
        return repr(act())
    except Exception as error:
        return type(error).__name__ + ": " + str(error)


def connect():
    with socket.create_connection(("192.0.2.1", 80), timeout=1):
        return "connected"


def fill():
    with (home / "filling").open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, wish["fill_mib"] << 20)
        finally:
            file.truncate(0)


status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
data = Path(os.environ["NIGHTINGALE_DATA"])
seen = {
    "uid": os.getuid(),
    "cwd": os.getcwd(),
    "environment": dict(os.environ),
    "status": {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Uid")},
    "affinity": len(os.sched_getaffinity(0)),
    "data_limit": resource.getrlimit(resource.RLIMIT_DATA)[0],
    "core_limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "limits": json.loads((Path(os.environ["NIGHTINGALE_RUN"]) / "limits.json").read_text()),
    "has_token": len(Path(os.environ["NIGHTINGALE_TOKEN_FILE"]).read_text()) > 30,
    "network": attempt(connect),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "datasets": {path.name: sorted(entry.name for entry in path.iterdir()) for path in data.iterdir()},
    "dataset_write": [attempt(lambda: (path / "x").write_text("x")) for path in data.iterdir()],
    "root_write": attempt(lambda: Path("/x").write_text("x")),
    "tmp_write": attempt(lambda: Path("/tmp/x").write_text("x")),
    "shm_write": attempt(lambda: Path("/dev/shm/x").write_text("x")),
    "token_write": attempt(lambda: Path(os.environ["NIGHTINGALE_TOKEN_FILE"]).write_text("x")),
    "exists": {path: attempt(lambda: os.listdir(path)) for path in wish.get("paths", [])},
    "written": attempt(lambda: Path(wish["write"]).write_text("x")) if "write" in wish else "",
    "filled": attempt(fill) if "fill_mib" in wish else "",
    "person": attempt(lambda: __import__("pwd").getpwuid(os.getuid()).pw_name),
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
}
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", home.name], start_new_session=True)
(home / "starts").open("a").write("x")
(home / "seen.json.new").write_text(json.dumps(seen))
(home / "seen.json.new").rename(home / "seen.json")
server = socket.socket(socket.AF_UNIX)
server.bind(os.environ["NIGHTINGALE_RUN"] + "/jupyter.sock")
server.listen()
if "eat_mib" in wish:
    import mmap

    area = mmap.mmap(-1, wish["eat_mib"] * 1024 * 1024)  # shared and anonymous: no data limit counts it
    for page in range(0, len(area), 4096):
        area[page] = 1
while True:
    time.sleep(600)
"""


def wait_until(look: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Return the first true thing that `look` returns; files and locks offer nothing to wait on."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r} after {timeout_s} s"
        time.sleep(0.005)
    return found


def make_image(folder: Path, base: str = sys._base_executable) -> str:  # type: ignore[attr-defined] # of CPython
    """Make a virtual environment that holds nothing but the stand-in and return its interpreter."""
    package = folder / f"lib/python3.{sys.version_info.minor}/site-packages/nightingale_instance"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "serve.py").write_text(SERVER, encoding="utf-8")
    (folder / "pyvenv.cfg").write_text(f"home = {Path(base).parent}\n", encoding="utf-8")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(base)
    return str(folder / "bin" / "python")


def has_ended(process: psutil.Process) -> bool:
    """Return whether the process is gone, or waits for its parent to take notice."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class LocalPlace:
    """One data folder and what runs there."""

    def __init__(self, folder: Path, python: str = sys.executable, prefix: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.data_dir = folder / "d"
        self.data_dir.mkdir()
        self.python = python
        self.prefix = prefix
        self.image = make_image(folder / "image")
        self.instance_dir = self.data_dir / "instances" / INSTANCE_ID
        self.home_dir = self.data_dir / "homes" / INSTANCE_ID
        self.image_of_home = self.data_dir / "homes" / f"{INSTANCE_ID}.ext4"
        self._shown: contextlib.ExitStack | None = None

    @property
    def home(self) -> Path:
        """The home as it is: what is in its file system where it has one, which only its processes see."""
        if not self.image_of_home.exists():
            return self.home_dir
        if self._shown is None:
            self._shown = contextlib.ExitStack()
            self._homes = self._shown.enter_context(shown_homes(self.data_dir, self.python))
        return self._homes / INSTANCE_ID

    def look_away(self) -> None:
        """Let go of the home: nobody makes one larger while it is open."""
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def spec(self, **changes: Any) -> LaunchSpec:
        made = LaunchSpec(
            instance_id=INSTANCE_ID,
            name="brain",
            owner="ada",
            owner_uid=None,
            generation=1,
            instance_dir=str(self.instance_dir),
            home_dir=str(self.home_dir),
            python=self.image,
            cores=1,
            memory_mib=512,
            disk_gib=1,
            tier=0,
        )
        return msgspec.structs.replace(made, **changes)

    def build_spec(
        self,
        build_id: str = "b-0000000001",
        *,
        generation: int = 1,
        state: DesiredState = DesiredState.RUNNING,
        timeout_seconds: int = 30,
        **variables: Any,
    ) -> BuildSpec:
        return BuildSpec(
            build_id=build_id,
            instance_id=INSTANCE_ID,
            generation=generation,
            action=Action.LAUNCH,
            desired_state=state,
            place="local",
            timeout_seconds=timeout_seconds,
            variables={
                "instance_id": INSTANCE_ID,
                "name": "brain",
                "owner": "ada",
                "project": "demo",
                "machine_type": "c1-m512-g0",
                "image": self.image,
                "desired_state": state.value,
                "generation": generation,
                "spot": False,
                "root_gib": 0,
                "home_gib": 1,
                "home_snapshot_id": "",
                "datasets": [],
                "tags": {},
                "network": {
                    "data_dir": str(self.data_dir),
                    "launcher": [self.python, "-I", "-m", "nightingale_build.launcher"],
                    "owner_uid": None,
                },
                **variables,
            },
        )

    def wish(self, **wishes: Any) -> None:
        """Tell the next server what to do."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "wish.json").write_text(json.dumps(wishes), encoding="utf-8")
        (self.home / "seen.json").unlink(missing_ok=True)

    def loop_devices(self) -> list[str]:
        """Return the loop devices that stand behind files of this place."""
        found = []
        for bound in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if bound.read_text(encoding="utf-8").startswith(str(self.folder)):
                    found.append(bound.parts[3])
        return found

    def command(self, command: str) -> list[str]:
        return [*self.prefix, self.python, "-I", "-m", "nightingale_build.launcher", command]

    def environment(self, **told: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PLANTED_SECRET": "planted-secret", **told}

    def launcher(self, command: str, **told: str) -> subprocess.CompletedProcess[str]:
        self.look_away()
        return subprocess.run(
            self.command(command),
            env=self.environment(**told),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self, **changes: Any) -> subprocess.CompletedProcess[str]:
        return self.launcher("start", NIGHTINGALE_LAUNCH=msgspec.json.encode(self.spec(**changes)).decode())

    def started(self, **changes: Any) -> dict[str, Any]:
        """Start, and return what the server saw once it is up."""
        (self.home / "seen.json").unlink(missing_ok=True)
        done = self.start(**changes)
        assert done.returncode == 0, done.stderr
        return self.seen()

    def seen(self) -> dict[str, Any]:
        """Return what the server saw once it listens."""
        wait_until((self.instance_dir / "run" / "jupyter.sock").exists)
        found: dict[str, Any] = json.loads((self.home / "seen.json").read_text(encoding="utf-8"))
        return found

    def stop(self) -> subprocess.CompletedProcess[str]:
        return self.launcher("stop", NIGHTINGALE_STOP=json.dumps({"instance_dir": str(self.instance_dir)}))

    def remove(self, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        told = {"instance_dir": str(self.instance_dir), "home_dir": str(home or self.home_dir)}
        return self.launcher("remove", NIGHTINGALE_REMOVE=json.dumps(told))

    def record(self) -> LauncherRecord:
        return msgspec.json.decode((self.instance_dir / "launcher.json").read_bytes(), type=LauncherRecord)

    def ended(self, timeout_s: float = 20.0) -> ExitRecord:
        """Return the exit record once it is there."""
        wait_until((self.instance_dir / "exit.json").exists, timeout_s)
        return msgspec.json.decode((self.instance_dir / "exit.json").read_bytes(), type=ExitRecord)

    def processes(self) -> list[psutil.Process]:
        """Return the living processes of this place that are no launcher: by arguments and by working folder."""
        return [process for process, _ in self._living()]

    def running(self, program: str) -> list[psutil.Process]:
        """Return those of them that run this program."""
        return [process for process, words in self._living() if words[0] == program]

    def servers(self) -> list[psutil.Process]:
        """Return the stand-ins; a child that it has forked and that is not another program yet is none."""
        serving = "nightingale_instance.serve"
        found = [process for process, words in self._living() if words[0] == self.image and serving in words]
        return [process for process in found if process.ppid() not in {other.pid for other in found}]

    def _living(self) -> Iterator[tuple[psutil.Process, list[str]]]:
        """Yield each with its arguments, which are read once: those of a process that ends are soon gone."""
        named = (str(self.folder), self.image)
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if process.status() != psutil.STATUS_ZOMBIE and any(name in " ".join(words) for name in named):
                    yield process, words
            except psutil.Error:
                continue

    def server(self) -> psutil.Process:
        """Return the stand-in's process."""
        [found] = self.servers()
        return found


@contextlib.contextmanager
def open_local_place(python: str = sys.executable, prefix: tuple[str, ...] = ()) -> Iterator[LocalPlace]:
    """Make a place and end all that it started."""
    folder = Path(tempfile.mkdtemp(prefix="ng-"))
    place = LocalPlace(folder, python, prefix)
    try:
        yield place
    finally:
        place.look_away()
        place.stop()
        _, left = psutil.wait_procs(place.processes(), timeout=10)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not place.loop_devices(), 20.0)
        shutil.rmtree(folder)
        assert not left, f"left over: {left}"


@functools.cache
def sandbox_name() -> str | None:
    return probe_sandbox().name


needs_sandbox = pytest.mark.skipif(sandbox_name() is None, reason="no sandbox works here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
