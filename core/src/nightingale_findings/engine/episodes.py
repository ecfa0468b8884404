"""Hits that belong together, as firings: one rule, one group, no further apart than the rule's reach.

A hit is an event that a plain rule matches, or one that lies in a correlation's window that fired. Its group is the
person, the instance and the project (null is a value like others), or what the correlation groups by. A firing's person
is the one that all of its events name, or nobody; so for instance and project.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb

from nightingale_findings.compiled import CompiledRule
from nightingale_findings.engine.sql import text
from nightingale_findings.firing import MOST_EVENTS, Firing

HITS = "nightingale_hits"
"""The table of a run's hits."""

COLUMNS = (
    "rule VARCHAR, g VARCHAR[], person VARCHAR, instance VARCHAR, project VARCHAR, event_id VARCHAR, t TIMESTAMP, "
    "value DOUBLE"
)

_HALF = MOST_EVENTS // 2


def reach(rule: CompiledRule) -> int:
    """Return how far apart hits of one episode may lie, in seconds: never less than a correlation's span."""
    return max(rule.episode_s, rule.correlation.span_s if rule.correlation else 0)


@dataclass(frozen=True)
class Part:
    """An episode, or what is known of it: times without a zone are UTC."""

    rule: str
    group: tuple[str | None, ...]
    person: str | None
    instance: str | None
    project: str | None
    first: datetime
    last: datetime
    count: int
    ids: tuple[str, ...]
    value: float | None

    def joined(self, later: Part) -> Part:
        """Return this and `later`, which begins no earlier, as one."""
        ids = self.ids + later.ids
        values = [value for value in (self.value, later.value) if value is not None]
        return Part(
            rule=self.rule,
            group=self.group,
            person=self.person if self.person == later.person else None,
            instance=self.instance if self.instance == later.instance else None,
            project=self.project if self.project == later.project else None,
            first=self.first,
            last=max(self.last, later.last),
            count=self.count + later.count,
            ids=ids if len(ids) <= MOST_EVENTS else ids[:_HALF] + ids[-_HALF:],
            value=max(values) if values else None,
        )


def parts(connection: duckdb.DuckDBPyConnection, rules: Iterable[CompiledRule], hits: str = HITS) -> tuple[Part, ...]:
    """Return the episodes of what stands in the hits' table, in order of rule, group and time."""
    known = tuple(rules)
    few = connection.execute(f"FROM {hits} LIMIT {FEW + 1}").fetchall()
    return few_parts(few, known) if len(few) <= FEW else in_sql(connection, known, hits)


FEW = 400
"""Hits that are put together one by one: to plan the statement that does it takes longer."""


def few_parts(hits: Iterable[Sequence[Any]], rules: Collection[CompiledRule]) -> tuple[Part, ...]:
    """Return the episodes of hits, each as the table of hits has it, in order of rule, group and time."""
    known = {rule.id for rule in rules}
    return joined((_alone(hit) for hit in hits if hit[0] in known), rules)


def in_sql(connection: duckdb.DuckDBPyConnection, rules: Iterable[CompiledRule], hits: str) -> tuple[Part, ...]:
    """Return the same, however many hits there are."""
    reaches = ", ".join(f"({text(rule.id)}, {reach(rule)})" for rule in rules)
    found = connection.execute(
        f"""
        WITH reaches(rule, reach) AS (VALUES {reaches}),
        marked AS (
            SELECT h.*, reach, lag(t) OVER (PARTITION BY h.rule, g ORDER BY t, event_id) AS before
            FROM {hits} AS h JOIN reaches ON reaches.rule = h.rule
        ),
        cut AS (
            SELECT *, sum(CASE WHEN t - before <= to_seconds(reach) THEN 0 ELSE 1 END)
                OVER (PARTITION BY rule, g ORDER BY t, event_id ROWS UNBOUNDED PRECEDING) AS episode
            FROM marked
        ),
        placed AS (
            SELECT *, row_number() OVER (PARTITION BY rule, g, episode ORDER BY t, event_id) AS place,
                count(*) OVER (PARTITION BY rule, g, episode) AS many
            FROM cut
        )
        SELECT rule, g, {_sole("person")}, {_sole("instance")}, {_sole("project")}, min(t), max(t), count(*),
            list(event_id ORDER BY t, event_id) FILTER (place <= {_HALF} OR many - place < {_HALF}), max(value)
        FROM placed GROUP BY rule, g, episode ORDER BY rule, g, min(t)
        """
    )
    return tuple(_part(row) for row in found.fetchall())


def _sole(column: str) -> str:
    """Return SQL for the one value that all rows of an episode have, or null."""
    return f"CASE WHEN min({column}) = max({column}) AND count({column}) = count(*) THEN min({column}) END"


def _part(row: Sequence[Any]) -> Part:
    rule, group, person, instance, project, first, last, count, ids, value = row
    return Part(rule, tuple(group), person, instance, project, first, last, count, tuple(ids), value)


def _alone(hit: Sequence[Any]) -> Part:
    rule, group, person, instance, project, event_id, at, value = hit
    return Part(rule, tuple(group), person, instance, project, at, at, 1, (event_id,), value)


def joined(found: Iterable[Part], rules: Iterable[CompiledRule]) -> tuple[Part, ...]:
    """Return episodes that lie no further apart than their rule's reach as one, in order of rule, group and time."""
    reaches = {rule.id: reach(rule) for rule in rules}
    ordered = sorted(found, key=lambda part: (part.rule, _sortable(part.group), part.first, part.last, part.ids))
    kept: list[Part] = []
    for part in ordered:
        last = kept[-1] if kept else None
        is_same = last is not None and (last.rule, last.group) == (part.rule, part.group)
        if last is not None and is_same and (part.first - last.last).total_seconds() <= reaches.get(part.rule, 0):
            kept[-1] = last.joined(part)
        else:
            kept.append(part)
    return tuple(kept)


def _sortable(group: Sequence[str | None]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in group)


def firing(part: Part, rule: CompiledRule) -> Firing:
    """Return an episode as the rest of the world knows it."""
    names = rule.correlation.group_by if rule.correlation else ()
    group = {
        name: value
        for name, value in zip(names, part.group, strict=False)
        if value is not None and name not in ("person", "instance", "project")
    }
    return Firing(
        rule=rule.id,
        person=part.person,
        instance=part.instance,
        project=part.project,
        first_seen=part.first.replace(tzinfo=UTC),
        last_seen=part.last.replace(tzinfo=UTC),
        event_count=part.count,
        event_ids=part.ids,
        group=group,
        value=part.value,
    )
