"""All plain rules of one source in one pass over its events.

Every rule's `where` is a column of a table of those events that any of them matches. One rule that fails while it runs
(a cast in it, a pattern) must not take the others along: the rules are then halved until it stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from nightingale_findings.compiled import CompiledRule
from nightingale_findings.engine.shared import layered, shared
from nightingale_findings.engine.sql import is_a_time, named, standard

_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"")

MOST_AT_ONCE = 80
"""Rules of a wide source in one pass: DuckDB sets memory aside for each condition. 240 at once did not fit 700 MiB, 80
fit 300."""

STOPPED = (duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.FatalException)
"""What is no rule's fault: it ends the scan."""


@dataclass(frozen=True)
class FailedRule:
    """A rule that could not be run on these events, and why, in the database's words without its data."""

    rule: str
    why: str
    is_over: bool = False
    """Whether it took more than it may: it is not run again for a while."""
    had_turn: bool = True
    """False for one that others left no time: the next scan runs it."""
    rests_until: datetime | None = None
    """Until when it is not run, aware; None for one that the next scan runs."""


@dataclass(frozen=True)
class Matches:
    """Where the matches of some rules stand: in `table`, true in the column of the rule's id."""

    table: str
    columns: dict[str, str]


def match(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    rules: Sequence[CompiledRule],
    *,
    table: str,
    keep: Sequence[str] | None = None,
) -> tuple[tuple[Matches, ...], tuple[FailedRule, ...]]:
    """Make tables of the events of `relation` that any of the rules matches.

    With `keep`, the relation is worked out (a wide source) and these fields of it are kept too; without, its columns
    lie in a table. Returns one table, or more of them when a rule failed and was left out. Raises what STOPPED names.
    """
    if not rules:
        return (), ()
    if keep is not None and len(rules) > MOST_AT_ONCE:
        return _halved(connection, relation, rules, table=table, keep=keep)
    columns = {rule.id: f"m{place}" for place, rule in enumerate(rules)}
    query = _lying(relation, rules, columns) if keep is None else _worked_out(relation, rules, columns, keep)
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {named(table)} AS {query}")
    except STOPPED:
        raise
    except duckdb.Error as failed:
        if len(rules) == 1:
            return (), (FailedRule(rules[0].id, reason(failed)),)
        return _halved(connection, relation, rules, table=table, keep=keep)
    return (Matches(table, columns),), ()


def _halved(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    rules: Sequence[CompiledRule],
    *,
    table: str,
    keep: Sequence[str] | None,
) -> tuple[tuple[Matches, ...], tuple[FailedRule, ...]]:
    half = len(rules) // 2
    first, bad = match(connection, relation, rules[:half], table=table + "a", keep=keep)
    second, worse = match(connection, relation, rules[half:], table=table + "b", keep=keep)
    return first + second, bad + worse


def _lying(relation: str, rules: Sequence[CompiledRule], columns: Mapping[str, str]) -> str:
    """Filter first: a column in a table is read as it lies, often as a dictionary, and only what passes goes on."""
    wheres = ", ".join(f"coalesce({rule.where}, false) AS {columns[rule.id]}" for rule in rules)
    passed = " OR ".join(f"({rule.where})" for rule in rules)
    return f"SELECT * EXCLUDE (tick) FROM {passing(relation, passed, wheres)}"


def passing(relation: str, passed: str, more: str = "") -> str:
    """Return, in brackets, the events of `relation` that passed and have a time: it is asked of what passed only.

    With the standard columns come `more` ones, and `tick`: see below what a random number is for.
    """
    found = f"SELECT {standard()}{more and f', {more}'}, random() AS tick FROM {relation} AS events WHERE {passed}"
    return f"(SELECT * FROM ({found}) WHERE {is_a_time()} OR tick < 0)"


def _worked_out(relation: str, rules: Sequence[CompiledRule], columns: Mapping[str, str], keep: Sequence[str]) -> str:
    """Work every condition out once and filter after that.

    DuckDB would move the filter down, to before the fields are taken out of the JSON, and take them out twice; not past
    a column that is another each time it is asked for, as a random number is.
    """
    conditions, layers = shared([rule.where or "false" for rule in rules])
    wheres = ", ".join(
        f"coalesce({condition}, false) AS {columns[rule.id]}" for rule, condition in zip(rules, conditions, strict=True)
    )
    others = "".join(f", {named(name)}" for name in keep)
    asked = f"SELECT {standard()}{others}, {wheres}, random() AS tick FROM {layered(relation, layers)}"
    passed = " OR ".join((*columns.values(), "tick < 0"))
    return f"SELECT * EXCLUDE (tick) FROM ({asked}) WHERE {is_a_time()} AND ({passed})"


def reason(failed: duckdb.Error) -> str:
    """Return what an error says about the rule: its first line, without the value that it stumbled over."""
    line = next(iter(str(failed).splitlines()), "")
    said = _VALUE.sub("'...'", line.split(" Input: ")[0])
    return f"{type(failed).__name__}: {said[:300]}"
