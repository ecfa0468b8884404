"""Launch to ready: the platform, the floor below it, and JupyterHub, in turn on the same machine.

Only ratios of one run mean something: the seconds are this machine's. Prints a table, then one line of JSON.
`--only floor,hub` leaves sides out, `--runs N` changes the number of measurements (medians are taken), `--json FILE`
also writes the JSON there. Exit status 1 when a ratio is over its bound.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

import floor
import hub
import platform_side

FLOOR_BOUND = 1.10
"""Launch to ready at most so many times the floor."""

HUB_BOUND = 0.60
"""Launch to ready at most so many times JupyterHub's local spawner."""

SIDES = ("platform", "floor", "hub")


def main() -> int:
    """Measure, print, and return the exit status."""
    arguments = _arguments()
    sides = tuple(arguments.only.split(","))
    terraform = shutil.which(os.environ.get("NIGHTINGALE_TERRAFORM") or "terraform")
    if terraform is None:
        sys.stderr.write("error: terraform was not found\nhint: put it on PATH, or set NIGHTINGALE_TERRAFORM\n")
        return 1
    launches: list[platform_side.Launch] = []
    floors: list[floor.Floor] = []
    hubs: list[float] = []
    with contextlib.ExitStack() as stack:
        if "hub" in sides:
            _say("JupyterHub's environment (.bench)")
            hub.install(_uv(), sys.executable)
            a_hub = stack.enter_context(hub.running())
        if "platform" in sides:
            a_platform = stack.enter_context(platform_side.running())
        # The first round warms caches and is thrown away. The sides take turns, so that load hits all alike.
        for turn in range(arguments.runs + 1):
            _say(f"round {turn} of {arguments.runs}")
            if "floor" in sides:
                floors.append(floor.measure(terraform))
            if "platform" in sides:
                launches.append(a_platform.measure(f"bench{turn}"))
            if "hub" in sides:
                hubs.append(a_hub.measure())
    result = summarise(launches[1:], floors[1:], hubs[1:])
    print(table(result))
    line = json.dumps(result)
    print(line)
    if arguments.json:
        arguments.json.write_text(line + "\n", encoding="utf-8")
    return 0 if all(result[name] <= bound for name, bound in _bounds(result).items()) else 1


def summarise(launches: list[platform_side.Launch], floors: list[floor.Floor], hubs: list[float]) -> dict[str, float]:
    """Return medians in seconds and their ratios, of what was measured."""
    result: dict[str, float] = {"runs": max(len(launches), len(floors), len(hubs))}
    if floors:
        result["floor_s"] = statistics.median(one.total_s for one in floors)
        result["floor_init_s"] = statistics.median(one.init_s for one in floors)
        result["floor_apply_s"] = statistics.median(one.apply_s for one in floors)
        result["floor_jupyter_s"] = statistics.median(one.jupyter_s for one in floors)
    if launches:
        result["platform_s"] = statistics.median(one.total_s for one in launches)
        result["platform_init_s"] = statistics.median(one.init_s for one in launches)
        result["platform_apply_s"] = statistics.median(one.apply_s for one in launches)
        result["platform_rest_s"] = statistics.median(one.total_s - one.init_s - one.apply_s for one in launches)
    if hubs:
        result["hub_s"] = statistics.median(hubs)
    if launches and floors:
        result["platform_to_floor"] = result["platform_s"] / result["floor_s"]
    if launches and hubs:
        result["platform_to_hub"] = result["platform_s"] / result["hub_s"]
    return {name: round(value, 4) for name, value in result.items()}


def _bounds(result: dict[str, float]) -> dict[str, float]:
    bounds = {"platform_to_floor": FLOOR_BOUND, "platform_to_hub": HUB_BOUND}
    return {name: bound for name, bound in bounds.items() if name in result}


def table(result: dict[str, float]) -> str:
    """Return the result as lines for people."""
    bounds = _bounds(result)
    lines = [f"launch to ready, medians of {result['runs']:.0f} runs"]
    for name, value in result.items():
        if name.endswith("_s"):
            lines.append(f"  {name:<20} {value:8.3f} s")
        elif name in bounds:
            verdict = "holds" if value <= bounds[name] else "DOES NOT HOLD"
            lines.append(f"  {name:<20} {value:8.3f}    at most {bounds[name]:.2f}: {verdict}")
    return "\n".join(lines)


def _uv() -> str:
    private = floor.ROOT / ".venv-tools/bin/uv"
    found = str(private) if private.exists() else shutil.which("uv")
    if found is None:
        message = "uv was not found; `./run bench` installs it"
        raise hub.HubUnavailableError(message)
    return found


def _say(words: str) -> None:
    sys.stderr.write(f"bench: {words}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Launch to ready, as ratios measured in one run.")
    parser.add_argument("--runs", type=int, default=5, help="measurements of each side (default 5)")
    parser.add_argument("--only", default=",".join(SIDES), help="sides to measure: platform,floor,hub")
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
