"""Conditions of Sigma as one expression of DuckDB's SQL: each leaf is true or false, never null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionItem,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import TextQueryBackend
from sigma.conversion.state import ConversionState
from sigma.types import SigmaCIDRExpression, SigmaExpansion, SigmaString, SigmaType

from nightingale_findings.logsource import FieldType, LogSource
from nightingale_findings.sigma.columns import RAW, Column, column_of
from nightingale_findings.sigma.fields import asked_of, in_networks, over
from nightingale_findings.sigma.placeholders import filled
from nightingale_findings.sigma.refusal import Refusal
from nightingale_findings.sigma.sql import all_of, any_of, name, plain
from nightingale_findings.sigma.values import Test, anywhere, one_of

Condition = ConditionItem | ConditionFieldEqualsValueExpression | ConditionValueExpression | None


class DuckDBDialect(TextQueryBackend):
    """The condition of one rule over one source. `columns` holds every column it came upon."""

    name: ClassVar[str] = "DuckDB, as Nightingale runs it"
    group_expression: ClassVar[str] = "({expr})"
    bool_values: ClassVar[dict[bool, str | None]] = {True: "TRUE", False: "FALSE"}

    def __init__(self, source: LogSource, placeholders: Mapping[str, Sequence[str]]) -> None:
        """Take the source whose fields are named, and what `expand` puts in for each placeholder."""
        super().__init__()
        self._source, self._placeholders = source, placeholders
        self.columns: dict[str, Column] = {}

    def where(self, condition: Condition) -> str:
        """Return the SQL of a parsed condition. Raises Refusal, or a SigmaError of pySigma's."""
        return str(self.convert_condition(condition, ConversionState()))

    def column(self, field: str) -> Column:
        """Return the column that a field means and remember it. Raises Refusal."""
        column = column_of(self._source, field)
        self.columns[column.name] = column
        return column

    def convert_condition(self, cond: Condition, state: ConversionState) -> str:
        """Return SQL that is true or false for every row, whatever is in it."""
        match cond:
            case ConditionOR():
                return any_of(self._merged(cond, state))
            case ConditionAND():
                return all_of(self.convert_condition(arg, state) for arg in cond.args)
            case ConditionNOT():
                return f"(NOT {self.convert_condition(cond.args[0], state)})"
            case ConditionFieldEqualsValueExpression():
                return self._leaf(cond.field, [cond.value])
            case ConditionValueExpression():
                return self._keyword(cond.value)
            case _:
                raise Refusal("its condition is empty", "name a search of the rule's `detection` in `condition`")

    def _merged(self, cond: ConditionOR, state: ConversionState) -> list[str]:
        """Values of one field make one leaf: the field is read, and a list gone through, once."""
        fields: dict[str, list[SigmaType]] = {}
        others: list[str] = []
        for arg in cond.args:
            if isinstance(arg, ConditionFieldEqualsValueExpression):
                fields.setdefault(arg.field, []).append(arg.value)
            else:
                others.append(self.convert_condition(arg, state))
        return [self._leaf(field, values) for field, values in fields.items()] + others

    def _leaf(self, field: str, values: Sequence[SigmaType]) -> str:
        column = self.column(field)
        every = [inner for value in values for one in _unfolded(value) for inner in filled(one, self._placeholders)]
        texts: list[str] = []
        networks: list[SigmaCIDRExpression] = []
        tests: list[Test] = []
        rows: list[str] = []
        for value in every:
            text = plain(value) if type(value) is SigmaString else None
            if text is not None and '"' not in text and column.type in (FieldType.TEXT, FieldType.TEXTS):
                texts.append(text)
                continue
            if isinstance(value, SigmaCIDRExpression):
                networks.append(value)
                continue
            asked = asked_of(column, value, self.column)
            if isinstance(asked, str):
                rows.append(asked)
            else:
                tests.append(asked)
        if texts:
            tests.insert(0, one_of(texts))
        if networks:
            tests.append(in_networks(column, networks))
        if tests:
            rows.insert(0, over(column, tests))
        return any_of(rows)

    def _keyword(self, value: SigmaType) -> str:
        """Search a wide source as the text that its event came as; others have none."""
        if not self._source.is_wide:
            raise Refusal(
                f"a search for {str(value)!r} names no field, and {self._source.name} is not searched as one text",
                "name the field that holds it",
            )
        self.columns[RAW] = Column(RAW, FieldType.TEXT)
        values = [inner for one in _unfolded(value) for inner in filled(one, self._placeholders)]
        return any_of(f"coalesce({anywhere(one)(name(RAW))}, FALSE)" for one in values)


def _unfolded(value: SigmaType) -> list[SigmaType]:
    if isinstance(value, SigmaExpansion):
        return [inner for one in value.values for inner in _unfolded(one)]
    return [value]
