"""People's homes, seen from the platform: those with a file system of their own are mounted by the launcher's command.

It mounts them where only it sees them and waits; we look through its eyes, below `/proc/<its pid>/root`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightingale_local.control import LocalError

_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


@contextmanager
def shown_homes(root: Path) -> Iterator[Path]:
    """Yield the folder below which `homes/` shows every home of the platform in `root`.

    Raises LocalError when one of them cannot be opened: a backup that lacks it silently would be none.
    """
    homes = root.absolute() / "homes"
    if not any(homes.glob("*.ext4")):
        yield root
        return
    environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "nightingale_build.launcher", "show-homes"],
        env={**environment, "NIGHTINGALE_SHOW": json.dumps({"homes_dir": str(homes)})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as showing:
        told = showing.stdout.readline() if showing.stdout is not None else b""
        failed = json.loads(told)["failed"] if told else {"all": _said(showing)}
        try:
            if failed:
                words = "; ".join(f"{name}: {why}" for name, why in failed.items())
                raise LocalError("homes_not_open", f"Homes could not be opened: {words}", "Run it as root; then retry.")
            yield Path(f"/proc/{showing.pid}/root{root.absolute()}")
        finally:
            if showing.stdin is not None:
                showing.stdin.close()
            showing.wait()


def _said(showing: subprocess.Popen[bytes]) -> str:
    said = showing.stderr.read().decode("utf-8", "replace").strip() if showing.stderr is not None else ""
    return said or "the launcher's command ended without a word"
