"""How a start ended, for the platform: as its launcher left it, or as whoever keeps the machine says."""

from __future__ import annotations

from datetime import datetime

import msgspec

from nightingale.contract.build import ExitRecord
from nightingale_build.launcher.folders import InstanceFolders
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.wall_time import now


def exit_of(folders: InstanceFolders, generation: int) -> ExitRecord | None:
    """Return what the launcher of this start left behind, None when it left nothing that can be read."""
    try:
        record = msgspec.json.decode(folders.exit.read_bytes(), type=ExitRecord)
    except (OSError, msgspec.DecodeError):
        return None
    return record if record.generation == generation else None


def failed(refusal: RefusalError, generation: int, began: datetime) -> ExitRecord:
    """Return the end of a start that was refused."""
    return ExitRecord(
        generation=generation,
        code=refusal.code,
        words=str(refusal),
        next_step=refusal.next_step,
        started_at=began,
        ended_at=now(),
    )
