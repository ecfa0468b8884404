"""Why a rule fires or not: what it saw of each event, and of a correlation what each window came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb

from nightingale_findings.compiled import CompiledRule, Correlation
from nightingale_findings.engine import windows
from nightingale_findings.engine.relations import relation, spellings
from nightingale_findings.engine.sql import is_a_time, named, number
from nightingale_findings.engine.windows import Matched
from nightingale_findings.logsource import LogSource

MOST = 1000
"""Events that are explained, in order of time."""


@dataclass(frozen=True)
class Explained:
    """One event under one rule."""

    rule: str
    """The rule's id; in the rows of a correlation, its own."""
    event_id: str
    at: datetime
    is_match: bool
    """Whether the rule matches the event; of a correlation, whether the window that ends at the event fires."""
    fields: Mapping[str, str | None] = field(default_factory=dict)
    """What the rule asks about, as it found it; null for what the event has not."""
    value: float | None = None
    """What a correlation's window came to."""
    asked: str = ""
    """What that is compared with, in words."""


def plain(connection: duckdb.DuckDBPyConnection, rule: CompiledRule, source: LogSource) -> list[Explained]:
    """Return a row for each event of the source, the first MOST. Raises duckdb.Error, also for a rule that fails."""
    names = [spelled[0] for spelled in spellings(rule.fields).values()]
    columns = "".join(f", CAST({named(name)} AS VARCHAR)" for name in names)
    rows = connection.execute(
        f'SELECT event_id, "at", coalesce({rule.where or "false"}, false){columns} '
        f'FROM {relation(connection, source, rule.fields)} AS events WHERE {is_a_time()} ORDER BY "at", event_id '
        f"LIMIT {MOST}"
    ).fetchall()
    return [
        Explained(rule.id, event, at.replace(tzinfo=UTC), is_match, dict(zip(names, values, strict=True)))
        for event, at, is_match, *values in rows
    ]


def correlation(
    connection: duckdb.DuckDBPyConnection, rule: CompiledRule, members: Sequence[Matched]
) -> list[Explained]:
    """Return a row for each match that the correlation is about: the window that ends there. Raises duckdb.Error."""
    over = rule.correlation
    if over is None:
        raise ValueError(f"{rule.name} is no correlation")
    groups = windows.groups(over)
    query = windows.windows(over, windows.matches(over, members))
    columns = ", ".join(["r", "event_id", "t", "fired", "CAST(value AS DOUBLE)", *groups])
    rows = connection.execute(
        f"SELECT {columns} FROM ({query}) ORDER BY {', '.join([*groups, 't', 'event_id', 'r'])} LIMIT {MOST}"
    ).fetchall()
    return [
        Explained(
            rule=rule.id,
            event_id=event,
            at=at.replace(tzinfo=UTC),
            is_match=fired,
            fields={"rule": members[place].rule.name, **dict(zip(over.group_by, keys, strict=True))},
            value=value,
            asked=in_words(over),
        )
        for place, event, at, fired, value, *keys in rows
    ]


def in_words(over: Correlation) -> str:
    """Return what a correlation asks of a window."""
    if over.kind in windows.TEMPORAL and not over.conditions:
        what = f"rules {'in this order' if over.kind == 'temporal_ordered' else 'all'}"
        asked = f">= {len(over.rules)}"
    else:
        what = f"{over.kind} of {', '.join(over.field)}" if over.field else over.kind
        what += f" at {number(over.percentile)} per cent" if over.percentile is not None else ""
        asked = " and ".join(f"{comparison} {number(than)}" for comparison, than in over.conditions)
    by = f" by {', '.join(over.group_by)}" if over.group_by else ""
    return f"{what} {asked} within {over.span_s} s{by}"
