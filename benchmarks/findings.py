"""What running rules costs, to the same queries written by hand, in the same run; and the memory it takes.

5 million read events: an hour's sum of bytes by person, distinct files in five minutes, honeypot paths, and all of
them in one go. 960,000 CloudTrail events under 57 rules. Sides take turns, each in a process of its own; medians of
seconds. Prints a table, then one line of JSON; exit status 1 when a bound is missed. `--small` takes a tenth.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

import findings_data as data
import findings_rules as rules
from nightingale_findings.compiled import CompiledRules
from nightingale_findings.engine import Engine, opened
from nightingale_findings.firing import Firing
from nightingale_findings.sigma import compile_rules

READS, EVENTS = 5_000_000, 960_000
RUNS = 7
MOST_READS, MOST_ALL, MOST_TRAIL = 1.2, 2.5, 1.3
MOST_MEMORY_MB = 1024

_ALONE = {
    "an hour's sum of bytes": (rules.SUM, rules.SUM_BY_HAND),
    "files in five minutes": (rules.DISTINCT, rules.DISTINCT_BY_HAND),
    "honeypot paths": (rules.HONEYPOT, rules.HONEYPOT_BY_HAND),
}

Answer = list[tuple[Any, ...]]


def compiled(**files: str) -> CompiledRules:
    """Return the rules of YAML texts."""
    return compile_rules(files, [rules.READS, rules.TRAIL])


def answered(firings: tuple[Firing, ...]) -> Answer:
    """Return firings as the queries by hand give them."""
    return [
        (f.person, f.first_seen.replace(tzinfo=None), f.last_seen.replace(tzinfo=None), f.event_count, f.value)
        for f in firings
    ]


def turns(connection: duckdb.DuckDBPyConnection) -> dict[str, Callable[[], Answer]]:
    """Return what to time, by name: the engine's side and the one by hand."""
    sides: dict[str, Callable[[], Answer]] = {}
    for name, (text, query) in _ALONE.items():
        engine = Engine(connection, compiled(only=text), [rules.READS])
        sides[name] = lambda engine=engine: answered(engine.run())  # type: ignore[misc] # a default has no type
        sides[f"{name}, by hand"] = lambda query=query: [row[:5] for row in connection.execute(query).fetchall()]  # type: ignore[misc] # same
    every = compiled(a=rules.SUM, b="---".join(rules.DISTINCT.split("---")[1:]), c=rules.HONEYPOT)
    whole = Engine(connection, every, [rules.READS])
    sides["all of them"] = lambda: answered(whole.run())
    return sides


def trail_turns(connection: duckdb.DuckDBPyConnection) -> dict[str, Callable[[], Answer]]:
    """Return the two sides over CloudTrail; each answers how many events each rule matches."""
    made = rules.trail_rules()
    set_of = compiled(**{rule.name: rule.yaml(place) for place, rule in enumerate(made)})
    names = {rule.id: rule.name for rule in set_of.rules}
    engine = Engine(connection, set_of, [rules.TRAIL])
    fields = sorted({field for rule in made for field in rule.fields})
    paths = ", ".join(f"'$.{field}'" for field in fields)
    columns = ", ".join(f'x[{place}] AS "{field}"' for place, field in enumerate(fields, 1))

    def ours() -> Answer:
        found: dict[str, int] = {}
        for firing in engine.run():
            found[names[firing.rule]] = found.get(names[firing.rule], 0) + firing.event_count
        return sorted(found.items())

    def by_hand() -> Answer:
        connection.execute(
            f'CREATE OR REPLACE TEMP TABLE flat AS SELECT event_id, "at", person, {columns} FROM '  # noqa: S608 - written here
            f'(SELECT event_id, "at", person, json_extract_string(raw, [{paths}]) AS x FROM trail)'
        )
        found = {}
        for rule in made:
            query = f'SELECT event_id, "at", person FROM flat WHERE {rule.by_hand()}'  # noqa: S608 - written here
            found[rule.name] = len(connection.execute(query).fetchall())
        connection.execute("DROP TABLE flat")
        return sorted((name, count) for name, count in found.items() if count)

    return {"57 rules": ours, "57 rules, by hand": by_hand}


def _place(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(str, row[:4]))


def timed(sides: dict[str, Callable[[], Answer]], runs: int) -> dict[str, tuple[float, float]]:
    """Return the median seconds and CPU seconds of each side, after one that is thrown away, and check the answers."""
    for name, side in sides.items():
        other = sides.get(f"{name}, by hand")
        if other and sorted(side(), key=_place) != sorted(other(), key=_place):
            raise SystemExit(f"{name}: the engine and the query by hand answer differently")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(runs + 1):
        for name, side in sides.items():
            began, cpu = time.perf_counter(), time.process_time()
            side()
            if turn:
                found[name].append((time.perf_counter() - began, time.process_time() - cpu))
    return {
        name: (statistics.median(one for one, _ in each), statistics.median(cpu for _, cpu in each))
        for name, each in found.items()
    }


def child(what: str, database: str, count: int) -> None:
    """Do one thing in this process: make events, time both sides, or run the engine once for its memory."""
    with opened(Path(database)) as connection:
        if what == "make":
            data.make_reads(connection, count) if "reads" in database else data.make_trail(connection, count)
            return
        sides = turns(connection) if "reads" in database else trail_turns(connection)
        if what == "time":
            print(json.dumps(timed(sides, RUNS)))
        else:
            sides["all of them" if "reads" in database else "57 rules"]()
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def ask(what: str, database: Path, count: int) -> Any:
    """Return what a child answers."""
    command = [sys.executable, __file__, what, str(database), str(count)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(said) if said.strip() else None


def main(share: int) -> int:
    """Measure, print, and return the exit status."""
    result: dict[str, Any] = {}
    is_over = False

    def told(name: str, value: float, bound: float, words: str) -> None:
        nonlocal is_over
        is_over = is_over or value > bound
        result[name] = round(value, 3)
        verdict = "holds" if value <= bound else "DOES NOT HOLD"
        print(f"  {name:<36} {words:>34}   {value:8.2f}, at most {bound}: {verdict}")

    with tempfile.TemporaryDirectory() as folder:
        reads, trail = Path(folder) / "reads.duckdb", Path(folder) / "trail.duckdb"
        ask("make", reads, READS // share)
        ask("make", trail, EVENTS // share)
        print(f"seconds, engine and by hand (CPU seconds), load average {os.getloadavg()[0]:.1f}")
        found = {**ask("time", reads, 0), **ask("time", trail, 0)}
        for name, bound in (dict.fromkeys(_ALONE, MOST_READS) | {"57 rules": MOST_TRAIL}).items():
            (ours, cpu), (theirs, their_cpu) = found[name], found[f"{name}, by hand"]
            told(name, ours / theirs, bound, f"{ours:.3f} ({cpu:.3f}) to {theirs:.3f} ({their_cpu:.3f})")
        slowest = max(found[name][0] for name in _ALONE)
        told("all of them, to the slowest of them", found["all of them"][0] / slowest, MOST_ALL, f"{slowest:.3f}")
        for name, database in (("memory, MiB, reads", reads), ("memory, MiB, CloudTrail", trail)):
            told(name, ask("memory", database, 0), MOST_MEMORY_MB, "")
    print(json.dumps(result))
    return 1 if is_over else 0


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 - what, database, count
        child(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        sys.exit(0)
    sys.exit(main(10 if "--small" in sys.argv else 1))
