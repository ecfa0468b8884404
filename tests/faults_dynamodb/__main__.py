"""The long runs: `PYTHONPATH=tests .venv/bin/python -m faults_dynamodb [--every] [--seeds N --first S] [--wire]`.

Ends with 1 at the first run that leaves something behind, and says how to have it again.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator

from faults_dynamodb import storm
from faults_dynamodb.runs import AT_WIRE, MakeStore, OnWire, Plan, all_at_once, drawn, every_call, in_memory, run
from faults_dynamodb.wire import Wire


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults_dynamodb", description=__doc__)
    parser.add_argument("--seeds", type=int, default=0, help="runs with several faults each")
    parser.add_argument("--first", type=int, default=0, help="the first of these seeds")
    parser.add_argument("--every", action="store_true", help="one run for each call and each kind of fault")
    parser.add_argument("--wire", action="store_true", help="below the real DynamoDB adapter: some seconds a run")
    parser.add_argument("--real", action="store_true", help="the platform's real processes: a minute a seed")
    told = parser.parse_args()
    if told.real:
        return _storms(range(told.first, told.first + told.seeds))
    make: MakeStore = OnWire(Wire()) if told.wire else in_memory
    calls = run(make, {}).store.calls
    print(f"{len(calls)} calls in a life without faults", flush=True)  # noqa: T201 - what it is started for
    begun, count, faults = time.monotonic(), 0, 0
    for name, plan in _plans(told, calls):
        try:
            faults += len(run(make, plan).store.met)
        except Exception:  # noqa: BLE001 - whatever it was, the plan is what is needed to have it again
            traceback.print_exc()
            print(f"failed: {name} {dict(plan)}", file=sys.stderr)  # noqa: T201 - same
            return 1
        count += 1
    seconds = time.monotonic() - begun
    print(f"{count} runs with {faults} faults in {seconds:.0f} s: nothing left behind")  # noqa: T201 - same
    return 0


def _storms(seeds: range) -> int:
    for seed in seeds:
        begun = time.monotonic()
        try:
            met = dict(storm.play(seed))
        except Exception:  # noqa: BLE001 - as above
            traceback.print_exc()
            print(f"failed: --real --first {seed} --seeds 1", file=sys.stderr)  # noqa: T201 - as above
            return 1
        print(f"seed {seed}: {met} in {time.monotonic() - begun:.0f} s", flush=True)  # noqa: T201 - as above
    return 0


def _plans(told: argparse.Namespace, calls: list[str]) -> Iterator[tuple[str, Plan]]:
    if told.every and told.wire:
        for kind in AT_WIRE:
            yield f"{kind.value} of every call", all_at_once(calls, kind)
        for plan in every_call(calls, AT_WIRE, only_writes=True):
            yield "a write", plan
    elif told.every:
        for plan in every_call(calls):
            yield "a call", plan
    for seed in range(told.first, told.first + told.seeds):
        yield f"--first {seed} --seeds 1", drawn(seed, len(calls))


if __name__ == "__main__":
    sys.exit(main())
