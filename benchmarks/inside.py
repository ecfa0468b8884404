"""What `nightingale-instance status` costs from Enter to its end, to the bare import of one library.

Both are fresh processes of the image's interpreter; the sides take turns, the first round is thrown away, the rest are
medians. The platform is the real dispatch behind the real door of an instance. Prints a line, then one of JSON; exit
status 1 when the ratio is over its bound.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "notebook-image" / "src")]

from notebook_image.platform_place import open_place  # noqa: E402 - the tests have to be found first

RUNS = 15
BOUND = 2.5
IMAGE = ROOT / "notebook-image" / ".venv" / "bin"
COMMAND = (str(IMAGE / "nightingale-instance"), "status")
FLOOR = (str(IMAGE / "python"), "-c", "import httpx")


def seconds_of(argv: Sequence[str], environ: dict[str, str]) -> float:
    """Return the seconds that a process takes. Raises CalledProcessError."""
    began = time.perf_counter()
    subprocess.run(argv, env=environ, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> int:
    """Measure, print, and return the exit status."""
    with open_place() as place:
        instance_id = place.up("scan")
        place.open()
        environ = place.environment(instance_id, "scan")
        pairs = [(seconds_of(COMMAND, environ), seconds_of(FLOOR, environ)) for _ in range(RUNS + 1)][1:]
    ours, floor = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = ours / floor
    verdict = "holds" if ratio <= BOUND else "DOES NOT HOLD"
    print(f"nightingale-instance status {ours:.3f} s, {ratio:.2f} times `import httpx`, at most {BOUND}: {verdict}")
    print(json.dumps({"inside": {"seconds": round(ours, 4), "ratio": round(ratio, 3), "bound": BOUND}}))
    return 1 if ratio > BOUND else 0


if __name__ == "__main__":
    sys.exit(main())
