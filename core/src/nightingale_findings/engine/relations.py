"""A source's table with a column for each field that rules name.

A wide source keeps the event's JSON in `raw`; one call takes every path out of it, as text, a list or object as JSON:

- `userIdentity.type` is the key `type` in the object `userIdentity`. Where there is none, a key that has the dot in its
  own name is taken: `labels.compute.googleapis.com/name` is found as `labels` and then `compute.googleapis.com/name`,
  and as one key at the top too. A number is a place in a list. Ways of writing "any element" (`items[].x`, `items{}.x`,
  `items[*].x`) mean the same as `items.x`.
- A list on the way gives the values of all its elements, as a JSON list (`["10.0.0.0/8","0.0.0.0/0"]`), whatever number
  there are of them. An element's own list is spread into it.
- JSON's null, and a document that is not JSON, give null.
- Columns do not know upper from lower case. Fields that differ in nothing else share one: the first that is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import product

import duckdb

from nightingale_findings.engine.sql import named, standard, text, texts
from nightingale_findings.logsource import STANDARD, LogSource

_MOST_STEPS = 6
"""A longer path is not looked for through lists: each step doubles the shapes to try."""

_ANY_ELEMENT = re.compile(r"(\[\*?\]|\{\})$")


def relation(
    connection: duckdb.DuckDBPyConnection, source: LogSource, fields: Iterable[str], only: str = "true"
) -> str:
    """Return a subquery with the standard columns and one for each of `fields`; null for what the source has not.

    `only` is a condition on the table's own columns that rows must meet. Raises duckdb.Error when the source's table is
    not there.
    """
    wanted = spellings(fields)
    if source.is_wide:
        return _wide(source, wanted, only)
    there = {row[0].lower() for row in connection.execute(f"DESCRIBE {named(source.table)}").fetchall()}
    missing = [names[0] for key, names in wanted.items() if key not in there]
    if not missing and only == "true":
        return named(source.table)
    nulls = "".join(f", NULL::VARCHAR AS {named(name)}" for name in missing)
    return f"(SELECT *{nulls} FROM {named(source.table)} WHERE {only})"


def spellings(fields: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Return, by the name in lower case, how rules write it; without the standard columns."""
    found: dict[str, list[str]] = {}
    for field in sorted(set(fields)):
        if field.lower() not in STANDARD:
            found.setdefault(field.lower(), []).append(field)
    return {key: tuple(names) for key, names in found.items()}


@dataclass
class _Paths:
    """Where the fields of a wide source are looked for: every path once, in two calls.

    The first call takes all fields out of an event, and looks whether a list lies on the way to one. The second, of
    events that have such lists, takes these; what is in them is found in them, not in the event anew: for each call
    DuckDB holds 2,048 events, parsed, in memory.
    """

    fields: dict[str, int] = dataclass_field(default_factory=dict)
    lists: dict[str, int] = dataclass_field(default_factory=dict)
    marks: list[str] = dataclass_field(default_factory=list)

    def taken(self, pointer: str) -> str:
        """Return SQL for the text at a path."""
        return f"x[{self.fields.setdefault(pointer, len(self.fields) + 1)}]"

    def listed(self, pointer: str) -> tuple[str, str]:
        """Return SQL for whether a list is at a path, one that does not begin with null, and for its text."""
        is_list = f"{self.taken(pointer + '/0')} IS NOT NULL"
        if is_list not in self.marks:
            self.marks.append(is_list)
        return is_list, f"y[{self.lists.setdefault(pointer, len(self.lists) + 1)}]"


def _wide(source: LogSource, wanted: Mapping[str, Sequence[str]], only: str) -> str:
    paths = _Paths()
    columns = [_column(names, paths) for key, names in wanted.items() if key != "raw"]
    raw = ", raw" if "raw" in wanted else ""
    if not columns:
        return f"(SELECT {standard()}{raw} FROM {named(source.table)} WHERE {only})"
    fields = f"TRY(json_extract_string(raw, {texts(paths.fields)})) AS x"
    events = f"(SELECT {standard()}, raw, {fields} FROM {named(source.table)} WHERE {only})"
    if paths.lists:
        lists = f"TRY(json_extract_string(raw, {texts(paths.lists)}))"
        events = f"(SELECT *, CASE WHEN {' OR '.join(paths.marks)} THEN {lists} END AS y FROM {events})"
    return f"(SELECT {standard()}{raw}, {', '.join(columns)} FROM {events})"


def _column(names: Sequence[str], paths: _Paths) -> str:
    plain, lists = [], []
    for name in names:
        steps = [_ANY_ELEMENT.sub("", step) or step for step in name.split(".")]
        plain += [paths.taken(pointer) for pointer in _pointers(steps)]
        if 1 < len(steps) <= _MOST_STEPS and not any('"' in step or not step for step in steps):
            for at in range(1, len(steps)):
                is_list, whole = paths.listed(_pointer(steps[:at]))
                lists.append(f"WHEN {is_list} THEN {_values(whole, steps[at:])}")
    direct = plain[0] if len(plain) == 1 else f"coalesce({', '.join(plain)})"
    if lists:
        direct = f"coalesce({direct}, CASE {' '.join(lists)} END)"
    return f"{direct} AS {named(names[0])}"


def _values(whole: str, steps: Sequence[str]) -> str:
    """Return SQL for what `steps` lead to from each element of a list, as a JSON list; null when it is nothing."""
    shapes = []
    for lists in product((False, True), repeat=len(steps)):
        marks = ["[*]" if is_list else "" for is_list in lists]
        path = "$[*]" + "".join(f'."{step}"{mark}' for step, mark in zip(steps, marks, strict=True))
        shapes.append(f"json_extract({whole}, {text(path)})")
    single = f"list_filter(flatten([{', '.join(shapes)}]), lambda v: json_type(v) NOT IN ('ARRAY', 'NULL'))"
    return f"TRY(nullif(CAST(to_json({single}) AS VARCHAR), '[]'))"


def _pointers(steps: Sequence[str]) -> list[str]:
    """Return where a field may stand: step by step, then with the last steps as one key, ever more of them."""
    return [_pointer([*steps[:at], ".".join(steps[at:])]) for at in range(len(steps) - 1, -1, -1)]


def _pointer(steps: Sequence[str]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
