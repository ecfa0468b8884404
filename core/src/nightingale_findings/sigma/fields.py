"""What a value asks of a column, by the column's type: of each text in it, or of the row as a whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
)

from nightingale_findings.logsource import FieldType
from nightingale_findings.sigma.columns import Column
from nightingale_findings.sigma.networks import inside
from nightingale_findings.sigma.refusal import Refusal
from nightingale_findings.sigma.sql import ELEMENT, any_of, literal, name, number, plain
from nightingale_findings.sigma.values import EXACT, Test, any_test, equals, matches, numeric

_TEXTUAL = (FieldType.TEXT, FieldType.TEXTS)
_NUMERIC = (FieldType.WHOLE, FieldType.NUMBER)
_OPERATORS = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_CALLED = {
    FieldType.FLAG: ("is true or false", "write true or false"),
    FieldType.TIME: ("is a time", "ask for a part of it: `|hour`, `|day`, `|month`, `|year`, or with `|hour|gte`"),
    FieldType.WHOLE: ("is a whole number", "write a number"),
    FieldType.NUMBER: ("is a number", "write a number"),
    FieldType.TEXT: ("is text", "write text"),
    FieldType.TEXTS: ("is a list of texts", "write text"),
}


def asked_of(  # noqa: C901, PLR0911 - one case for each kind of value that Sigma has
    column: Column, value: SigmaType, column_of: Callable[[str], Column]
) -> str | Test:
    """Return a test of each text of the column, or SQL about the row that is true or false.

    Raises Refusal for what the column's type cannot be asked.
    """
    match value:
        case SigmaNull():
            return f"({name(column.name)} IS NULL)"
        case SigmaExists():
            return f"({name(column.name)} IS {'NOT ' if value.exists else ''}NULL)"
        case SigmaTimestampPart():
            return _part(column, "=", value)
        case SigmaCompareExpression():
            if isinstance(value.number, SigmaTimestampPart):
                return _part(column, _OPERATORS[value.op], value.number)
            return _compared(column, _OPERATORS[value.op], value.number.number)
        case SigmaNumber():
            return _compared(column, "=", value.number)
        case SigmaBool():
            return _flag(column, is_true=value.boolean)
        case SigmaString():
            return _unescaped(column, value, _text(column, value))
        case SigmaRegularExpression():
            return matches(value)
        case SigmaFieldReference():
            return _reference(column, value, column_of(value.field))
        case _:
            raise Refusal(f"a value of the kind {type(value).__name__} is not supported")


def over(column: Column, tests: Sequence[Test]) -> str:
    """Return SQL that is true if the column's text, or one text of its list, passes one of the tests; never null."""
    test = any_test(tests)
    quoted = name(column.name)
    if column.type is FieldType.TEXTS:
        return _sure(_any_element(quoted, test))
    if column.type is FieldType.TEXT and column.is_json:
        # A list at a path of an event: any of its elements counts, and so does its own text. One CASE for the whole, so
        # that the engine asks what many rules ask once. CASE within CASE: AND would take the elements of a text that is
        # no JSON too, which raises.
        elements = _any_element(f"json_extract_string({quoted}, '$[*]')", test)
        of_list = f"CASE WHEN json_valid({quoted}) THEN {elements} ELSE FALSE END"
        return f"CASE WHEN {test(quoted)} THEN TRUE WHEN starts_with({quoted}, '[') THEN {of_list} ELSE FALSE END"
    return _sure(test(_as_text(column)))


def in_networks(column: Column, values: Sequence[SigmaCIDRExpression]) -> Test:
    """Return the test of being in one of the networks. Raises Refusal for a column without texts."""
    if column.type not in _TEXTUAL:
        raise _no_fit(column, "`cidr`")
    networks = [value.network for value in values]
    return lambda x: inside(x, networks)


def _sure(test: str) -> str:
    return f"coalesce({test}, FALSE)"


def _any_element(texts: str, test: Test) -> str:
    return f"len(list_filter({texts}, lambda {ELEMENT}: {test(ELEMENT)})) > 0"


def _as_text(column: Column) -> str:
    quoted = name(column.name)
    if column.type is FieldType.TEXT:
        return quoted
    if column.type is FieldType.TIME:
        return f"strftime({quoted}, '%Y-%m-%dT%H:%M:%S')"
    return f"CAST({quoted} AS VARCHAR)"


def _no_fit(column: Column, what: str) -> Refusal:
    called, instead = _CALLED[column.type]
    return Refusal(f"the field {column.name!r} {called}, and {what} does not fit it", instead)


def _part(column: Column, operator: str, value: SigmaTimestampPart) -> str:
    part = value.timestamp_part.name.lower()
    if column.type is not FieldType.TIME:
        raise Refusal(
            f"`|{part}` asks for a part of a time, and the field {column.name!r} is none",
            "the time of every event, in UTC, is the field `at`",
        )
    return _sure(f"extract('{part}' FROM {name(column.name)}) {operator} {number(value.number)}")


def _compared(column: Column, operator: str, value: float) -> str | Test:
    if abs(value) >= EXACT:
        raise Refusal(f"the number {value} is too large to be exact", "write it in quotes, as text")
    if column.type in _TEXTUAL:
        return numeric(operator, value)
    if column.type not in _NUMERIC:
        raise _no_fit(column, "a number")
    quoted = name(column.name)
    # NaN is greater than everything in DuckDB, and equal to itself.
    finite = f" AND isfinite({quoted})" if column.type is FieldType.NUMBER else ""
    return _sure(f"{quoted} {operator} {number(value)}{finite}")


def _flag(column: Column, *, is_true: bool) -> str | Test:
    text = "true" if is_true else "false"
    if column.type in _TEXTUAL:
        return equals(SigmaString(text))
    if column.type is not FieldType.FLAG:
        raise _no_fit(column, text)
    return _sure(f"{name(column.name)} = {text.upper()}")


def _text(column: Column, value: SigmaString) -> str | Test:
    text = plain(value)
    if text is None or column.type in _TEXTUAL:
        return equals(value)
    if column.type in _NUMERIC:
        # A text that is no number is in no numeric column.
        return _sure(f"{name(column.name)} = {text.lstrip('+')}") if _NUMBER.fullmatch(text) else "FALSE"
    if column.type is FieldType.FLAG:
        return _flag(column, is_true=text.lower() == "true") if text.lower() in ("true", "false") else "FALSE"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return "FALSE"
    utc = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
    return _sure(f"{name(column.name)} = TIMESTAMP {literal(utc.isoformat(sep=' '))}")


def _unescaped(column: Column, value: SigmaString, asked: str | Test) -> str | Test:
    r"""Look for quotes as JSON inside of JSON has them, too: a policy's `"Allow"` is there as `\"Allow\"`."""
    if (
        isinstance(asked, str)
        or not column.is_json
        or not any('"' in part for part in value.s if isinstance(part, str))
    ):
        return asked
    return lambda x: any_of((asked(x), asked(f"replace({x}, '\\\"', '\"')")))


def _reference(column: Column, value: SigmaFieldReference, other: Column) -> str | Test:
    if other.type is FieldType.TEXTS:
        raise Refusal(
            f"`fieldref` to {other.name!r}, which is a list of texts, is not supported",
            "let the list be the field, and the single text what it refers to",
        )
    if not (value.starts_with or value.ends_with) and column.type in _NUMERIC and other.type in _NUMERIC:
        return _sure(f"{name(column.name)} = {name(other.name)}")
    right = f"lower({_as_text(other)})"
    if value.starts_with and value.ends_with:
        return lambda x: f"contains(lower({x}), {right})"
    if value.starts_with:
        return lambda x: f"starts_with(lower({x}), {right})"
    if value.ends_with:
        return lambda x: f"ends_with(lower({x}), {right})"
    return lambda x: f"lower({x}) = {right}"
