"""Processes as /proc shows them, read with code of our own: what belongs to a folder, who descends from whom."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PROC = Path("/proc")
LISTENING = "0A"


def all_pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def arguments(pid: int) -> list[str]:
    """Return the command line; empty for a zombie or one that has gone."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    return []


def environment(pid: int) -> str:
    """Return what it was started with; empty for one that has gone."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "environ").read_bytes().decode("utf-8", "replace")
    return ""


def parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        # The name in brackets may hold anything, a bracket too; what follows the last one is well formed.
        return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def state(pid: int) -> str:
    """Return the state's letter, such as S, T or Z; empty when there is no such process."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    return ""


def is_alive(pid: int) -> bool:
    return state(pid) not in {"", "Z"}


def start_time(pid: int) -> str:
    """Return the clock tick at which it began: with the pid, which process it is."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]


def descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        children.setdefault(parent(pid), []).append(pid)
    found: set[int] = set()
    rest = [root]
    while rest:
        for child in children.get(rest.pop(), ()):
            if child not in found:
                found.add(child)
                rest.append(child)
    return found


def touching(folder: Path) -> dict[int, str]:
    """Return the living processes that name the folder, stand in it or hold a file of it open; never our own line."""
    own = {os.getpid()}
    while (above := parent(min(own))) > 1 and above not in own:
        own.add(above)
    text = str(folder)
    return {
        pid: " ".join(arguments(pid))[:160] or state(pid)
        for pid in all_pids()
        if pid not in own and is_alive(pid) and any(text in words for words in (*arguments(pid), *_links(pid)))
    }


def _links(pid: int) -> list[str]:
    found = []
    for name in ("cwd", "root", "exe"):
        with contextlib.suppress(OSError):
            found.append(str((PROC / str(pid) / name).readlink()))
    with contextlib.suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(descriptor.readlink()))
    return found


def listening_ports() -> set[int]:
    """Return the TCP ports on which anything of this machine listens."""
    lines = (PROC / "net" / "tcp").read_text().splitlines()[1:]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines if line.split()[3] == LISTENING}


def pss_kib(pid: int) -> int:
    """Return the proportional share of memory, pages held by several count in part; nothing of one that has gone."""
    with contextlib.suppress(OSError):
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return 0


def cpu_seconds(pid: int) -> float:
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(look: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first true thing that `look` returns; fail after so many seconds."""
    until = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.01)  # other processes have no event to await
    return seen


def end_all(folder: Path) -> dict[int, str]:
    """Kill, one by one, whatever still touches the folder, and return what that was."""
    left = touching(folder)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left
