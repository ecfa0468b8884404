"""Rules and tables made by hand, for tests of the engine that need no YAML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from nightingale_findings.compiled import CompiledRule, CompiledRules, Correlation
from nightingale_findings.logsource import FieldType, LogSource

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)

READS = LogSource(
    name="reads",
    product="nightingale",
    service="reads",
    table="nightingale_reads",
    fields={"path": FieldType.TEXT, "bytes": FieldType.WHOLE, "note": FieldType.TEXT},
)

TRAIL = LogSource(name="trail", product="aws", service="cloudtrail", table="trail", fields=None)

Read = tuple[str, float, str | None, str | None, int | None]
"""Id, seconds after START, person, path, bytes."""


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def rule(name: str, where: str | None = None, **more: Any) -> CompiledRule:
    settings = {"level": "high", "source": "reads", "title": name, "name": name, "where": where}
    return CompiledRule(id=name, **{**settings, **more})


def correlated(name: str, kind: str, conditions: Sequence[tuple[str, float]] = (), **more: Any) -> CompiledRule:
    outer = {key: more.pop(key) for key in ("episode_s", "is_finding", "source") if key in more}
    settings: dict[str, Any] = {"rules": ("every",), "span_s": 60, "conditions": tuple(conditions), "kind": kind}
    return rule(name, correlation=Correlation(**{**settings, **more}), **outer)


def ruled(*rules: CompiledRule) -> CompiledRules:
    return CompiledRules(digest="made by hand", rules=rules)


def reads_table(connection: duckdb.DuckDBPyConnection, reads: Iterable[Read] = ()) -> None:
    connection.execute(
        'CREATE TABLE IF NOT EXISTS nightingale_reads (event_id VARCHAR, "at" TIMESTAMP, person VARCHAR, '
        "instance VARCHAR, project VARCHAR, path VARCHAR, bytes BIGINT, note VARCHAR)"
    )
    rows = [
        (event, moment(at).replace(tzinfo=None), who, "i-1", "p-1", path, size) for event, at, who, path, size in reads
    ]
    if rows:
        connection.executemany("INSERT INTO nightingale_reads VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", rows)


def wide_table(connection: duckdb.DuckDBPyConnection, raws: Iterable[str]) -> None:
    connection.execute(
        'CREATE OR REPLACE TABLE trail (event_id VARCHAR, "at" TIMESTAMP, person VARCHAR, instance VARCHAR, '
        "project VARCHAR, raw VARCHAR)"
    )
    for place, raw in enumerate(raws):
        at = moment(place).replace(tzinfo=None)
        connection.execute("INSERT INTO trail VALUES (?, ?, 'ada', NULL, NULL, ?)", [f"e{place:03}", at, raw])
