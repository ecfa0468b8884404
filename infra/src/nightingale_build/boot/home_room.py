"""How full the home's disk is, and when that is worth telling."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nightingale.contract.machines import HomeReport

TELL_EVERY_S = 60.0
_PARTS = 100
"""A home is told of again when a hundredth of it has come or gone."""


@dataclass
class HomeRoom:
    """Looks at one home that is a disk of its own."""

    mount: Path
    _told: HomeReport | None = None

    def news(self) -> HomeReport | None:
        """Return how full it is, if that differs from what was told; None too where nothing can be seen."""
        try:
            if not self.mount.is_mount():
                return None
            room = os.statvfs(self.mount)
        except OSError:
            return None
        seen = HomeReport(
            used_bytes=(room.f_blocks - room.f_bfree) * room.f_frsize,
            limit_bytes=max(1, room.f_blocks * room.f_frsize),
            is_full=room.f_bavail == 0 or (room.f_files > 0 and room.f_favail == 0),
        )
        told = self._told
        if told is not None and (told.limit_bytes, told.is_full) == (seen.limit_bytes, seen.is_full):
            moved = abs(seen.used_bytes - told.used_bytes)
            if moved * _PARTS < seen.limit_bytes:
                return None
        return seen

    def told(self, report: HomeReport) -> None:
        """Note that the platform took this."""
        self._told = report
