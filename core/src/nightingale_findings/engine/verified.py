"""Rules that somebody else compiled, looked through before they are run: SQL from outside must stay a condition.

A rule of the organisation comes to the platform as SQL. Whoever may upload rules is an administrator of the platform,
not of its host: a condition that reads a file or an environment variable, or leaves its brackets, is not run. Three
looks, each enough to keep what our dialect does not write out:

1. its text is made of the dialect's words and signs only (`spelling`);
2. DuckDB itself parses it, as one expression of one statement, and every node of the tree is of a listed kind, every
   function a listed one, every column one that the rule says it reads;
3. it is run once over empty tables, alone, so that what is wrong with it takes no other rule along.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import msgspec

from nightingale_findings.compiled import CompiledRule, Correlation
from nightingale_findings.engine import windows
from nightingale_findings.engine.bounds import Bounds, OverBoundError
from nightingale_findings.engine.matching import reason
from nightingale_findings.engine.relations import relation
from nightingale_findings.engine.settings import locked, opened
from nightingale_findings.engine.spelling import FUNCTIONS, PARAMETERS, TYPES, odd_in
from nightingale_findings.engine.sql import named
from nightingale_findings.engine.windows import Matched, alias_of
from nightingale_findings.logsource import STANDARD, LogSource

Node = Mapping[str, Any]

_EACH_S, _ALL_S = 2.0, 40.0
"""Seconds to look at one rule, and at all: what is the same for each event DuckDB works out before there is one."""

_OPERATORS = frozenset({"||", "~~", "like_escape", "date_part", "list_value", "+", "-", "*"})
"""What the parser calls those signs and words of the dialect that are functions to it."""

_OVER_LISTS = frozenset({"list_filter", "list_transform"})

_KINDS: Mapping[str, frozenset[str]] = {
    "CASE": frozenset({"CASE_EXPR"}),
    "CAST": frozenset({"OPERATOR_CAST"}),
    "COLUMN_REF": frozenset({"COLUMN_REF"}),
    "COMPARISON": frozenset(
        {
            *("COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO"),
            *("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO"),
        }
    ),
    "CONJUNCTION": frozenset({"CONJUNCTION_AND", "CONJUNCTION_OR"}),
    "CONSTANT": frozenset({"VALUE_CONSTANT"}),
    "FUNCTION": frozenset({"FUNCTION"}),
    "OPERATOR": frozenset(
        {"COMPARE_IN", "OPERATOR_COALESCE", "OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT"}
    ),
    "TYPE": frozenset({"TYPE"}),
}
"""Classes of the parser's tree, with the types of each that the dialect writes."""

_EVERYWHERE = {"class", "type", "alias", "query_location", "query_location_length"}
_KEYS: Mapping[str, frozenset[str]] = {
    "CASE": frozenset({"case_checks", "else_expr"}),
    "CAST": frozenset({"child", "try_cast", "type_expr"}),
    "COLUMN_REF": frozenset({"column_names"}),
    "COMPARISON": frozenset({"left", "right"}),
    "CONJUNCTION": frozenset({"children"}),
    "CONSTANT": frozenset({"literal"}),
    "FUNCTION": frozenset(
        {
            *("function_name", "schema", "catalog", "qualified_name", "arguments", "filter", "order_bys", "distinct"),
            *("is_operator", "export_state"),
        }
    ),
    "LAMBDA": frozenset({"lhs", "expr", "syntax_type"}),
    "OPERATOR": frozenset({"children"}),
    "TYPE": frozenset({"catalog", "schema", "type_name", "children", "qualified_name"}),
}

_OURS = re.compile(r"m[0-9]+|[lc] [0-9]+|tick|nightingale_.*", re.IGNORECASE)
"""Columns that the engine adds to those of a wide source: a field of such a name would stand there twice."""


class NotOursError(Exception):
    """A rule that our dialect cannot have written; says what in it."""


@dataclass(frozen=True)
class Verified:
    """The rules that may be run, and of the others each one's name and why it is not."""

    rules: tuple[CompiledRule, ...]
    failed: tuple[tuple[str, str], ...]


def verified(
    rules: Iterable[CompiledRule], sources: Sequence[LogSource], others: Iterable[CompiledRule] = ()
) -> Verified:
    """Return which rules may be run. `others` are rules that stand beside them: a correlation may count these too.

    Never raises for what is in a rule.
    """
    by_name = {source.name: source for source in sources}
    connection = opened(threads=1)
    try:
        for source in sources:
            _create(connection, source)
        looked = _Looked(locked(connection), by_name, {rule.id: rule for rule in others})
        for rule in sorted(rules, key=lambda one: one.correlation is not None):
            looked.at(rule)
    finally:
        connection.close()
    return Verified(tuple(looked.taken), tuple(looked.failed))


class _Looked:
    def __init__(
        self, connection: duckdb.DuckDBPyConnection, sources: Mapping[str, LogSource], known: dict[str, CompiledRule]
    ) -> None:
        self._connection, self._sources, self._known = connection, sources, known
        self._bounds = Bounds(connection, each_s=_EACH_S, all_s=_ALL_S)
        self.taken: list[CompiledRule] = []
        self.failed: list[tuple[str, str]] = []

    def at(self, rule: CompiledRule) -> None:
        """Take the rule, or note why not."""
        try:
            self._bounds.alone(functools.partial(self._look, rule))
        except OverBoundError as over:
            self.failed.append((rule.name, f"asked about no event at all, {over}"))
        except NotOursError as odd:
            self.failed.append((rule.name, f"it is not what Nightingale's compiler writes: {odd}"))
        except duckdb.Error as failed:
            self.failed.append((rule.name, reason(failed)))
        else:
            self.taken.append(rule)
            self._known.setdefault(rule.id, rule)

    def _look(self, rule: CompiledRule) -> None:
        source = self._sources.get(rule.source)
        if source is None:
            raise NotOursError(f"there is no source {rule.source!r}")
        if (rule.where is None) == (rule.correlation is None):
            raise NotOursError("a rule has either a condition or a correlation")
        if rule.where is not None:
            check_fields(rule.fields, is_wide=source.is_wide)
            check_where(self._connection, rule.where, rule.fields)
            events = relation(self._connection, source, rule.fields)
            self._run(f"SELECT event_id FROM {events} AS events WHERE ({rule.where})")
        elif rule.correlation is not None:
            members = [self._member(rule.correlation, member) for member in rule.correlation.rules]
            fired = windows.windows(rule.correlation, windows.matches(rule.correlation, members))
            self._run(windows.hits(rule, fired))

    def _member(self, correlation: Correlation, member: str) -> Matched:
        """Return where matches of a rule that is correlated would lie, with the fields that are asked of them."""
        rule = self._known.get(member)
        if rule is None or rule.where is None or rule.source not in self._sources:
            raise NotOursError(f"it counts {member!r}, which is no rule over events, or one that is not run")
        source = self._sources[rule.source]
        asked = [alias_of(correlation, name, member) for name in (*correlation.group_by, *correlation.field)]
        check_fields(asked, is_wide=source.is_wide)
        events = relation(self._connection, source, asked)
        return Matched(rule, events, "true", dict(source.fields or {}))

    def _run(self, query: str) -> None:
        self._connection.execute(query).fetchall()


def _create(connection: duckdb.DuckDBPyConnection, source: LogSource) -> None:
    """Make the source's table, without a row."""
    columns = ", ".join(f"{named(name)} {kind.value}" for name, kind in source.columns.items())
    connection.execute(f"CREATE TABLE {named(source.table)} ({columns})")


def check_fields(fields: Iterable[str], *, is_wide: bool) -> None:
    """Raise NotOursError for a field's name that can be no column's beside the engine's own."""
    for name in fields:
        if any(ord(sign) < ord(" ") or "\x7f" <= sign <= "\x9f" for sign in name):
            raise NotOursError("the name of a field has a control character")
        if is_wide and _OURS.fullmatch(name):
            raise NotOursError(f"the field {name!r} has the name of a column of the engine's own")


def check_where(connection: duckdb.DuckDBPyConnection, where: str, fields: Iterable[str]) -> None:
    """Raise NotOursError for a condition that is more than one, of columns beside `fields` and the standard ones."""
    if odd := odd_in(where):
        raise NotOursError(odd)
    row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT 1 WHERE ({where})"]).fetchone()
    try:
        tree = msgspec.json.decode(row[0] if row else "{}")
        _Tree(frozenset(name.lower() for name in (*fields, *STANDARD))).check(_condition_of(tree))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise NotOursError("DuckDB reads it as something else than a condition") from error


def _condition_of(tree: Node) -> Node:
    if tree["error"]:
        raise NotOursError("it is no condition in SQL")
    (statement,) = tree["statements"]
    node = statement["node"]
    parts = {name: node[name] for name in ("modifiers", "from_table", "group_expressions", "having", "qualify")}
    empty: Node = {"modifiers": [], "from_table": "EMPTY", "group_expressions": [], "having": None, "qualify": None}
    if node["type"] != "SELECT_NODE" or parts | {"from_table": parts["from_table"]["type"]} != empty:
        raise NotOursError("it is more than a condition")
    if len(node["select_list"]) != 1 or node["cte_map"]["map"] or statement["named_param_map"]:
        raise NotOursError("it is more than a condition")
    condition: Node = node["where_clause"]
    return condition


class _Tree:
    """Walks the parser's tree: whatever is not listed is refused, so that what a newer DuckDB adds is, too."""

    def __init__(self, columns: frozenset[str]) -> None:
        self._columns = columns
        self._kinds: Mapping[str, Callable[[Node], list[Node]]] = {
            "CASE": self._case,
            "CAST": lambda node: [node["child"], node["type_expr"]],
            "COLUMN_REF": self._column,
            "COMPARISON": lambda node: [node["left"], node["right"]],
            "CONJUNCTION": lambda node: list(node["children"]),
            "CONSTANT": lambda _: [],
            "FUNCTION": self._function,
            "OPERATOR": lambda node: list(node["children"]),
            "TYPE": self._type,
        }

    def check(self, top: Node) -> None:
        """Raise NotOursError for the first node that is not listed; KeyError and the like for an odd shape."""
        waiting = [top]
        while waiting:
            node = waiting.pop()
            kind = node["class"]
            if kind not in _KINDS or node["type"] not in _KINDS[kind]:
                raise NotOursError(f"{node['type']} is not in the dialect")
            if not node.keys() <= _EVERYWHERE | _KEYS[kind] or node["alias"]:
                raise NotOursError(f"{node['type']} is not written so in the dialect")
            waiting += self._kinds[kind](node)

    def _case(self, node: Node) -> list[Node]:
        checks = node["case_checks"]
        if any(check.keys() != {"when_expr", "then_expr"} for check in checks):
            raise NotOursError("CASE is not written so in the dialect")
        return [node["else_expr"], *(check[part] for check in checks for part in ("when_expr", "then_expr"))]

    def _column(self, node: Node) -> list[Node]:
        (name,) = node["column_names"]
        if name.lower() not in self._columns and name not in PARAMETERS:
            raise NotOursError(f"it reads {name[:60]!r}, which is none of the fields that it names")
        return []

    def _function(self, node: Node) -> list[Node]:
        name, arguments = node["function_name"], node["arguments"]
        if name not in FUNCTIONS and name not in _OPERATORS:
            raise NotOursError(f"the function {name[:60]!r} is not in the dialect")
        is_plain = not (node["schema"] or node["catalog"] or node["filter"] or node["distinct"] or node["export_state"])
        if not is_plain or node["order_bys"]["orders"] or node["qualified_name"] != {"path": [name]}:
            raise NotOursError(f"{name} is not called so in the dialect")
        if any(one.keys() != {"name", "expression"} or one["name"] for one in arguments):
            raise NotOursError(f"{name} is not called so in the dialect")
        given = [one["expression"] for one in arguments]
        if name in _OVER_LISTS:
            listed, each = given
            return [listed, *self._lambda(each)]
        _check_growth(name, given)
        return given

    @staticmethod
    def _lambda(node: Node) -> list[Node]:
        """Return what is in a lambda: it stands behind a list, and nowhere else."""
        if node["class"] != "LAMBDA" or not node.keys() <= _EVERYWHERE | _KEYS["LAMBDA"] or node["alias"]:
            raise NotOursError("a list is not gone through so in the dialect")
        if node["lhs"]["class"] != "COLUMN_REF" or node["lhs"]["column_names"][0] not in PARAMETERS:
            raise NotOursError("a lambda has another parameter than in the dialect")
        return [node["lhs"], node["expr"]]

    @staticmethod
    def _type(node: Node) -> list[Node]:
        name = node["type_name"]
        if name not in TYPES or node["children"] or node["catalog"] or node["schema"]:
            raise NotOursError(f"the type {name[:60]!r} is not in the dialect")
        return []


def _check_growth(name: str, given: Sequence[Node]) -> None:
    """Refuse what would make a text of any length: `repeat` writes out the zeros of an address, and nothing else."""
    if name == "repeat":
        text, times = given
        eight, groups = (one["expression"] for one in times["arguments"])
        is_ours = times["function_name"] == "-" and groups["function_name"] == "len"
        if not is_ours or text["literal"]["text"] != "0:" or eight["literal"]["text"] != "8":
            raise NotOursError("repeat is not called so in the dialect")
    if name == "lpad" and given[1]["literal"]["text"] != "4":
        raise NotOursError("lpad is not called so in the dialect")
