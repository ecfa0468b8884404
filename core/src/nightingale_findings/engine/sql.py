"""The little of SQL's spelling that the engine's statements share: names, texts, numbers, spans."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from nightingale_findings.logsource import STANDARD

EARLIEST, LATEST = "1900-01-01", "8000-01-01"
"""Times outside of this are no times: adding a span to them would leave what SQL can hold."""


def named(name: str) -> str:
    """Return a column's or a table's name in quotes."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text literal."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Return a list of texts."""
    return "[" + ", ".join(text(value) for value in values) + "]"


def number(value: float) -> str:
    """Return a number literal: whole ones stay exact."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def seconds(span_s: int) -> str:
    """Return an interval."""
    return f"INTERVAL {int(span_s)} SECOND"


def time(moment: datetime) -> str:
    """Return a timestamp literal of a time without a zone."""
    return f"TIMESTAMP '{moment.isoformat(sep=' ')}'"


def is_a_time(column: str = '"at"') -> str:
    """Return a condition that is true for a time one can reckon with."""
    return f"{column} BETWEEN TIMESTAMP '{EARLIEST}' AND TIMESTAMP '{LATEST}'"


def standard(prefix: str = "") -> str:
    """Return the standard columns in quotes (`at` is a word of SQL), with a comma between."""
    return ", ".join(prefix + named(column) for column in STANDARD)
