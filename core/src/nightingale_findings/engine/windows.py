"""Correlations as SQL: exact sliding windows, closed at t minus span, over the events that the rules in it match.

What is asked, and of which events:

- A window ends at each event and reaches back to t minus span, both ends in it; so do all events of the instant t.
- An event that lacks a field it is grouped by belongs to no group: what nobody is named for is not added up. Rules
  without `group-by` have one group.
- An event that several of the rules match, or that was delivered twice, counts once.
- `value_count` counts distinct values, null is none; of several fields, distinct rows without a null in them.
- `value_sum`, `value_avg`, `value_percentile`, `value_median` leave out what is no finite number. A window without any
  has no value and meets no condition. A percentile between two values is interpolated, as is the median.
- `temporal` wants every rule in the window, or as many as its conditions say; `temporal_ordered` in the rules' order,
  events of one instant in any.
- Any comparison may be asked; of `<` too: for windows that end at an event. A silence has no event, and no window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightingale_findings.compiled import CompiledRule, Correlation
from nightingale_findings.engine.sql import is_a_time, named, number, seconds, text, time
from nightingale_findings.logsource import FieldType

NUMERIC = frozenset({"value_sum", "value_avg", "value_percentile", "value_median"})
TEMPORAL = frozenset({"temporal", "temporal_ordered"})


Stretch = tuple[datetime, datetime]
"""From, until; the end is not in it."""


@dataclass(frozen=True)
class Matched:
    """Where the matches of one rule are found: rows of `relation` for which `predicate` is true."""

    rule: CompiledRule
    relation: str
    predicate: str
    types: Mapping[str, FieldType]
    """The types of columns that are not text."""


def matches(correlation: Correlation, members: Sequence[Matched], stretches: Sequence[Stretch] = ()) -> str:
    """Return a query of all matches: r (which rule), the standard columns (`at` as t), g0, g1... and v (the value).

    With stretches of time (from, until) of the matches in these.
    """
    return " UNION ALL ".join(_member(correlation, place, member, stretches) for place, member in enumerate(members))


def _member(correlation: Correlation, place: int, member: Matched, stretches: Sequence[Stretch]) -> str:
    keys = [named(alias_of(correlation, name, member.rule.id)) for name in correlation.group_by]
    group = "".join(f", CAST({key} AS VARCHAR) AS g{at}" for at, key in enumerate(keys))
    whole = "".join(f" AND {key} IS NOT NULL" for key in keys)
    within = " OR ".join(f'("at" >= {time(begin)} AND "at" < {time(end)})' for begin, end in stretches) or is_a_time()
    columns = 'event_id, "at" AS t, person, instance, project'
    return (
        f"SELECT {place} AS r, {columns}{group}, {_value(correlation, member)} AS v FROM {member.relation} AS events "
        f"WHERE ({member.predicate}) AND ({within}){whole}"
    )


def alias_of(correlation: Correlation, name: str, rule: str) -> str:
    """Return the field that an alias means in a rule; the name itself when it is none."""
    return correlation.aliases.get(name, {}).get(rule, name)


def _value(correlation: Correlation, member: Matched) -> str:
    fields = [alias_of(correlation, name, member.rule.id) for name in correlation.field]
    if correlation.kind == "value_count":
        columns = [f"CAST({named(name)} AS VARCHAR)" for name in fields]
        if len(columns) == 1:
            return columns[0]
        present = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        return f"CASE WHEN {present} THEN CAST(to_json([{', '.join(columns)}]) AS VARCHAR) END"
    if correlation.kind in NUMERIC:
        column = named(fields[0])
        kind = member.types.get(fields[0])
        if kind is FieldType.WHOLE:
            return column
        double = column if kind is FieldType.NUMBER else f"TRY_CAST(CAST({column} AS VARCHAR) AS DOUBLE)"
        return f"CASE WHEN isfinite({double}) THEN {double} END"
    return "NULL::INTEGER"


def groups(correlation: Correlation) -> list[str]:
    """Return the group's columns."""
    return [f"g{at}" for at in range(len(correlation.group_by))]


def by(correlation: Correlation) -> str:
    """Return the PARTITION BY of a group, or nothing."""
    return f"PARTITION BY {', '.join(groups(correlation))} " if correlation.group_by else ""


def condition(correlation: Correlation, value: str = "value") -> str:
    """Return the condition that a window's value meets when it fires."""
    if not correlation.conditions:
        return f"{value} >= {len(correlation.rules)}" if correlation.kind in TEMPORAL else "true"
    return " AND ".join(f"{value} {'<>' if op == '!=' else op} {number(than)}" for op, than in correlation.conditions)


def _once(correlation: Correlation, source: str) -> str:
    """Return the matches without what was delivered twice; of a temporal one each rule keeps its own."""
    keys = [*groups(correlation), *(["r"] if correlation.kind in TEMPORAL else []), "event_id"]
    others = [name for name in ("t", "person", "instance", "project", "r", "v") if name not in keys]
    kept = ", ".join(f"min({name}) AS {name}" for name in others)
    return f"SELECT {', '.join(keys)}, {kept} FROM ({source}) GROUP BY {', '.join(keys)}"


def windows(correlation: Correlation, source: str) -> str:
    """Return a query of every match with its window's `value` and whether it `fired`."""
    asked = f"coalesce({condition(correlation)}, false)"
    if correlation.kind == "temporal_ordered":
        return f"SELECT *, {asked} AS fired FROM ({_ordered(correlation, _once(correlation, source))})"
    window = (
        f"WINDOW w AS ({by(correlation)}ORDER BY t "
        f"RANGE BETWEEN {seconds(correlation.span_s)} PRECEDING AND CURRENT ROW)"
    )
    value = f"{_aggregate(correlation)} OVER w"
    inner = f"SELECT *, {value} AS value FROM ({_once(correlation, source)}) {window}"
    return f"SELECT *, {asked} AS fired FROM ({inner})"


def _aggregate(correlation: Correlation) -> str:
    percentile = (correlation.percentile if correlation.percentile is not None else 50.0) / 100
    return {
        "event_count": "count(*)",
        "value_count": "count(DISTINCT v)",
        "value_sum": "sum(v)",
        "value_avg": "avg(v)",
        "value_percentile": f"quantile_cont(v, {percentile!r})",
        "value_median": "quantile_cont(v, 0.5)",
        "temporal": "count(DISTINCT r)",
    }[correlation.kind]


def _ordered(correlation: Correlation, source: str) -> str:
    """Return the matches with `value`, how many of the rules, from the first on, stand in order in the window.

    `s0` is the latest time of the first rule until now, `s1` the latest start of a chain of the first two, and so on:
    the start at the latest event of the second, since starts never go back.
    """
    until = f"OVER ({by(correlation)}ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    query = f"SELECT *, max(CASE WHEN r = 0 THEN t END) {until} AS s0 FROM ({source})"
    for place in range(1, len(correlation.rules)):
        query = f"SELECT *, max(CASE WHEN r = {place} THEN s{place - 1} END) {until} AS s{place} FROM ({query})"
    steps = " + ".join(
        f"coalesce(CAST(s{place} >= t - {seconds(correlation.span_s)} AS INTEGER), 0)"
        for place in range(len(correlation.rules))
    )
    return f"SELECT *, {steps} AS value FROM ({query})"


def hits(rule: CompiledRule, fired: str) -> str:
    """Return a query of every match that lies in a window that fired, in the shape of the hits' table."""
    correlation = rule.correlation
    if correlation is None:
        raise ValueError(f"{rule.name} is no correlation")
    following = (
        f"OVER ({by(correlation)}ORDER BY t RANGE BETWEEN CURRENT ROW AND {seconds(correlation.span_s)} FOLLOWING)"
    )
    group = f"[{', '.join(groups(correlation))}]::VARCHAR[]"
    inner = f"SELECT *, bool_or(fired) {following} AS is_hit FROM ({fired})"
    return (
        f"SELECT {text(rule.id)} AS rule, {group} AS g, min(person) AS person, min(instance) AS instance, "
        "min(project) AS project, event_id, min(t) AS t, max(CASE WHEN fired THEN value END)::DOUBLE AS value "
        f"FROM ({inner}) WHERE is_hit GROUP BY ALL"
    )
