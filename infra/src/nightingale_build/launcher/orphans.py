"""Without a sandbox the kernel ends nothing for us: what Jupyter leaves behind is adopted and ended here.

On Linux only; elsewhere a kernel of a killed server ends by itself, since ipykernel watches its parent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""From prctl(2)."""


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
