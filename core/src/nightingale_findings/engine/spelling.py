"""What the text of a rule's condition may be made of: the words and signs that our dialect writes, and no others.

The condition is put between brackets and commas of larger statements. So it must not end them: brackets are closed in
the order in which they were opened, and there is no comment, no semicolon, no string that another parser would end
elsewhere (`E'...'`, `$$...$$`). `SELECT` is no word that may stand here at all, nor is any function that is not listed.
"""

from __future__ import annotations

import re

FUNCTIONS = frozenset(
    {
        *("array_to_string", "chr", "contains", "ends_with", "isfinite", "json_extract_string", "json_valid", "left"),
        *("len", "length", "list_filter", "list_transform", "lower", "lpad", "regexp_extract", "regexp_full_match"),
        *("regexp_matches", "repeat", "replace", "split_part", "starts_with", "strftime", "string_split", "to_hex"),
        "trim",
    }
)
"""Every function that the dialect calls by its name: each makes a value of values, and reads nothing else."""

TYPES = frozenset({"BIGINT", "DOUBLE", "TIMESTAMP", "UTINYINT", "VARCHAR"})

PARAMETERS = frozenset({"g", "nightingale_element", "plain", "whole"})
"""What the dialect calls the elements of lists."""

WORDS = (
    frozenset(
        {
            *("AND", "AS", "CASE", "CAST", "ELSE", "END", "ESCAPE", "FALSE", "FROM", "IN", "IS", "LIKE", "NOT", "NULL"),
            *("OR", "THEN", "TRUE", "TRY_CAST", "WHEN", "coalesce", "extract", "lambda"),
        }
    )
    | FUNCTIONS
    | TYPES
    | PARAMETERS
)
"""In these letters only: what reads the text later (`shared`) tells CASE from case."""

_TOKEN = re.compile(
    r"""
      (?P<text>'(?:[^'\0]|'')*')
    | (?P<name>"(?:[^"\0]|"")+")
    | (?P<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>::|\|\||<=|>=|<>|[=<>+*:-])
    | (?P<mark>[()\[\],])
    | (?P<space>[ ]+)
    """,
    re.VERBOSE,
)
_STUCK = frozenset({"text", "name", "number", "word"})
_CLOSES = {")": "(", "]": "["}


def odd_in(where: str) -> str:
    """Return what in a condition our dialect would not have written, in words; nothing when all of it may be."""
    at, before, opened = 0, "space", []
    while at < len(where):
        found = _TOKEN.match(where, at)
        if found is None or found.lastgroup is None:
            return f"the sign {where[at]!r} at character {at + 1} is none of the dialect's"
        kind, piece = found.lastgroup, found[0]
        if (kind in _STUCK and before in _STUCK) or kind == before == "operator":
            return f"{piece[:40]!r} at character {at + 1} stands too close to what is before it"
        if kind == "word" and piece not in WORDS:
            return f"the word {piece[:60]!r} is none of the dialect's"
        if kind == "mark" and piece in "([":
            opened.append(piece)
        elif piece in _CLOSES and (not opened or opened.pop() != _CLOSES[piece]):
            return f"the bracket at character {at + 1} closes none"
        at, before = found.end(), kind
    return "a bracket is not closed" if opened else ""
