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
from collections.abc import Callable, Iterable, Mapping, Sequence
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


def _wide(source: LogSource, wanted: Mapping[str, Sequence[str]], only: str) -> str:
    places: dict[str, int] = {}

    def taken(pointer: str) -> str:
        return f"x[{places.setdefault(pointer, len(places) + 1)}]"

    columns = [_column(names, taken) for key, names in wanted.items() if key != "raw"]
    raw = ", raw" if "raw" in wanted else ""
    if not columns:
        return f"(SELECT {standard()}{raw} FROM {named(source.table)} WHERE {only})"
    extracted = (
        f"SELECT {standard()}, raw, TRY(json_extract_string(raw, {texts(places)})) AS x FROM {named(source.table)}"
    )
    return f"(SELECT {standard()}{raw}, {', '.join(columns)} FROM ({extracted}))"


def _column(names: Sequence[str], taken: Callable[[str], str]) -> str:
    plain, lists, marks = [], [], []
    for name in names:
        steps = [_ANY_ELEMENT.sub("", step) or step for step in name.split(".")]
        plain += [taken(pointer) for pointer in _pointers(steps)]
        if 1 < len(steps) <= _MOST_STEPS:
            marks += [taken(_pointer([*steps[:at], "0"])) for at in range(1, len(steps))]
            lists += _through_lists(steps)
    direct = plain[0] if len(plain) == 1 else f"coalesce({', '.join(plain)})"
    if not lists:
        return f"{direct} AS {named(names[0])}"
    shapes = ", ".join(f"json_extract(raw, {text(path)})" for path in lists)
    single = f"list_filter(flatten([{shapes}]), lambda v: json_type(v) NOT IN ('ARRAY', 'NULL'))"
    values = f"TRY(nullif(CAST(to_json({single}) AS VARCHAR), '[]'))"
    is_list = " OR ".join(f"{mark} IS NOT NULL" for mark in marks)
    return f"coalesce({direct}, CASE WHEN {is_list} THEN {values} END) AS {named(names[0])}"


def _pointers(steps: Sequence[str]) -> list[str]:
    """Return where a field may stand: step by step, then with the last steps as one key, ever more of them."""
    return [_pointer([*steps[:at], ".".join(steps[at:])]) for at in range(len(steps) - 1, -1, -1)]


def _pointer(steps: Sequence[str]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def _through_lists(steps: Sequence[str]) -> list[str]:
    """Return a path for each choice of steps that are lists, at least one before the last; the last one's is spread."""
    if any('"' in step or not step for step in steps):
        return []
    found = []
    for shape in product((False, True), repeat=len(steps) - 1):
        if any(shape):
            marks = ["[*]" if is_list else "" for is_list in (*shape, False)]
            path = "$" + "".join(f'."{step}"{mark}' for step, mark in zip(steps, marks, strict=True))
            found += [path, path + "[*]"]
    return found
