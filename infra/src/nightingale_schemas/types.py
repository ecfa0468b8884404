"""Types as Terraform has them, and which value may stand where."""

from __future__ import annotations

from collections.abc import Mapping as Names
from dataclasses import dataclass, field
from typing import Any

from nightingale_schemas.nodes import Call, Expression, Literal, Mapping, Traversal

PRIMITIVES = ("string", "number", "bool")


@dataclass(frozen=True)
class Type:
    """One type: `any`, a primitive, `list` (sets and tuples too), `map` or `object`."""

    kind: str
    inner: Type | None = None
    members: Names[str, Type] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return it as Terraform writes it, without members."""
        return f"{self.kind}({self.inner})" if self.inner else self.kind


ANY = Type("any")


def from_text(text: str) -> Type:
    """Return the type that a schema writes as `string`, `list(string)`, `map(any)`…; `object` has open members."""
    kind, _, rest = text.partition("(")
    if kind not in {*PRIMITIVES, "list", "map", "object"}:
        return ANY
    return Type(kind, from_text(rest.removesuffix(")")) if rest else None)


def from_json(described: Any) -> Type:
    """Return the type that `terraform metadata functions -json` writes as `"string"` or `["list", "string"]`."""
    match described:
        case str():
            return from_text(described)
        case ["list" | "set", inner]:
            return Type("list", from_json(inner))
        case ["map", inner]:
            return Type("map", from_json(inner))
    return ANY


def from_declaration(expression: Expression) -> Type:
    """Return the type that a variable's `type` says; `any` where it says something that is not looked into."""
    match expression:
        case Traversal(root=kind, steps=()):
            return from_text(kind)
        case Call(name="list" | "set", arguments=(inner,)):
            return Type("list", from_declaration(inner))
        case Call(name="map", arguments=(inner,)):
            return Type("map", from_declaration(inner))
        case Call(name="optional", arguments=(inner, *_)):
            return from_declaration(inner)
        case Call(name="object", arguments=(Mapping(items=items),)):
            named = {str(key.value): value for key, value in items if isinstance(key, Literal)}
            optional = frozenset(k for k, v in named.items() if isinstance(v, Call) and v.name == "optional")
            return Type("object", None, {key: from_declaration(value) for key, value in named.items()}, optional)
    return ANY


def is_accepted(wanted: Type, given: Type) -> bool:
    """Return whether Terraform takes a value of type `given` where `wanted` is asked for, by its own conversions."""
    if "any" in (wanted.kind, given.kind):
        return True
    if wanted.kind == "string":
        return given.kind in PRIMITIVES
    if wanted.kind in PRIMITIVES:
        return given.kind in (wanted.kind, "string")
    if wanted.kind == "list":
        return given.kind == "list" and is_accepted(wanted.inner or ANY, given.inner or ANY)
    return given.kind in ("map", "object") and is_accepted(wanted.inner or ANY, given.inner or ANY)


def is_literal_accepted(wanted: Type, value: str | float | bool | None) -> bool:  # noqa: FBT001 - HCL's own values
    """Return whether this very value can be converted: `"12"` is a number, `"twelve"` is none."""
    if value is None or wanted.kind == "any":
        return True
    if wanted.kind == "number" and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    if wanted.kind == "bool" and isinstance(value, str):
        return value in ("true", "false")
    return is_accepted(wanted, of_literal(value))


def of_literal(value: str | float | bool | None) -> Type:  # noqa: FBT001 - HCL's own values
    """Return a literal's type; null is of any."""
    if isinstance(value, bool):
        return Type("bool")
    if value is None:
        return ANY
    return Type("string" if isinstance(value, str) else "number")
