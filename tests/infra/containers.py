"""The built notebook image for the launcher's tests, and what is left of its containers."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, wait_until

CONTAINER = "localhost/nightingale-notebook:cpu"
UID = 23_456


def podman(*arguments: str) -> str:
    """Return what podman says, as an administrator of this machine asks it."""
    command = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout


@functools.cache
def why_no_container() -> str:
    """Return why none can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "containers are started by root"
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian, Ubuntu: apt install podman runc)"
    there = subprocess.run(["podman", "image", "exists", CONTAINER], check=False, timeout=50)
    return "" if there.returncode == 0 else f"{CONTAINER} is not built: ./run image"


def require_container() -> None:
    """Skip without the image; where CI has just built it, its absence is a failure."""
    if not why_no_container():
        return
    if os.environ.get("NIGHTINGALE_IMAGE") == "required":
        pytest.fail(why_no_container())
    pytest.skip(why_no_container())


class Contained:
    """One instance of a local place whose image names a container."""

    def __init__(self, place: LocalPlace) -> None:
        self.place = place

    def start(self, **changes: Any) -> subprocess.CompletedProcess[str]:
        return self.place.start(**{"container": CONTAINER, "owner_uid": UID, "memory_mib": 1024, **changes})

    def run(self, **changes: Any) -> None:
        """Start it, and return once its Jupyter answers."""
        done = self.start(**changes)
        assert done.returncode == 0, done.stderr
        wait_until(self.is_ready, 40)

    def is_ready(self) -> bool:
        return '"words": "ready ' in self.log()

    def log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.place.instance_dir / "jupyter.log").read_text(encoding="utf-8")
        return ""

    def processes(self, program: str = "") -> list[psutil.Process]:
        """Return what runs of it; those of one program where it is named."""
        return [one for one in _marked() if program in {"", _name(one)}]

    def server(self) -> psutil.Process:
        """Return Jupyter's process, which is the person's."""
        [found] = [one for one in _marked() if "nightingale_instance.serve" in _words(one)]
        return found

    def containers(self) -> list[str]:
        return podman("ps", "--all", "--filter", f"name={INSTANCE_ID}", "--format", "{{.Names}}").split()

    def mounts(self) -> list[str]:
        """Return what is mounted of it for everybody on this machine."""
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if str(self.place.folder) in line]

    def wait_until_gone(self) -> None:
        """Return once nothing runs of it; what remains is podman's own note, see `containers`."""
        wait_until(lambda: self.processes() == [], 20)


def _marked() -> Iterator[psutil.Process]:
    """Yield what has the mark in its environment; conmon is handed none, and is known by its arguments."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("NIGHTINGALE_INSTANCE") == INSTANCE_ID or (
                process.name() == "conmon" and INSTANCE_ID in process.cmdline()
            ):
                yield process


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return "gone"


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []
