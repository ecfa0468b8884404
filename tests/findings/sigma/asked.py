"""One rule over a few rows in a real DuckDB, for tests to ask."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from nightingale_findings.logsource import STANDARD, FieldType, LogSource
from nightingale_findings.sigma import compile_rules

WIDE = LogSource(name="cloudtrail", product="aws", service="cloudtrail", table="cloudtrail", fields=None)
NARROW = LogSource(
    name="reads",
    product="nightingale",
    service="reads",
    table="reads",
    fields={
        "path": FieldType.TEXT,
        "bytes": FieldType.WHOLE,
        "seconds": FieldType.NUMBER,
        "is_honeypot": FieldType.FLAG,
        "folders": FieldType.TEXTS,
        "closed_at": FieldType.TIME,
    },
)


def rule(detection: Mapping[str, Any], source: LogSource = WIDE, **more: Any) -> str:
    """A rule as YAML (JSON is YAML) about the source."""
    logsource = {"product": source.product, "service": source.service}
    return json.dumps({"title": "Asked", "logsource": logsource, "detection": detection, **more})


def hits(
    detection: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], source: LogSource = WIDE, **given: Any
) -> list[bool]:
    """Whether the rule matches each row; a wide source's rows are given as their extracted texts."""
    if "condition" not in detection:
        detection = {"s": detection, "condition": "s"}
    (one,) = compile_rules({"asked.yml": rule(detection, source)}, [source], **given).rules
    columns = {name: "TIMESTAMP" if name == "at" else "VARCHAR" for name in STANDARD}
    columns |= {name: kind.value for name, kind in (source.fields or {}).items()}
    columns |= {name: "VARCHAR" for name in one.fields if name not in columns}
    named = {name: '"' + name.replace('"', '""') + '"' for name in columns}
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"CREATE TABLE t (n INTEGER, {', '.join(f'{named[c]} {t}' for c, t in columns.items())})")
        for n, row in enumerate(rows):
            marks = ", ".join("?" for _ in columns)
            connection.execute(f"INSERT INTO t VALUES ({n}, {marks})", [row.get(name) for name in columns])  # noqa: S608 - what is tested
        found = connection.execute(f"SELECT {one.where} FROM t ORDER BY n").fetchall()  # noqa: S608 - what is tested
    return [row[0] for row in found]
