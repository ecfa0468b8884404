"""Ten thousand instances in the store, to a hundred: a page of `ps`, and what the beats cost an idle platform.

The platform is put together in this process on a sqlite file; CPU seconds, medians. Prints a table, then one line of
JSON; exit status 1 when a bound is missed.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import scale_fixture  # noqa: E402 - the tests have to be found first
from doubles.platforms import FakePlatform  # noqa: E402 - same
from nightingale.adapters.sqlite import SqliteStore  # noqa: E402 - same

FEW, MANY = 100, 10_000
MOST_PAGE = 3.0
"""Times as much for a page of `ps` with MANY as with FEW."""
MOST_LOOK = 3.0
"""The same for a look at what changed, where nothing did."""
RUNS = 15
_HOURS = 3


def cpu_ms(work: Callable[[], object], runs: int = RUNS) -> float:
    """Return the CPU that `work` takes, in milliseconds."""
    found = []
    for _ in range(runs):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return statistics.median(found) * 1000


def measure(count: int, folder: Path) -> dict[str, float]:
    """Return what each thing costs with so many running instances, in milliseconds of CPU."""
    platform = FakePlatform(store=SqliteStore(folder / f"{count}.db"))
    scale_fixture.fill(platform.store, count, platform.clock.now())
    platform.clock.advance(_HOURS * 3600 + 120)
    watch, metering = platform.watch, platform.made.metering

    def page(who: str) -> None:
        platform.clock.advance(1)  # what a second has worked out is not asked for again
        platform.ask("list_instances", who)

    def every_page() -> None:
        platform.clock.advance(1)
        cursor: str | None = ""
        while cursor is not None:
            answer = platform.ask("list_instances", "ada", query={"cursor": cursor} if cursor else {})
            cursor = answer["next_cursor"]

    def beat() -> None:
        asyncio.run(watch.beat_running())

    found = {"page, first time": cpu_ms(lambda: page("ada"), 1)}
    found["page"] = cpu_ms(lambda: page("ada"))
    found["page of the operator"] = cpu_ms(lambda: page("operator"))
    found["every page, each"] = cpu_ms(every_page, 3) / (count / 100)
    watch.refresh()
    platform.clock.advance(11)
    watch.refresh()
    found["look, nothing changed"] = cpu_ms(watch.refresh)
    platform.clock.advance(21)
    found["whole reading"] = cpu_ms(watch.refresh, 1)
    found["beat of probes"] = cpu_ms(beat, 3)
    found["last good"] = cpu_ms(watch.save_last_good, 3)
    found["metering, hours to close"] = cpu_ms(metering.run_once, 1)
    found["metering, nothing to do"] = cpu_ms(metering.run_once, 3)
    found["bill of the month"] = cpu_ms(lambda: platform.ask("get_usage", "ada"), 1)
    return found


def main() -> int:
    """Measure, print, and return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = (measure(count, Path(folder)) for count in (FEW, MANY))
    bounds = {
        "page": MOST_PAGE,
        "page of the operator": MOST_PAGE,
        "every page, each": MOST_PAGE,
        "look, nothing changed": MOST_LOOK,
    }
    result, is_over = {}, False
    print(f"ms of CPU with {FEW} and with {MANY} instances, load average {os.getloadavg()[0]:.1f}")
    for name, value in many.items():
        ratio, bound = value / few[name], bounds.get(name)
        verdict = "" if bound is None else f", at most {bound}: {'holds' if ratio <= bound else 'DOES NOT HOLD'}"
        is_over = is_over or (bound is not None and ratio > bound)
        print(f"  {name:<26} {few[name]:9.2f} {value:10.2f}   {ratio:7.2f} times{verdict}")
        result[name] = {"few_ms": round(few[name], 3), "many_ms": round(value, 3), "ratio": round(ratio, 3)}
    print(json.dumps(result))
    return 1 if is_over else 0


if __name__ == "__main__":
    sys.exit(main())
