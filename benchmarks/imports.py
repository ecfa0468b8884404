"""What imports cost: ratios of wall time to a bare interpreter, and to the one library that a module cannot do without.

Each is a fresh interpreter; medians are taken. Prints a table, then one line of JSON; exit status 1 when a ratio is
over its bound.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

RUNS = 41


@dataclass(frozen=True)
class Case:
    """`imports` may take at most `bound` times what `floor` takes, both with the interpreter's own start."""

    name: str
    imports: str
    floor: str
    bound: float


CASES = (
    Case("domain", "nightingale.domain.instance", "msgspec, datetime, decimal, json", 2.0),
    Case("contract", "nightingale.contract.operations", "msgspec, datetime, decimal", 2.0),
    # httpx as it comes loads click and rich; the command line must stay below it although it uses it.
    Case("command line", "nightingale_tui.cli.main", "httpx", 0.9),
    # The function's own start, for any route. PynamoDB on this path would make it five times the floor.
    Case("lambda", "app", "chalice", 2.0),
    # The same on Azure: what its own library costs, which every worker loads.
    Case("functions", "function_app", "azure.functions", 1.5),
    # And with what the first question to the database loads.
    Case("lambda, store", "app, nightingale.adapters.dynamodb_items", "chalice, pynamodb.models", 1.1),
)


def seconds_of(imports: str) -> float:
    """Return the seconds that a fresh interpreter takes to import that and end. Raises CalledProcessError."""
    began = time.perf_counter()
    # Where Python may not keep what it compiled, every run would compile our modules anew, and never an installed one.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", f"import {imports}"], check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def main() -> int:
    """Measure every case, print, and return the exit status."""
    result = {}
    is_over = False
    print(f"imports, medians of {RUNS} runs (start of the interpreter included)")
    for case in CASES:
        seconds_of(case.imports)  # the first run may compile
        pairs = [(seconds_of(case.imports), seconds_of(case.floor)) for _ in range(RUNS)]
        ours = statistics.median(pair[0] for pair in pairs)
        floor = statistics.median(pair[1] for pair in pairs)
        ratio = ours / floor
        verdict = "holds" if ratio <= case.bound else "DOES NOT HOLD"
        is_over = is_over or ratio > case.bound
        print(f"  {case.name:<14} {ours:6.3f} s, {ratio:5.2f} times `{case.floor}`, at most {case.bound}: {verdict}")
        result[case.name] = {"seconds": round(ours, 4), "ratio": round(ratio, 3), "bound": case.bound}
    print(json.dumps(result))
    return 1 if is_over else 0


if __name__ == "__main__":
    sys.exit(main())
