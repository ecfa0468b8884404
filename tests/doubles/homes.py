"""Homes seen from outside their instances, as a backup sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shown_homes(data_dir: Path, python: str = sys.executable) -> Iterator[Path]:
    """Yield the folder in which every home of the platform is seen: `DIR/homes` itself where they are plain folders."""
    homes = data_dir / "homes"
    if not any(homes.glob("*.ext4")):
        yield homes
        return
    showing = subprocess.Popen(
        [python, "-I", "-m", "nightingale_build.launcher", "show-homes"],
        env={"PATH": os.environ["PATH"], "NIGHTINGALE_SHOW": json.dumps({"homes_dir": str(homes)})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with showing:
        assert showing.stdin is not None
        assert showing.stdout is not None
        told = json.loads(showing.stdout.readline())
        assert told["failed"] == {}
        yield Path(f"/proc/{showing.pid}/root{homes}")
        showing.stdin.close()
        assert showing.wait(20) == 0
