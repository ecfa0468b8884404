"""Stops the time of all that runs in an instance's sandbox, and lets it go on.

    control group, version 1   freezer.state   FROZEN / THAWED      a SIGKILL waits until it is thawed
    control group, version 2   cgroup.freeze   1 / 0                a SIGKILL ends it at once
    neither                    SIGSTOP / SIGCONT to every process below the server

The group holds the sandbox and all in it, a container of podman's too, which lies in a group below. The observer of the
datasets and its shipper are in none of these: what was read before is still recorded and shipped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from nightingale_build.launcher import sandbox as sandboxes
from nightingale_build.launcher.limits import CGROUP_ROOT, OURS

FREEZES_S = 3.0
"""Longest wait: a process that waits for its observer is frozen once that has answered."""

_LOOK_S = 0.005
_QUIET_LOOKS = 2
_STOPPED = frozenset("TtZX")
"""States of /proc/pid/stat in which a process runs no more of its code: stopped, traced, dead."""

OBSERVER = b"nightingale_instance.audit"
PROC = Path("/proc")


class Freezer:
    """What can be frozen of one instance. `launcher` is the launcher's pid, None where none lives."""

    def __init__(self, instance_id: str, launcher: int | None, *, sandbox: str = "", root: Path = CGROUP_ROOT) -> None:
        """Take which instance, its launcher and the name of its sandbox."""
        self._launcher = launcher
        self._is_sandboxed = sandbox != sandboxes.NONE
        self._older = root / "freezer" / OURS / instance_id
        self._unified = root / OURS / instance_id

    def freeze(self) -> str:
        """Return why it is not frozen; empty once all of it is."""
        if self._members():
            if self._set(is_frozen=True):
                return ""
            return "its control group does not freeze: a process of it waits in the kernel"
        if self._launcher is None:
            return ""
        if not (server := self._below()):
            return "its server is only starting"
        return "" if _stop(self._below) else f"{len(server)} processes of it, or fewer, do not stop"

    def thaw(self) -> str:
        """Return why it does not go on; empty once all of it does."""
        if self._members() and not self._set(is_frozen=False):
            return "its control group does not thaw"
        for pid in self._below():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)
        return ""

    def end(self) -> None:
        """Kill all of it, without a moment in which it goes on."""
        for pid in {*self._members(), *self._below()}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._set(is_frozen=False)

    def _members(self) -> list[int]:
        """Return the processes of the group and of groups below."""
        found = []
        for group in (self._older, self._unified):
            for file in (group / "cgroup.procs", *group.glob("*/cgroup.procs")):
                with contextlib.suppress(OSError):
                    found += [int(pid) for pid in file.read_text(encoding="ascii").split()]
        return found

    def _set(self, *, is_frozen: bool) -> bool:
        """Return whether the group is as told; one that is not there is."""
        ways = (
            (self._older / "freezer.state", "FROZEN" if is_frozen else "THAWED", self._older / "freezer.state"),
            (self._unified / "cgroup.freeze", "1" if is_frozen else "0", self._unified / "cgroup.events"),
        )
        until = time.monotonic() + FREEZES_S
        for told, word, seen in ways:
            if not told.exists():
                continue
            wanted = word if seen == told else f"frozen {word}"
            with contextlib.suppress(OSError):
                told.write_text(word, encoding="ascii")
            while wanted not in _lines(seen):
                if time.monotonic() > until:
                    return False
                time.sleep(_LOOK_S)
                with contextlib.suppress(OSError):
                    told.write_text(word, encoding="ascii")  # version 1 gives up on what could not be frozen at once
        return True

    def _below(self) -> dict[int, str]:
        """Return the state of each process below the launcher, by pid, but for the observer and what is its."""
        if self._launcher is None:
            return {}
        children: dict[int, list[int]] = {}
        states = {}
        for pid, parent, state in _processes():
            children.setdefault(parent, []).append(pid)
            states[pid] = state
        rest = [pid for pid in children.get(self._launcher, ()) if not (self._is_sandboxed and _is_observer(pid))]
        found = {}
        while rest:
            pid = rest.pop()
            found[pid] = states[pid]
            rest += children.get(pid, ())
        return found


def _stop(below: Callable[[], dict[int, str]]) -> bool:
    """Return whether every process stands still; what forks before its turn is found by the next look."""
    until, quiet = time.monotonic() + FREEZES_S, 0
    while quiet < _QUIET_LOOKS and time.monotonic() < until:
        moving = [pid for pid, state in below().items() if state not in _STOPPED]
        quiet = 0 if moving else quiet + 1
        for pid in moving:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(_LOOK_S)
    return quiet >= _QUIET_LOOKS


def _lines(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text(encoding="ascii").splitlines()
    return []


def _is_observer(pid: int) -> bool:
    """Return whether it is the observer. Of a sandbox only its first process is the launcher's own child."""
    with contextlib.suppress(OSError):
        return OBSERVER in (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    return False


def _processes() -> list[tuple[int, int, str]]:
    """Return pid, parent and state of every process of this machine."""
    if not PROC.is_dir():
        done = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,state="],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        rows = [line.split() for line in done.stdout.splitlines()]
        return [(int(pid), int(parent), state[:1]) for pid, parent, state, *_ in rows]
    found = []
    for entry in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
            found.append((int(entry.name), int(parent), state))
    return found
