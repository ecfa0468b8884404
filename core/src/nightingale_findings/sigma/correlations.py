"""Correlations: what is counted over which rules, in which window. Run by the engine, refused here if it could not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sigma.correlations import SigmaCorrelationRule

from nightingale_findings.compiled import Comparison, Correlation, CorrelationKind
from nightingale_findings.logsource import FieldType
from nightingale_findings.sigma.columns import Column
from nightingale_findings.sigma.refusal import Refusal

_OPERATORS: Mapping[str, Comparison] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "=", "neq": "!="}
_TEMPORAL = ("temporal", "temporal_ordered")
_OF_NUMBERS = ("value_sum", "value_avg", "value_percentile", "value_median")
_NO_NUMBERS = (FieldType.FLAG, FieldType.TIME, FieldType.TEXTS)


@dataclass(frozen=True)
class Counted:
    """A rule that a correlation looks at."""

    id: str
    column: Callable[[str], Column]
    """The column that a field means in this rule's source, remembered as one that the rule needs. Raises Refusal."""


def correlation_of(
    content: Mapping[str, Any], parsed: SigmaCorrelationRule, counted: Mapping[str, Counted]
) -> Correlation:
    """Return the correlation; `counted` holds each of its rules by the words that it is called by. Raises Refusal."""
    block = content["correlation"]
    kind = cast(CorrelationKind, parsed.type.name.lower())
    rules = list(counted.values())
    if len({rule.id for rule in rules}) < len(rules):
        raise Refusal("a rule stands twice in `rules`", "name each rule once")
    aliases = _aliases(block.get("aliases"), counted)
    group_by = tuple(dict.fromkeys(parsed.group_by or ()))
    for field in group_by:
        _meant(field, aliases, rules)
    condition = block.get("condition")
    fields = _fields(kind, condition)
    for field in fields:
        for column in _meant(field, aliases, rules):
            if kind in _OF_NUMBERS and column.type in _NO_NUMBERS:
                raise Refusal(
                    f"{kind} of {field!r}, which is {column.type.value}, is not supported", "name a field of numbers"
                )
    return Correlation(
        kind=kind,
        rules=tuple(rule.id for rule in rules),
        group_by=group_by,
        aliases=aliases,
        span_s=parsed.timespan.seconds,
        field=fields,
        conditions=_conditions(kind, condition, len(rules)),
        percentile=_percentile(kind, condition),
    )


def first_operator(condition: object) -> object:
    """Return a condition with one comparison, which is all that pySigma reads; ours may have several, all to hold."""
    if not isinstance(condition, dict):
        return condition
    operators = [key for key in condition if key in _OPERATORS]
    return {key: value for key, value in condition.items() if key not in operators[1:]}


def _aliases(written: object, counted: Mapping[str, Counted]) -> dict[str, dict[str, str]]:
    aliases: dict[str, dict[str, str]] = {}
    for alias, mapping in written.items() if isinstance(written, dict) else ():
        for reference, field in mapping.items():
            if reference not in counted:
                raise Refusal(f"the alias {alias!r} names {reference!r}, which is none of `rules`", "name it as there")
            if not isinstance(field, str):
                raise Refusal(f"the alias {alias!r} of {reference!r} is no field's name", "write one field")
            rule = counted[reference]
            aliases.setdefault(str(alias), {})[rule.id] = rule.column(field).name
    return aliases


def _meant(field: str, aliases: dict[str, dict[str, str]], rules: Sequence[Counted]) -> list[Column]:
    """Return the column in each rule; a name that means another column there becomes an alias of it."""
    columns = []
    of_rules = aliases.get(field, {})
    for rule in rules:
        if field in aliases and rule.id not in of_rules:
            raise Refusal(f"the alias {field!r} says nothing of the rule {rule.id!r}", "give the field of every rule")
        columns.append(rule.column(of_rules.get(rule.id, field)))
    if field not in aliases and any(column.name != field for column in columns):
        aliases[field] = {rule.id: column.name for rule, column in zip(rules, columns, strict=True)}
    return columns


def _fields(kind: str, condition: object) -> tuple[str, ...]:
    field = condition.get("field") if isinstance(condition, dict) else None
    if field is None:
        return ()
    if kind in (*_TEMPORAL, "event_count"):
        raise Refusal(f"{kind} has no `field`", "leave it out, or count values by value_count")
    fields = field if isinstance(field, list) else [field]
    if not fields or not all(isinstance(one, str) and one for one in fields):
        raise Refusal(f"the condition's field {field!r} is no field's name", "write one field, or a list of them")
    if kind in _OF_NUMBERS and len(fields) > 1:
        raise Refusal(f"{kind} of several fields is not supported", "name one field")
    return tuple(dict.fromkeys(fields))


def _conditions(kind: str, condition: object, rules: int) -> tuple[tuple[Comparison, float], ...]:
    if isinstance(condition, str):
        raise Refusal(
            f"the extended condition {condition!r} is not supported",
            "leave `condition` out: a temporal correlation asks for every rule; or write one for each choice",
        )
    pairs = (
        [(key, value) for key, value in condition.items() if key in _OPERATORS] if isinstance(condition, dict) else []
    )
    if kind in _TEMPORAL:
        if pairs and pairs != [("gte", rules)]:
            raise Refusal(
                f"the condition of a {kind} correlation is not supported: it asks for every rule",
                "leave `condition` out, or make a correlation of just the rules that must happen",
            )
        return ()
    for key, value in pairs:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Refusal(f"the condition `{key}: {value}` is not a number", "write a number")
    return tuple((_OPERATORS[key], float(value)) for key, value in pairs)


def _percentile(kind: str, condition: object) -> float | None:
    percentile = condition.get("percentile") if isinstance(condition, dict) else None
    if kind != "value_percentile":
        if percentile is not None:
            raise Refusal(f"{kind} has no `percentile`", "leave it out, or use value_percentile")
        return None
    if isinstance(percentile, bool) or not isinstance(percentile, int | float) or not 0 <= percentile <= 100:  # noqa: PLR2004 - per cent
        raise Refusal("value_percentile needs a `percentile` from 0 to 100", "write it into `condition`")
    return float(percentile)
