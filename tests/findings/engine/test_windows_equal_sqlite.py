"""Correlations against what pySigma's SQLite backend makes of the same YAML, run by SQLite: its windows are right.

Where it differs on purpose: it groups and counts texts whatever their case, and wants the rules of `temporal_ordered`
at different instants. So values here have one case, and that kind is left to brute force.
"""

from __future__ import annotations

import json
import random
import sqlite3

import pytest
from sigma.backends.sqlite.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

from doubles.finding_rules import READS, moment, reads_table
from nightingale_findings.engine import Engine, opened
from nightingale_findings.sigma import compile_rules

RULE = """
title: {name}
id: 00000000-0000-0000-0000-00000000000{place}
name: {name}
status: test
logsource: {{product: nightingale, service: reads}}
detection:
  found: {{path: [{paths}]}}
  condition: found
level: high
---
"""

CORRELATION = """
title: correlated
id: 00000000-0000-0000-0000-000000000009
name: correlated
status: test
level: high
correlation: {{type: {kind}, rules: [{rules}], group-by: [{by}], timespan: 60s, condition: {condition}}}
custom: {{nightingale: {{episode: 1d}}}}
"""

PLAIN = RULE.format(name="first", place=1, paths="/a, /b, /c") + RULE.format(name="second", place=2, paths="/d")


@pytest.mark.parametrize("by", ["person, instance", pytest.param("person", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("kind", "rules", "condition"),
    [
        ("event_count", "first", "{gte: 4}"),
        ("event_count", "first, second", "{gt: 5}"),
        ("event_count", "first", "{lt: 2}"),
        ("event_count", "first", "{eq: 3}"),
        ("value_count", "first, second", "{gte: 3, field: path}"),
        ("value_count", "first", "{lte: 1, field: path}"),
        ("value_sum", "first, second", "{gt: 20, field: bytes}"),
        ("value_avg", "first", "{gte: 6, field: bytes}"),
        ("temporal", "first, second", "{gte: 2}"),
    ],
)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_same_windows_fire(kind, rules, condition, by, seed):
    draw = random.Random(seed)  # noqa: S311 - made-up events
    # Whole seconds, halves of the span among them: ties, and events just at the edge of a window.
    reads = [
        (
            f"{place:03}",
            draw.choice((draw.randrange(20) * 30, draw.randrange(600))),
            draw.choice(("ada", "bo", "cy", None)),
            draw.choice(("/a", "/b", "/c", "/d", "/e")),
            draw.randrange(10),
        )
        for place in range(80)
    ]
    text = PLAIN + CORRELATION.format(kind=kind, rules=rules, by=by, condition=condition)
    assert of_engine(text, reads) == of_sqlite(text, reads)


def of_engine(text, reads):
    with opened(threads=1) as connection:
        reads_table(connection, reads)
        engine = Engine(connection, compile_rules({"rules.yml": text}, [READS]), [READS])
        firings = [firing for firing in engine.run() if firing.rule.endswith("9")]
        assert engine.failed == ()
    return {firing.person: (set(firing.event_ids), firing.value) for firing in firings}


def of_sqlite(text, reads):
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE TABLE logs (timestamp TEXT, person TEXT, instance TEXT, path TEXT, bytes INTEGER, id TEXT)"
    )
    rows = [
        (moment(at).strftime("%Y-%m-%d %H:%M:%S"), who, "i-1", path, size, event)
        for event, at, who, path, size in reads
    ]
    database.executemany("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?)", rows)
    documents = SigmaCollection.from_yaml(text.split("custom:")[0])
    (query,) = (query for query in sqliteBackend().convert(documents) if "sigma_alert" in query)
    names = dict(database.execute("SELECT '0:' || rowid, id FROM logs").fetchall())
    found: dict[str, tuple[set[str], float]] = {}
    columns = [column[0] for column in database.execute(query).description]
    for row in database.execute(query):
        alert = dict(zip(columns, row, strict=True))
        person = json.loads(alert["group_keys"])["person"]
        ids, value = found.get(person, (set(), float("-inf")))
        evidence = {names[event] for event in json.loads(alert["event_ids"])}
        found[person] = (ids | evidence, max(value, alert["metric_value"]))
    database.close()
    return found
