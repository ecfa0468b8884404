"""How many examples the tests that try many draw: a third of what `./run test-all` has them draw."""

from __future__ import annotations

import os

THOROUGHNESS = int(os.environ.get("NIGHTINGALE_THOROUGHNESS", "1"))
