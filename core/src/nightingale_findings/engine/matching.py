"""All plain rules of one source in one pass over its events.

Every rule's `where` is a column of a table of those events that any of them matches. One rule that fails while it runs
(a cast in it, a pattern) must not take the others along: the rules are then halved until it stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from nightingale_findings.compiled import CompiledRule
from nightingale_findings.engine.sql import is_a_time, named, standard

_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"")

STOPPED = (duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.FatalException)
"""What is no rule's fault: it ends the scan."""


@dataclass(frozen=True)
class FailedRule:
    """A rule that could not be run on these events, and why, in the database's words without its data."""

    rule: str
    why: str


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
    keep: Sequence[str] = (),
) -> tuple[tuple[Matches, ...], tuple[FailedRule, ...]]:
    """Make tables of the events of `relation` that any of the rules matches, with the fields `keep`.

    Returns one table, or more of them when a rule failed and was left out. Raises what STOPPED names.
    """
    if not rules:
        return (), ()
    columns = {rule.id: f"m{place}" for place, rule in enumerate(rules)}
    wheres = ", ".join(f"coalesce({rule.where}, false) AS {columns[rule.id]}" for rule in rules)
    others = "".join(f", {named(name)}" for name in keep)
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {named(table)} AS SELECT * FROM "
            f"(SELECT {standard()}{others}, {wheres} FROM {relation} WHERE {is_a_time()}) "
            f"WHERE {' OR '.join(columns.values())}"
        )
    except STOPPED:
        raise
    except duckdb.Error as failed:
        if len(rules) == 1:
            return (), (FailedRule(rules[0].id, reason(failed)),)
        half = len(rules) // 2
        first, bad = match(connection, relation, rules[:half], table=table + "a", keep=keep)
        second, worse = match(connection, relation, rules[half:], table=table + "b", keep=keep)
        return first + second, bad + worse
    return (Matches(table, columns),), ()


def reason(failed: duckdb.Error) -> str:
    """Return what an error says about the rule: its first line, without the value that it stumbled over."""
    line = next(iter(str(failed).splitlines()), "")
    said = _VALUE.sub("'...'", line.split(" Input: ")[0])
    return f"{type(failed).__name__}: {said[:300]}"
