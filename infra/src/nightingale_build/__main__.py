"""`python -m nightingale_build BUILD_DIR [--lock-fd N]`: run one build."""

from __future__ import annotations

import os
import sys

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports msgspec
from nightingale_build.runner import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    # What Python does at its end frees memory that is free a moment later, and the platform waits for this end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
