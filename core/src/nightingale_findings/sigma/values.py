"""What a value of a rule asks of one text: an expression of SQL over it, true, false or null."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sigma.types import SigmaCasedString, SigmaRegularExpression, SigmaString, SigmaType, SpecialChars

from nightingale_findings.sigma.refusal import Refusal
from nightingale_findings.sigma.sql import ESCAPE, any_of, like_pattern, literal, number, plain, small

Test = Callable[[str], str]
"""Takes SQL for a text, returns SQL that asks something of it."""

EXACT = 2**53
"""Whole numbers below this are exact as doubles; pySigma rounds larger ones."""


def equals(value: SigmaString) -> Test:
    """Return the test of a text with or without wildcards, in any case of letters unless it is a cased one."""
    is_cased = isinstance(value, SigmaCasedString)
    written = literal if is_cased else small

    def same(sql: str) -> str:
        return sql if is_cased else f"lower({sql})"

    text = plain(value)
    if text is not None:
        return lambda x: f"{same(x)} = {written(text)}"
    ends = _around_text(value)
    if ends is not None:
        function, inner = ends
        return lambda x: f"{function}({same(x)}, {written(inner)})"
    pattern = like_pattern(value)
    escape = f" ESCAPE '{ESCAPE}'" if ESCAPE in pattern else ""
    return lambda x: f"{same(x)} LIKE {written(pattern)}{escape}"


def _around_text(value: SigmaString) -> tuple[str, str] | None:
    """Return which function of SQL a pattern is that has stars at its ends only, and its text; quicker than LIKE."""
    parts = list(value.s)
    function = _AROUND[parts[0] is SpecialChars.WILDCARD_MULTI, parts[-1] is SpecialChars.WILDCARD_MULTI]
    inner = parts[int(function != "starts_with") : len(parts) - int(function != "ends_with")]
    return (function, inner[0]) if function and len(inner) == 1 and isinstance(inner[0], str) else None


_AROUND = {(True, True): "contains", (False, True): "starts_with", (True, False): "ends_with", (False, False): ""}


def one_of(texts: Iterable[str]) -> Test:
    """Return the test of being one of the texts, in any case of letters."""
    unlike = list(dict.fromkeys(small(text) for text in texts))
    if len(unlike) == 1:
        return lambda x: f"lower({x}) = {unlike[0]}"
    return lambda x: f"lower({x}) IN ({', '.join(unlike)})"


def numeric(operator: str, value: float) -> Test:
    """Return the comparison of a text with a number; what is no number, or not a finite one, is no match."""
    # NaN is greater than everything in DuckDB, so each comparison is closed on the other side.
    bound = {"<": " AND {n} > '-Infinity'::DOUBLE", ">": " AND {n} < 'Infinity'::DOUBLE"}.get(operator[0], "")

    def test(x: str) -> str:
        n = f"TRY_CAST({x} AS DOUBLE)"
        return f"({n} {operator} {number(value)}{bound.format(n=n)})"

    return test


_UNSUPPORTED = (
    (re.compile(r"\(\?[=!]|\(\?<[=!]"), "look-around"),
    (re.compile(r"\(\?>"), "an atomic group"),
    (re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=|\\k[<{']|\\g"), "a backreference"),
    (re.compile(r"(?<!\\)(?:\\\\)*[*+?}]\+"), "a possessive quantifier"),
)

_NAMED = re.compile(r"(?<!\\)(?:\\\\)*\(\?<[A-Za-z_]")


def unsupported_in(pattern: str) -> str:
    """Return what in a regular expression RE2 does not know, by name, or an empty text."""
    return next((name for seen, name in _UNSUPPORTED if seen.search(pattern)), "")


def matches(value: SigmaRegularExpression) -> Test:
    """Return the search for a regular expression. RE2 in DuckDB reads it as pySigma's RE2 did."""
    pattern = str(value.regexp)
    flags = "".join(sorted(value.sigma_to_re_flag[flag] for flag in value.flags))
    whole = f"(?{flags}){pattern}" if flags else pattern
    if _NAMED.search(whole):
        raise Refusal(
            "a regular expression has a group `(?<name>...)`, which DuckDB does not read", "write (?P<name>...)"
        )
    if "\0" in whole:
        raise Refusal("a regular expression has a zero byte", r"write it as \x00")
    return lambda x: f"regexp_matches({x}, {literal(whole)})"


def anywhere(value: SigmaType) -> Test:
    """Return the test of a JSON text for a word, wherever it stands, in any case of letters.

    Raises Refusal for what JSON may write in several ways, and for a pattern: it would run from one field into another.
    """
    text = plain(value) if type(value) is SigmaString else None
    text = text if text is not None else _between_stars(value)
    if not text or not text.isascii() or not text.isprintable() or set(text) & _WRITTEN_VARIOUSLY:
        raise Refusal(
            f"a search for {str(value)!r} without a field is not supported",
            "name the field that holds it; without one, only a plain text of ASCII letters and signs is looked for",
        )
    spellings = dict.fromkeys((text, text.replace("/", "\\/")))
    return lambda x: any_of(f"contains(lower({x}), {small(one)})" for one in spellings)


_WRITTEN_VARIOUSLY = frozenset("\"\\<>&'")
"""Some writers of JSON escape these, others do not."""


def _between_stars(value: SigmaType) -> str | None:
    """Return the text of `*text*`, None for another pattern."""
    if type(value) is not SigmaString:
        return None
    texts = [part for part in value.s if part is not SpecialChars.WILDCARD_MULTI]
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else None


def any_test(tests: Iterable[Test]) -> Test:
    """Return the test that holds if one of the tests does."""
    every = list(tests)
    return every[0] if len(every) == 1 else lambda x: any_of(test(x) for test in every)
