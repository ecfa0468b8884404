"""What a server leaves behind is ended here.

Without a sandbox the kernel ends nothing for us: what Jupyter leaves behind is adopted and ended. With one it ends all,
once bwrap has bound its sandbox's life to its own and its own to the launcher's: it does so late, when the sandbox is
made, so what was killed before that has left processes that only their environment tells.

On Linux only; elsewhere a kernel of a killed server ends by itself, since ipykernel watches its parent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from nightingale_build.launcher.process_identity import start_time

PR_SET_CHILD_SUBREAPER = 36
"""From prctl(2)."""

MARK = "NIGHTINGALE_INSTANCE"
"""All that a launcher starts has its instance's id in this variable."""

MARKED_S = 2.0
"""Longest wait for killed processes to be gone."""

YOUNG_S = 10.0
"""How long after its start a process may be about to become another program; those that never show an environment are
older, or have started since somebody was killed."""


def die_with_launcher() -> list[str]:
    """Return the command prefix under which a program is killed when the launcher dies."""
    if sys.platform != "linux" or shutil.which("setpriv") is None:
        return []
    return ["setpriv", "--pdeathsig", "KILL", "--"]


def adopt() -> None:
    """Become the parent of every orphan among the descendants."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - the sandboxed way does without

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_adopted() -> None:
    """Kill the children until none is left: each one's own children then become ours."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while children.is_file() and (found := children.read_text(encoding="ascii").split()):
        for pid in map(int, found):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def end_marked(instance_id: str) -> None:
    """Kill every process that was started as part of the instance, and return once they are gone.

    Call it when the launcher holds its lock no more, or from the launcher itself: it reads every process of the
    machine, so only where somebody was killed.
    """
    began, now = time.monotonic(), _ticks()
    while True:
        found, may_show_later = _marked(instance_id, now)
        if not (found or may_show_later) or time.monotonic() - began > MARKED_S:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _ticks() -> int:
    """Return the time since boot as the kernel writes down when a process starts; 0 where there is no /proc."""
    if sys.platform != "linux":
        return 0
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _marked(instance_id: str, killed_by: int) -> tuple[list[int], bool]:
    """Return the instance's processes, and whether another that began before `killed_by` may show as one in a moment.

    The kernel shows no environment for a moment after exec, when the launcher's lock is let go of already; on a machine
    that is busy with others the moment is long.
    """
    youngest = killed_by - int(YOUNG_S * os.sysconf("SC_CLK_TCK"))
    wanted = f"{MARK}={instance_id}".encode()
    found, may_show_later = [], False
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (entry / "environ").read_bytes()
            if wanted in environment.split(b"\0") and int(entry.name) != os.getpid():
                found.append(int(entry.name))
            elif not environment and (entry / "exe").readlink():  # a zombie and the kernel's own have none: OSError
                may_show_later |= youngest <= start_time(entry.name) <= killed_by
    return found, may_show_later
