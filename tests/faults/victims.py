"""Finds the processes of one platform by what they are for, and kills one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.outside import Outside
from e2e.processes import PROC, all_pids, arguments, descendants, is_alive, parent
from faults.plan import Kill, Victim

APPEARS_S = 2.0
"""Longest wait for a process that is not there yet at its moment: a build's Terraform, say."""

OBSERVER_MODULE = "nightingale_instance.audit"

_ON_THEIR_OWN = {Victim.API, Victim.SCHEDULER, Victim.GATEWAY, Victim.SUPERVISOR}
_IN_A_BUILD = {Victim.RUNNER, Victim.TERRAFORM, Victim.PROVISIONER}


@dataclass(frozen=True)
class Killed:
    """Who was killed, and when (seconds since 1970, of the clock that the platform's times come from)."""

    victim: Victim
    pid: int
    at: float
    after_s: float
    generation: int
    """Of the instance's start at that moment; 0 when there was none."""


def find(outside: Outside, victim: Victim, instance_id: str) -> list[int]:
    """Return the living processes of this kind; of builds and machines those of the instance, where it is known."""
    if victim in _ON_THEIR_OWN:
        pid = outside.pid(victim)
        return [pid] if pid and is_alive(pid) else []
    if victim in _IN_A_BUILD:
        return _of_builds(outside.folder, victim)
    return of_machine(outside.folder, victim, instance_id) if instance_id else []


def _of_builds(folder: Path, victim: Victim) -> list[int]:
    runners = [pid for pid in all_pids() if is_runner(arguments(pid), folder)]
    if victim is Victim.RUNNER:
        return runners
    below = [pid for runner in runners for pid in descendants(runner)]
    if victim is Victim.TERRAFORM:
        return [pid for pid in below if is_terraform(arguments(pid))]
    return [pid for pid in below if is_launcher(arguments(pid)) and is_terraform(arguments(parent(pid)))]


def of_machine(folder: Path, victim: Victim, instance_id: str) -> list[int]:
    """Return the launcher, the sandbox's processes, the server or its kernels of one instance."""
    launcher = int(_launcher(folder, instance_id).get("pid", 0))
    if not launcher or not is_launcher(arguments(launcher)):
        return []
    if victim is Victim.LAUNCHER:
        return [launcher]
    return sorted(pid for pid in descendants(launcher) if kind_inside(arguments(pid)) is victim)


def _launcher(folder: Path, instance_id: str) -> dict[str, Any]:
    """Return what the instance's launcher wrote of itself; nothing when there is none."""
    with contextlib.suppress(OSError, ValueError):
        record: dict[str, Any] = json.loads((folder / "instances" / instance_id / "launcher.json").read_text())
        return record
    return {}


def kind_inside(words: list[str]) -> Victim | None:
    """Return what a process below a launcher is for."""
    program = Path(words[0]).name if words else ""
    if program == "bwrap":
        return Victim.BWRAP
    if program == "nightingale-guard":
        return Victim.OBSERVER
    if not program.startswith("python"):
        return None
    if OBSERVER_MODULE in words:
        return Victim.OBSERVER
    if "nightingale_instance.serve" in words:
        return Victim.JUPYTER
    return Victim.KERNEL if "ipykernel_launcher" in words else None


def is_runner(words: list[str], folder: Path) -> bool:
    """Return whether this is a build runner of the platform in `folder`."""
    return "nightingale_build" in words and any(word.startswith(f"{folder}/builds/") for word in words)


def is_terraform(words: list[str]) -> bool:
    """Return whether this is Terraform itself."""
    return bool(words) and Path(words[0]).name.startswith("terraform")


def is_launcher(words: list[str]) -> bool:
    """Return whether this is a launcher, before or after it let go of Terraform."""
    return "nightingale_build.launcher" in words


def belonging_to(instance_id: str) -> list[int]:
    """Return the living processes that were started as part of an instance: its environment names it."""
    wanted = f"NIGHTINGALE_INSTANCE={instance_id}".encode()
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if wanted in (PROC / str(pid) / "environ").read_bytes().split(b"\0") and is_alive(pid):
                found.append(pid)
    return found


def strike(outside: Outside, kill: Kill, instance_id: str, sent_at: float) -> Killed | None:
    """Kill (-9) one process of the kind at its moment after `sent_at` (monotonic); None when there was none."""
    time.sleep(max(0.0, sent_at + kill.after_s - time.monotonic()))  # the moment is what a run is about
    until = time.monotonic() + APPEARS_S
    while time.monotonic() < until:
        found = find(outside, kill.victim, instance_id)
        if found:
            pid = found[int(kill.pick * len(found))]
            generation = int(_launcher(outside.folder, instance_id).get("generation", 0))
            with contextlib.suppress(ProcessLookupError):
                at = time.clock_gettime(time.CLOCK_REALTIME)
                os.kill(pid, signal.SIGKILL)
                return Killed(kill.victim, pid, at, time.monotonic() - sent_at, generation)
        time.sleep(0.002)  # other processes have no event to await
    return None
