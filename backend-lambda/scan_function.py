"""The scan of the audit log as a function of its own, each minute: it alone carries DuckDB.

Lambda calls `scan`, on the same settings as the API, and one more: the queue that tells what is new.
A run that cannot do its work raises: the function's error count says so, and the next run does it.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from chalicelib import container
from nightingale.services.scanning import Scanning

_MAKING = threading.Lock()
_HELD: list[Scanning] = []


def _scanning() -> Scanning:
    """Return the job, made by the first run of this process."""
    from nightingale.hosting.aws_services import scanning  # noqa: PLC0415 - with the first run
    from nightingale.hosting.settings import Settings  # noqa: PLC0415 - same

    with _MAKING:
        if not _HELD:
            disk = Path(tempfile.mkdtemp(prefix="scan-"))
            _HELD.append(scanning(Settings.read(os.environ), container.wired().platform, disk))
        return _HELD[0]


def scan(_event: Any, _context: Any) -> dict[str, int]:
    """Scan what is new; return how many findings that opened, and how many it made longer."""
    taken = _scanning().run()
    return {"opened": len(taken.opened), "grown": len(taken.grown)}
