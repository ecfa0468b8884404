"""The state file that Terraform keeps in an instance's folder, made readable again after Terraform was killed.

Terraform writes it in place, after it has copied the one before to `terraform.tfstate.backup`. A kill or a power cut in
between leaves it empty or torn, and every run after would fail on it: the copy is put back. The copy knows what there
was before that run. What the run then did is done again, or undone, by the next one: start, stop and remove may run
twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

STATE = "terraform.tfstate"
BACKUP = "terraform.tfstate.backup"
TORN = "terraform.tfstate.torn"

WAIT_S = 10.0
"""How long a Terraform whose runner was killed is waited for; it holds the file's lock until it ends."""


def mend_state(folder: Path) -> bool:
    """Make the folder's state readable; return whether all knowledge of what there is was lost. Raises OSError.

    A state that another Terraform still holds is left to it.
    """
    path = folder / STATE
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        if not _hold(file.fileno()):
            return False
        content = file.read()
        if _is_whole(content):
            return False
        kept = _read(folder / BACKUP)
        (folder / TORN).write_bytes(content)
        file.seek(0)
        file.truncate()
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
        return not kept
    return False


def _hold(descriptor: int) -> bool:
    """Take the lock that Terraform takes (POSIX, not flock); return whether it could be had in time."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _read(path: Path) -> bytes:
    """Return a whole state, or nothing."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content if _is_whole(content) else b""


def _is_whole(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False
