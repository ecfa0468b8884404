"""Which processes belong to a platform's folder: by arguments, working directory, open files and descent."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil


def processes_of(folder: Path, roots: set[int]) -> dict[int, str]:
    """Return the words of every living process that has to do with `folder`, by pid; never this one or its parents.

    `roots` are pids whose descendants count as well. Zombies do not: they hold nothing.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[int, str] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            ancestors = {parent.pid for parent in process.parents()}
            if process.pid in roots or ancestors & roots or _touches(process, str(folder)):
                found[process.pid] = " ".join(process.cmdline())[:200]
    return found


def _touches(process: psutil.Process, folder: str) -> bool:
    if any(folder in argument for argument in process.cmdline()):
        return True
    with contextlib.suppress(psutil.AccessDenied):
        if process.cwd().startswith(folder):
            return True
    with contextlib.suppress(psutil.AccessDenied):
        return any(opened.path.startswith(folder) for opened in process.open_files())
    return False
