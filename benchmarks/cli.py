"""What a command costs from Enter to its end: `nightingale ps`, asking a served platform, to bare imports.

Each is a fresh process; the sides take turns, the first round is thrown away, the rest are medians. The platform is the
tests' fake on a real socket, so that what is measured is the client. Prints a table, then one line of JSON; exit status
1 when a ratio is over its bound.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from nightingale_tui.settings import Session, load_settings, save_session  # noqa: E402 - the tests have to be found first
from tui.api.fake_platform import FakePlatform  # noqa: E402 - the tests have to be found first
from tui.api.served_platform import served  # noqa: E402 - the tests have to be found first

RUNS = 11
INSTANCES = 20
MAIN = "import sys; from nightingale_tui.cli.main import main; sys.exit(main())"
FLOOR = (sys.executable, "-c", "import httpx")
BOUNDS = {"ps": 2.5, "ps --json": 2.5, "complete NAME": 2.5}


def seconds_of(argv: Sequence[str], environ: dict[str, str]) -> float:
    """Return the seconds that a process takes. Raises CalledProcessError."""
    began = time.perf_counter()
    subprocess.run(argv, env=environ, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> int:
    """Measure every command, print, and return the exit status."""
    platform = FakePlatform()
    for number in range(INSTANCES):
        platform.add(f"scan-{number}")
    with served(platform) as url, tempfile.TemporaryDirectory() as folder:
        environ = {"PATH": os.environ["PATH"], "NIGHTINGALE_URL": url, "NIGHTINGALE_CONFIG_DIR": folder}
        settings = load_settings(environ)
        ends = platform.now + timedelta(days=365)
        token = platform.token_of("ada")
        save_session(settings, Session(url=settings.url, person="ada", token=token, expires_at=ends))
        answers = Path(folder, "answers")
        line = "nightingale stop scan-"
        asked = environ | {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answers),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        }
        sides = {
            "floor": (FLOOR, environ),
            "ps": ((sys.executable, "-c", MAIN, "ps"), environ),
            "ps --json": ((sys.executable, "-c", MAIN, "ps", "--json"), environ),
            "complete NAME": ((sys.executable, "-c", MAIN), asked),
        }
        rounds = []
        for _ in range(RUNS + 1):
            settings.names_file.unlink(missing_ok=True)  # completion is measured with nothing remembered
            rounds.append({name: seconds_of(*side) for name, side in sides.items()})
        if answers.read_text().count("scan-") < INSTANCES:
            raise SystemExit("the completion that was measured named no instances")
    medians = {name: statistics.median(one[name] for one in rounds[1:]) for name in sides}
    return report(medians)


def report(medians: dict[str, float]) -> int:
    """Print the ratios to `import httpx` and return the exit status."""
    print(f"command line, medians of {RUNS} rounds; `import httpx` takes {medians['floor']:.3f} s")
    result, is_over = {}, False
    for name, bound in BOUNDS.items():
        ratio = medians[name] / medians["floor"]
        is_over = is_over or ratio > bound
        verdict = "holds" if ratio <= bound else "DOES NOT HOLD"
        print(f"  {name:<14} {medians[name]:6.3f} s, {ratio:5.2f} times, at most {bound}: {verdict}")
        result[name] = {"seconds": round(medians[name], 4), "ratio": round(ratio, 3), "bound": bound}
    print(json.dumps(result))
    return 1 if is_over else 0


if __name__ == "__main__":
    sys.exit(main())
