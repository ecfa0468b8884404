"""More rules than one pass takes: the same firings, within the scan's memory."""

import json

from nightingale_findings.compiled import CompiledRule, CompiledRules
from nightingale_findings.engine import Engine, opened
from nightingale_findings.engine.matching import MOST_AT_ONCE
from nightingale_findings.logsource import LogSource

SOURCE = LogSource(name="wide", product="test", service="wide", table="wide", fields=None)


def test_rules_that_take_several_passes_each_find_their_own_event():
    count = 2 * MOST_AT_ONCE + 5
    rules = tuple(
        CompiledRule(
            id=f"r{number:03d}",
            name=f"r{number:03d}",
            title="",
            level="low",
            source="wide",
            fields=("name",),
            where=f"coalesce(\"name\" = 'n{number}', false)",
        )
        for number in range(count)
    )
    connection = opened(memory="300MiB")
    connection.execute(
        'CREATE TABLE wide (event_id VARCHAR, "at" TIMESTAMP, person VARCHAR, instance VARCHAR, project VARCHAR, '
        "raw VARCHAR)"
    )
    rows = [(f"e{number:03d}", "2026-03-02", json.dumps({"name": f"n{number}"})) for number in range(count)]
    connection.executemany('INSERT INTO wide (event_id, "at", raw) VALUES (?, ?, ?)', rows)
    engine = Engine(connection, CompiledRules(digest="", rules=rules), [SOURCE])
    assert [(one.rule, one.event_ids) for one in engine.run()] == [
        (f"r{number:03d}", (f"e{number:03d}",)) for number in range(count)
    ]
    assert engine.failed == ()
