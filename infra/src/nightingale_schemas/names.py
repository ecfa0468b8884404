"""What a name in a module means: its type, or why it means nothing."""

from __future__ import annotations

from collections.abc import Mapping as Names

from nightingale_schemas import nodes, types
from nightingale_schemas.module import Module
from nightingale_schemas.nodes import (
    Block as HclBlock,
)
from nightingale_schemas.nodes import (
    Call,
    Conditional,
    Expression,
    For,
    Literal,
    Mapping,
    Operation,
    Sequence,
    Template,
    Traversal,
)
from nightingale_schemas.schema import Block
from nightingale_schemas.types import ANY, Type

ALWAYS: Names[str, frozenset[str]] = {
    "each": frozenset({"key", "value"}),
    "count": frozenset({"index"}),
    "path": frozenset({"module", "root", "cwd"}),
    "terraform": frozenset({"workspace"}),
}
INDEX, SPLAT = "[]", "[*]"
INDICES = frozenset({INDEX, SPLAT})
LOGIC = frozenset({"==", "!=", "<", ">", "<=", ">=", "&&", "||", "!"})


class UnknownNameError(Exception):
    """A name means nothing; the words say which part of it."""


class Scope:
    """The names of one module."""

    def __init__(
        self,
        module: Module,
        resources: Names[str, Block],
        data_sources: Names[str, Block],
        functions: Names[str, Type],
    ) -> None:
        """Take the module, what its providers offer, and what each of Terraform's functions returns."""
        self._module = module
        self._resources = resources
        self._data_sources = data_sources
        self._functions = functions
        self._asked: set[str] = set()

    def type_of(self, expression: Expression, bound: frozenset[str] = frozenset()) -> Type:  # noqa: C901, PLR0911 - a table
        """Return an expression's type; `any` where it cannot be told, also for a name that means nothing."""
        match expression:
            case Literal(value=value):
                return types.of_literal(value)
            case Template():
                return Type("string")
            case Sequence(items=items):
                kinds = {self.type_of(one, bound).kind for one in items}
                return Type("list", Type(kinds.pop()) if len(kinds) == 1 and kinds <= {*types.PRIMITIVES} else ANY)
            case Mapping(items=items):
                named = {str(k.value): self.type_of(v, bound) for k, v in items if isinstance(k, Literal)}
                return Type("object", None, named if len(named) == len(items) else {})
            case Call(name=name):
                return self._functions.get(name, ANY)
            case Conditional(yes=yes, no=no):
                first, second = self.type_of(yes, bound), self.type_of(no, bound)
                return first if first.kind == second.kind else ANY
            case For(is_mapping=is_mapping):
                return Type("map" if is_mapping else "list")
            case Operation(operator=operator):
                return Type("bool" if operator in LOGIC else "number")
            case Traversal():
                try:
                    return self.resolve(expression, bound)
                except UnknownNameError:
                    return ANY
        return ANY

    def is_circular(self, name: str) -> bool:
        """Return whether a local's value takes the local itself, on whatever way."""
        waiting, seen = [name], set[str]()
        while waiting:
            value = self._module.values.get(waiting.pop())
            inside = nodes.walk(value.value) if value else ()
            used = {one.steps[0] for one in inside if isinstance(one, Traversal) and one.root == "local" and one.steps}
            waiting += used - seen
            seen |= used
        return name in seen

    def function(self, name: str) -> None:
        """Raise UnknownNameError when Terraform has no such function."""
        if name not in self._functions:
            raise UnknownNameError(f"Terraform has no function {name}")

    def resolve(self, name: Traversal, bound: frozenset[str] = frozenset(), *, is_whole: bool = False) -> Type:
        """Return what a name means. `bound` are those of loops around; `is_whole`: a resource, not an attribute of it.

        Raises UnknownNameError.
        """
        found = self._meaning(name.root, name.steps, bound, is_whole)
        return Type("list", found) if SPLAT in name.steps else found

    def _meaning(self, root: str, steps: tuple[str, ...], bound: frozenset[str], is_whole: bool) -> Type:  # noqa: FBT001 - handed on
        if root in bound or root in ("", "self"):
            return ANY
        if root in ALWAYS:
            if not steps or steps[0] not in ALWAYS[root]:
                raise UnknownNameError(f"{root} has only {', '.join(sorted(ALWAYS[root]))}")
            return ANY
        if root in ("var", "local", "module"):
            if not steps:
                raise UnknownNameError(f"{root} alone means nothing")
            means = {"var": self._variable, "local": self._local, "module": self._output}[root]
            return means(steps[0], steps[1:])
        if root == "data":
            return self._attribute("data source", self._module.data_sources, self._data_sources, steps, is_whole)
        return self._attribute("resource", self._module.resources, self._resources, (root, *steps), is_whole)

    def _variable(self, name: str, steps: tuple[str, ...]) -> Type:
        block = self._module.variables.get(name)
        if block is None:
            raise UnknownNameError(f"there is no variable {name}")
        declared = block.body.attributes.get("type")
        return _walk(f"var.{name}", types.from_declaration(declared.value) if declared else ANY, steps)

    def _local(self, name: str, steps: tuple[str, ...]) -> Type:
        value = self._module.values.get(name)
        if value is None:
            raise UnknownNameError(f"there is no local {name}")
        if name in self._asked:
            return ANY
        self._asked.add(name)
        try:
            return _walk(f"local.{name}", self.type_of(value.value), steps)
        finally:
            self._asked.discard(name)

    def _output(self, name: str, steps: tuple[str, ...]) -> Type:
        call = self._module.calls.get(name)
        if call is None:
            raise UnknownNameError(f"there is no module {name}")
        called = self._module.called.get(name)
        rest = _index(f"module.{name}", call, steps)
        if called and rest and rest[0] not in called.outputs:
            raise UnknownNameError(f"module.{name} has no output {rest[0]}")
        return ANY

    def _attribute(
        self,
        what: str,
        declared: Names[tuple[str, str], HclBlock],
        offered: Names[str, Block],
        steps: tuple[str, ...],
        is_whole: bool,  # noqa: FBT001 - handed on from resolve
    ) -> Type:
        if len(steps) < 2:  # noqa: PLR2004 - a type and a name
            raise UnknownNameError(f"{'.'.join(steps)} means nothing here")
        of, name, *rest = steps
        block = declared.get((of, name))
        if block is None:
            raise UnknownNameError(f"there is no {what} {of}.{name}")
        if is_whole:
            return ANY
        inside = offered.get(of)
        return ANY if inside is None else _read(f"{of}.{name}", inside, _index(f"{of}.{name}", block, tuple(rest)))


def _index(name: str, block: HclBlock, steps: tuple[str, ...]) -> tuple[str, ...]:
    """Return the steps after the index that `count` and `for_each` ask for, and that nothing else has."""
    is_many = bool({"count", "for_each"} & set(block.body.attributes))
    if is_many and steps and steps[0] not in INDICES:
        raise UnknownNameError(f"{name} has count or for_each: say which one, such as {name}[0]")
    if not is_many and steps and steps[0] == INDEX:
        raise UnknownNameError(f"{name} has neither count nor for_each, so no index")
    return steps[1:] if steps and steps[0] in INDICES else steps


def _read(name: str, block: Block, steps: tuple[str, ...]) -> Type:
    """Return the type of an attribute of a resource, looking into its blocks."""
    for at, step in enumerate(steps):
        if step in INDICES:
            continue
        if step not in block.reads:
            raise UnknownNameError(f"{name} has no attribute {step}")
        inner = block.blocks.get(step) or block.computed.get(step)
        if inner is None or block.reads[step] != "block":
            return _walk(f"{name}.{step}", types.from_text(block.reads[step]), steps[at + 1 :])
        name, block = f"{name}.{step}", inner
    return ANY


def _walk(name: str, start: Type, steps: tuple[str, ...]) -> Type:
    """Return the type that steps into a value lead to."""
    now = start
    for step in steps:
        if now.kind in types.PRIMITIVES:
            raise UnknownNameError(f"{name} is a {now.kind}: there is nothing inside")
        if step == SPLAT and now.kind != "list":
            continue  # of one, it is a list of one
        if step in INDICES:
            now = now.inner or ANY
        elif now.kind == "object" and now.members:
            if step not in now.members:
                raise UnknownNameError(f"{name} has no member {step}")
            now = now.members[step]
        elif now.kind == "list":
            raise UnknownNameError(f"{name} is a list: say which one of it")
        else:
            now = now.inner or ANY
        name = f"{name}.{step}" if step not in INDICES else f"{name}[]"
    return now
