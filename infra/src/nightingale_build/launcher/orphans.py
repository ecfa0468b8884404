"""What a server leaves behind is ended here.

Without a sandbox the kernel ends nothing for us: what Jupyter leaves behind is adopted and ended. With one it ends all,
once bwrap has bound its sandbox's life to its own and its own to the launcher's: it does so late, when the sandbox is
made, so what was killed before that has left processes that only their environment tells.

On Linux only; elsewhere a kernel of a killed server ends by itself, since ipykernel watches its parent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from nightingale_build.launcher.process_identity import start_time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Both from prctl(2)."""

MARK = "NIGHTINGALE_INSTANCE"
"""All that a launcher starts has its instance's id in this variable."""

MARKED_S = 2.0
"""Longest wait for killed processes to be gone."""

QUIET_LOOKS = 2
"""So many looks in a row must find nothing."""

BEGINNING = b"NIGHTINGALE_LAUNCH="
"""What a launcher forks shows the launcher's own environment, with this in it, until it is another program."""

YOUNG_S = 10.0
"""How long after its start a process may be about to become another program; one that is older and shows no environment
never will."""


def die_with_launcher() -> list[str]:
    """Return the command prefix under which a program is killed when the launcher dies."""
    if sys.platform != "linux" or shutil.which("setpriv") is None:
        return []
    return ["setpriv", "--pdeathsig", "KILL", "--"]


def end_with_parent(parent: int) -> None:
    """Be killed when the parent, which is this process, dies; raises OSError when it is dead already."""
    import ctypes  # noqa: PLC0415 - needed rarely

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


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
    until, begun_by = time.monotonic() + MARKED_S, _ticks()
    quiet = 0
    # Twice: what forks while it is looked for, and ends before its turn, has left a child that was not on that list.
    while quiet < QUIET_LOOKS and time.monotonic() < until:
        found, is_beginning = _marked(instance_id, begun_by)
        quiet = 0 if found or is_beginning else quiet + 1
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _ticks() -> int:
    """Return the time since boot as the kernel writes down when a process starts; 0 where there is no /proc."""
    if sys.platform != "linux":
        return 0
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _marked(instance_id: str, begun_by: int) -> tuple[list[int], bool]:
    """Return the instance's processes, and whether another that has begun by then may show as one in a moment."""
    wanted = f"{MARK}={instance_id}".encode()
    found, is_beginning = [], False
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(OSError):
            environment = (entry / "environ").read_bytes().split(b"\0")
            if pid == os.getpid():
                continue
            if wanted in environment:
                found.append(pid)
            elif _begins(entry, environment, instance_id, begun_by):
                is_beginning = True
    return found, is_beginning


def _begins(process: Path, environment: list[bytes], instance_id: str, begun_by: int) -> bool:
    """Return whether this may be what a launcher forked and is not yet, or not yet seen as, what it will be.

    It lets go of the launcher's lock just before exec, as the leader of a session; and for a moment after exec the
    kernel shows no environment. Raises OSError when it is gone; a zombie and the kernel's own raise it too.
    """
    if environment != [b""]:
        told = next((one for one in environment if one.startswith(BEGINNING)), b"")
        return instance_id.encode() in told and os.getsid(int(process.name)) == int(process.name)
    (process / "exe").readlink()
    return begun_by - int(YOUNG_S * os.sysconf("SC_CLK_TCK")) <= start_time(process.name) <= begun_by
