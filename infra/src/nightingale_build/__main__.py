"""`python -m nightingale_build BUILD_DIR [--lock-fd N]`: run one build."""

from __future__ import annotations

import sys

import nightingale_build.lean_start  # noqa: F401 - before anything that imports msgspec
from nightingale_build.runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
