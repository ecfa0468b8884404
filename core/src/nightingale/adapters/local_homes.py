"""How full a home of the local place is.

A home with a file system of its own is mounted where its launcher's processes see it, so it is looked at through the
launcher's eyes: `/proc/<pid>/root`. One that nobody has open is told by its file.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from nightingale.contract.build import LauncherRecord
from nightingale.ports.machines import HomeSeen

_GIVES_NO_LIMIT = "A home in an ordinary account is a folder; the platform cannot limit it."


def look_at_home(data_dir: Path, instance_id: str, launcher: LauncherRecord | None, *, is_up: bool) -> HomeSeen | None:
    """Return how full the home is, None when there is none. `launcher` is the record of who started it last."""
    folder = data_dir / "homes" / instance_id
    try:
        file = folder.with_name(f"{instance_id}.ext4").stat()
    except OSError:
        if not folder.is_dir():
            return None
        limits = launcher.limits if launcher is not None else ()
        said = [limit["why"] for limit in limits if limit["resource"] == "disk"]
        return HomeSeen(used_bytes=None, limit_bytes=None, words=(said[0] if said else None) or _GIVES_NO_LIMIT)
    if is_up and launcher is not None:
        with contextlib.suppress(OSError):
            inside = Path(f"/proc/{launcher.pid}/root{folder}")
            if inside.stat().st_dev != data_dir.stat().st_dev:
                room = os.statvfs(inside)
                used = (room.f_blocks - room.f_bfree) * room.f_frsize
                is_full = room.f_bavail == 0 or room.f_favail == 0
                return HomeSeen(used_bytes=used, limit_bytes=room.f_blocks * room.f_frsize, is_full=is_full)
    # What its file takes on the disk, which its journal is part of.
    return HomeSeen(used_bytes=min(file.st_blocks * 512, file.st_size), limit_bytes=file.st_size)
