"""`python -m nightingale_build.launcher start|stop|remove|quarantine|release|status|probe`."""

from __future__ import annotations

import sys

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports msgspec
from nightingale_build.launcher.commands import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
