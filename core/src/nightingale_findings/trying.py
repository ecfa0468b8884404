"""One rule over a few events: which of them it matches, and what they hold where the rule looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from nightingale_findings.compiled import CompiledRule, CompiledRules
from nightingale_findings.engine import Engine, FailedRule, opened
from nightingale_findings.firing import Firing
from nightingale_findings.logsource import STANDARD, LogSource
from nightingale_findings.sources.clouds import CLOUDS
from nightingale_findings.sources.set_aside import Asides, Loaded
from nightingale_findings.sources.splitting import values_of

_KINDS = dict(zip(STANDARD, ("VARCHAR", "TIMESTAMP", "VARCHAR", "VARCHAR", "VARCHAR"), strict=True))


@dataclass(frozen=True)
class Judged:
    """One event, as one plain rule sees it."""

    event_id: str
    rule: str
    """The name of the plain rule: the one tried, or one that it correlates."""
    is_match: bool
    fields: dict[str, str | None]
    """What the event holds in each field that the rule names; None for nothing there."""


@dataclass(frozen=True)
class Trial:
    """What came of it. `firings` are those of the rule tried; a correlation may have matches and no firing."""

    rule: CompiledRule
    loaded: Loaded
    events: tuple[Judged, ...]
    firings: tuple[Firing, ...]
    failed: tuple[FailedRule, ...]


def try_rule(rule: CompiledRule, rules: CompiledRules, sources: Sequence[LogSource], events: Path) -> Trial:
    """Run `rule`, with those of `rules` that it correlates, over the events in a file of its source's form.

    Events of the platform's own sources are rows of their fields, each with `source`. Raises OSError for a file that is
    not there.
    """
    events.stat()
    by_id = {one.id: one for one in rules.rules}
    members = [by_id[name] for name in rule.correlation.rules] if rule.correlation else [rule]
    needed = tuple({one.id: one for one in (*members, rule)}.values())
    wanted = {source.name: source for source in sources if source.name in {one.source for one in needed}}
    connection = opened()
    try:
        loaded = _loaded(connection, wanted, events)
        engine = Engine(connection, CompiledRules(digest="", rules=needed), list(wanted.values()))
        firings = engine.run()
        judged = [
            Judged(one.event_id, member.name, one.is_match, dict(one.fields))
            for member in members
            for one in engine.explain(member.id)
        ]
        told = tuple(firing for firing in firings if firing.rule == rule.id)
        return Trial(rule=rule, loaded=loaded, events=tuple(judged), firings=told, failed=engine.failed)
    finally:
        connection.close()


def _loaded(connection: duckdb.DuckDBPyConnection, sources: dict[str, LogSource], events: Path) -> Loaded:
    clouds = [name for name in sources if name in CLOUDS]
    if clouds:
        return CLOUDS[clouds[0]].load(connection, [events])
    asides = Asides()
    count = 0
    for source in sources.values():
        _create(connection, source)
    for line, value in values_of(events, asides):
        row = _row(value)
        named = sources.get(str(row.get("source", ""))) if row else None
        if row is None or named is None:
            asides.add(str(events), line, f"its `source` is none of {', '.join(sources)}", value)
            continue
        _insert(connection, named, row)
        count += 1
    return Loaded(events=count, set_aside=tuple(asides.told), set_aside_count=asides.count)


def _row(value: bytes) -> dict[str, Any] | None:
    import msgspec  # noqa: PLC0415 - only rows need it here

    try:
        row = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _columns(source: LogSource) -> dict[str, str]:
    return _KINDS | {name: kind.value for name, kind in (source.fields or {}).items()}


def _create(connection: duckdb.DuckDBPyConnection, source: LogSource) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, kind in _columns(source).items())
    connection.execute(f'CREATE TABLE "{source.table}" ({columns})')


def _insert(connection: duckdb.DuckDBPyConnection, source: LogSource, row: dict[str, Any]) -> None:
    columns = {name: kind for name, kind in _columns(source).items() if name in row}
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(f"TRY_CAST(? AS {kind})" for kind in columns.values())
    connection.execute(
        f'INSERT INTO "{source.table}" ({names}) SELECT {values}',
        [row[name].rstrip("Z") if kind == "TIMESTAMP" else row[name] for name, kind in columns.items()],
    )
