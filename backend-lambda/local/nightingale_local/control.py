"""Starting, showing and ending a platform on this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from nightingale.adapters.local_build import LocalBuilder
from nightingale.adapters.local_files import is_held
from nightingale.adapters.local_machines import LocalMachines
from nightingale.contract.build import LauncherRecord
from nightingale_local.folders import Folders, Ready, Settings, StoreChoice, read_json, write_json
from nightingale_local.supervisor import Supervisor, already_up, held, is_up
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ClientError
from nightingale_tui.settings import DEFAULT_URL

CHILDREN = ("api", "scheduler", "gateway", "index", "scan")
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_SUPERVISE = "from nightingale_local.control import supervise; import sys; supervise(sys.argv[1], sys.argv[2])"


class LocalError(ClientError):
    """The platform on this machine cannot do that; says why and what to do next."""


def choose_settings(folders: Folders, port: int | None, store: StoreChoice | None = None) -> Settings:
    """Return and keep ports, image and store: what was asked for, else what they were, else the usual or a free one.

    Raises LocalError `port_taken`, `image_missing`, `other_store`.
    """
    kept = read_json(folders.settings, Settings)
    known = kept or Settings()
    if kept is not None and store not in {None, kept.store}:
        raise LocalError(
            "other_store",
            f"The platform in {folders.root} keeps its items in {kept.store.kind}, and would not find them elsewhere.",
            "Leave --store out, or name another folder with --dir.",
        )
    usual = int(DEFAULT_URL.rpartition(":")[2])
    wanted = port if port is not None else known.port or usual
    if wanted and not _is_free(known.host, wanted):
        raise LocalError(
            "port_taken",
            f"Port {wanted} of {known.host} is taken by another program.",
            "Name another with --port, or --port 0 for any free one.",
        )
    if port is None and known.gateway_port and not _is_free(known.host, known.gateway_port):
        raise LocalError(
            "port_taken",
            f"Port {known.gateway_port}, the SSH gateway's, is taken by another program.",
            f"End that program, or remove {folders.settings} to have another port chosen.",
        )
    gateway = known.gateway_port if known.gateway_port and _is_free(known.host, known.gateway_port) else 0
    settings = Settings(
        host=known.host,
        port=wanted or _free_port(known.host),
        gateway_port=gateway or _free_port(known.host),
        image_python=str(find_image_python()),
        store=store or known.store,
    )
    write_json(folders.settings, settings)
    return settings


def find_image_python() -> Path:
    """Return the interpreter of the image's environment. Raises LocalError `image_missing`."""
    named = os.environ.get("NIGHTINGALE_IMAGE_PYTHON")
    checkout = Path(__file__).resolve().parents[3] / "notebook-image" / ".venv" / "bin" / "python"
    python = Path(named).absolute() if named else checkout  # what was named is never replaced by another in silence
    if python.is_file():
        return python
    raise LocalError(
        "image_missing",
        f"The image's environment is not there: {python}.",
        "Make it with `./run setup`, or name its interpreter in NIGHTINGALE_IMAGE_PYTHON.",
    )


def up_detached(
    folders: Folders, port: int | None, host: str = "chalice", store: StoreChoice | None = None
) -> Settings:
    """Start the platform in the background and return once it serves; one that is up already is left as it is."""
    settings = read_json(folders.settings, Settings)
    if is_up(folders) and settings is not None:
        if port not in {None, 0, settings.port}:
            raise already_up(folders)
        _wait_until_up(folders, settings, None)
        return settings
    folders.prepare()
    settings = choose_settings(folders, port, store)
    log = folders.logs / "supervisor.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SUPERVISE, str(folders.root), host],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    _wait_until_up(folders, settings, process)
    return settings


def up(
    folders: Folders,
    port: int | None,
    host: str,
    note: Callable[[Settings], None],
    store: StoreChoice | None = None,
) -> None:
    """Run the platform until this process is told to end. Raises FolderError, LocalError."""
    folders.prepare()
    if is_up(folders):
        raise already_up(folders)
    note(choose_settings(folders, port, store))
    supervise(str(folders.root), host)


def supervise(root: str, host: str) -> None:
    """Run the supervisor in this process until it is told to end. Raises FolderError."""
    folders = Folders(Path(root))
    settings = read_json(folders.settings, Settings)
    if settings is None:
        raise SystemExit(f"{folders.settings} is missing")
    with held(folders):
        Supervisor(folders, settings, host).run()


def _wait_until_up(folders: Folders, settings: Settings, process: subprocess.Popen[bytes] | None) -> None:
    until = time.monotonic() + _START_SECONDS
    with contextlib.closing(Api(settings.url)) as api:
        while time.monotonic() < until:
            if process is not None and process.poll() is not None:
                break
            if all(folders.ready(child).exists() for child in CHILDREN):
                with contextlib.suppress(ClientError):
                    api.get_health()
                    return
            time.sleep(0.05)
    words = [line for child in ("supervisor", *CHILDREN) for line in _last_lines(folders.logs / f"{child}.log", 3)]
    if process is not None and process.poll() is None:
        process.terminate()
    raise LocalError(
        "not_up",
        "The platform did not come up. Last words: " + (" | ".join(words) or "none"),
        f"The logs are in {folders.logs}.",
    )


def down(folders: Folders, *, with_instances: bool) -> int:
    """End the platform; with `with_instances` builds and machines too. Return how many instances run on."""
    told = 0
    until = time.monotonic() + _STOP_SECONDS
    while is_up(folders):
        # One that has just started may not have written its pid yet.
        ready = read_json(folders.ready("supervisor"), Ready)
        if ready is not None and ready.pid != told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(ready.pid, signal.SIGTERM)
            told = ready.pid
        if time.monotonic() > until:
            raise LocalError("still_up", "The platform did not end in time.", f"See {folders.logs}.")
        time.sleep(0.05)
    if with_instances:
        _end_builds(folders)  # first: one that runs on would start a machine after the others have ended
    machines = LocalMachines(folders.root, python=sys.executable)
    running = machines.find_all()
    if with_instances:
        for instance_id in running:
            machines.end_orphan(instance_id, is_for_good=False)
        return len(machines.find_all())
    return len(running)


def _end_builds(folders: Folders) -> None:
    builder = LocalBuilder(folders.root, python=sys.executable)
    until = time.monotonic() + _STOP_SECONDS
    while running := [lock.parent.name for lock in folders.root.glob("builds/*/lock") if is_held(lock)]:
        for build_id in running:
            builder.cancel(build_id)
        if time.monotonic() > until:
            raise LocalError("still_up", f"Builds did not end in time: {', '.join(running)}.", "Try again.")
        time.sleep(0.05)


def status(folders: Folders) -> dict[str, Any]:
    """Return what runs: each process with pid, port and memory (resident, MiB)."""
    settings = read_json(folders.settings, Settings)
    up = is_up(folders)
    processes = []
    for name in ("supervisor", *CHILDREN):
        ready = read_json(folders.ready(name), Ready) if up else None
        if ready is not None:
            processes.append({"name": name, "port": ready.port or None, **_process(ready.pid)})
    return {
        "dir": str(folders.root),
        "is_up": up,
        "url": settings.url if settings is not None else None,
        "profile": "root" if os.geteuid() == 0 else "user",
        "processes": processes,
        "instances": list(_instances(folders)),
    }


def fetch_metrics(folders: Folders) -> str:
    """Return the page of the platform that runs on this folder. Raises LocalError when none does."""
    settings = read_json(folders.settings, Settings)
    if settings is not None:
        connection = http.client.HTTPConnection(settings.host, settings.port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            if answer.status == HTTPStatus.OK:
                return answer.read().decode()
        except (OSError, http.client.HTTPException):
            pass  # said below: it does not serve
        finally:
            connection.close()
    raise LocalError(
        "not_up",
        f"No platform serves on {folders.root}.",
        f"Start one: nightingale local up --dir {folders.root} --detach.",
    )


def _instances(folders: Folders) -> Iterator[dict[str, Any]]:
    for instance_id, generation in LocalMachines(folders.root, python=sys.executable).find_all().items():
        record = read_json(folders.root / "instances" / instance_id / "launcher.json", LauncherRecord)
        if record is not None:
            yield {"id": instance_id, "generation": generation, **_process(record.pid)}


def _process(pid: int) -> dict[str, Any]:
    """Return a process's pid and resident memory."""
    try:
        memory = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return {"pid": pid, "memory_mib": None}
    return {"pid": pid, "memory_mib": round(memory / 2**20, 1)}


def _last_lines(path: Path, count: int) -> list[str]:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []
    return [_message(line) for line in lines]


def _message(line: str) -> str:
    with contextlib.suppress(json.JSONDecodeError, TypeError, KeyError):
        return str(json.loads(line)["message"])
    return line.strip()


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
