"""Terraform's language as a tree of our own, each node with its line.

A body holds attributes and blocks; an attribute's value is an expression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Literal:
    """A string without interpolation, a number, a bool or null."""

    line: int
    value: str | float | bool | None


@dataclass(frozen=True)
class Template:
    """A string with interpolations."""

    line: int
    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Sequence:
    """`[a, b]`."""

    line: int
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Mapping:
    """`{ a = b }`. A key that is a plain word or a plain string is a Literal."""

    line: int
    items: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True)
class Call:
    """`name(a, b)`."""

    line: int
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Conditional:
    """`a ? b : c`."""

    line: int
    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True)
class Traversal:
    """`root.a[0].b`: steps are names; `[]` stands for an index, whose expression is in `indices`, `[*]` for a splat.

    `source` is what is traversed when that is no plain name.
    """

    line: int
    root: str
    steps: tuple[str, ...] = ()
    indices: tuple[Expression, ...] = ()
    source: Expression | None = None


@dataclass(frozen=True)
class For:
    """`[for a, b in c : d if e]` or `{for a, b in c : k => v if e}`."""

    line: int
    names: tuple[str, ...]
    collection: Expression
    parts: tuple[Expression, ...]
    is_mapping: bool


@dataclass(frozen=True)
class Operation:
    """`a + b`, `!a`, `-a`."""

    line: int
    operator: str
    operands: tuple[Expression, ...]


Expression = Literal | Template | Sequence | Mapping | Call | Conditional | Traversal | For | Operation


@dataclass(frozen=True)
class Attribute:
    """`name = value`."""

    name: str
    value: Expression
    line: int


@dataclass
class Body:
    """What stands between braces, or in a file."""

    attributes: dict[str, Attribute] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


@dataclass
class Block:
    """`type "label" { … }`."""

    type: str
    labels: tuple[str, ...]
    body: Body
    line: int


def children(expression: Expression) -> Iterator[Expression]:
    """Yield the expressions directly inside one."""
    match expression:
        case Literal():
            return
        case Template(parts=inner) | Sequence(items=inner) | Call(arguments=inner) | Operation(operands=inner):
            yield from inner
        case Mapping():
            for key, value in expression.items:
                yield key
                yield value
        case Conditional():
            yield from (expression.condition, expression.yes, expression.no)
        case Traversal():
            yield from expression.indices
            if expression.source is not None:
                yield expression.source
        case For():
            yield expression.collection
            yield from expression.parts


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield an expression and all that are inside it."""
    yield expression
    for inner in children(expression):
        yield from walk(inner)
