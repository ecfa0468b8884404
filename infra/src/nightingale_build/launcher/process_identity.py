"""Who a process is: a pid alone may belong to another process tomorrow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what names this run of the operating system, or an empty text where nothing does."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        pass
    if sys.platform != "darwin":
        return ""
    seen = subprocess.run(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, check=False)
    return seen.stdout.decode("ascii", "replace").strip()


def start_time(pid: int | str) -> int:
    """Return the process's start in clock ticks after boot; 0 when it is gone or there is no /proc.

    Field 22 of /proc/pid/stat, see proc(5); the name in field 2 may hold spaces and brackets.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat[stat.rindex(")") + 2 :].split()[19])


def is_same(pid: int, started: int, boot: str) -> bool:
    """Return whether the process recorded so is the one that has this pid now."""
    return boot == boot_id() and start_time(pid) == started
