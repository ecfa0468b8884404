"""What many rules ask of an event, asked once.

Rules over one source ask the same things: the small letters of a field, whether it begins a list, whether the source is
S3. DuckDB finds such common parts by itself, but not inside AND, OR and CASE, where rules have them. So they become
columns of their own: three times less to do for 57 rules. Only what reads as SQL is touched, never inside a literal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

_PIECES = re.compile(
    r"""
    (?P<lower>\blower\((?:"(?:[^"]|"")*")\))
    | (?P<begins>\bstarts_with\((?:"(?:[^"]|"")*"),[ ]'\['\))
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | \b(?P<word>CASE|END)\b
    """,
    re.VERBOSE,
)


Column = tuple[str, str]
"""A name in quotes, and the SQL it stands for."""

Span = tuple[int, int]
"""Where a piece of a text begins, and where it ends."""


def shared(wheres: Sequence[str]) -> tuple[list[str], tuple[list[Column], list[Column]]]:
    """Return the conditions, reading columns where they shared parts, and those columns in two layers.

    The second layer's columns (conditions that several rules have) read the first's (texts in small letters).
    """
    simple: dict[str, str] = {}

    def as_column(found: re.Match[str]) -> str:
        if found["lower"] or found["begins"]:
            return simple.setdefault(found[0], f'"l {len(simple)}"')
        return found[0]

    read = [_PIECES.sub(as_column, where) for where in wheres]
    found = [_cases(where) for where in read]
    often = Counter(case for where, cases in zip(read, found, strict=True) for case in {where[a:b] for a, b in cases})
    columns = {case: f'"c {place}"' for place, (case, many) in enumerate(often.items()) if many > 1}
    read = [_with_columns(where, cases, columns) for where, cases in zip(read, found, strict=True)]
    return read, ([(name, sql) for sql, name in simple.items()], [(name, sql) for sql, name in columns.items()])


def _with_columns(where: str, cases: Sequence[Span], columns: Mapping[str, str]) -> str:
    """Put columns in the place of cases, where these stand as SQL: the same text inside a literal stays what it is."""
    pieces, at = [], 0
    for start, end in cases:
        column = columns.get(where[start:end])
        if column is not None:
            pieces += [where[at:start], column]
            at = end
    return "".join((*pieces, where[at:]))


def layered(relation: str, layers: Sequence[Sequence[Column]]) -> str:
    """Return the relation with the layers' columns added."""
    for columns in layers:
        if columns:
            relation = f"(SELECT *, {', '.join(f'{sql} AS {name}' for name, sql in columns)} FROM {relation})"
    return relation


def _cases(where: str) -> list[Span]:
    """Return where the outermost CASE ... END of a condition stand."""
    found, depth, start = [], 0, 0
    for piece in _PIECES.finditer(where):
        if piece["word"] == "CASE":
            start = piece.start() if depth == 0 else start
            depth += 1
        elif piece["word"] == "END":
            depth -= 1
            if depth == 0:
                found.append((start, piece.end()))
    return found
