"""Checks a module against what its providers offer: names, types, what has to be there, and what a name refers to.

What the generated packages do not say cannot be found: values that a provider refuses, arguments that exclude each
other, and whether a cloud agrees. `terraform validate` with the real provider sees more, where that can be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Mapped
from pathlib import Path

from nightingale_schemas import nodes, types
from nightingale_schemas.language import BUILTIN, LIFECYCLE, META, PLAIN, REFERENCES, UNREAD, load_functions
from nightingale_schemas.module import Finding, Module, read_module
from nightingale_schemas.names import Scope, UnknownNameError
from nightingale_schemas.nodes import (
    Attribute,
    Body,
    Call,
    Conditional,
    Expression,
    For,
    Literal,
    Mapping,
    Sequence,
    Traversal,
)
from nightingale_schemas.nodes import Block as HclBlock
from nightingale_schemas.schema import Argument, Block, ProviderSchema, load_all
from nightingale_schemas.types import Type


def check_folder(folder: Path, schemas: Iterable[ProviderSchema] | None = None) -> list[Finding]:
    """Return the mistakes in a folder's module, by file and line. Raises OSError and hcl.HclError."""
    return check_module(read_module(folder), load_all() if schemas is None else schemas, load_functions())


def check_module(module: Module, schemas: Iterable[ProviderSchema], functions: dict[str, Type]) -> list[Finding]:
    """Return the mistakes in a module that was read, by file and line."""
    checker = _Checker(module, list(schemas), functions)
    for path, block in module.blocks():
        checker.top(path, block)
    return sorted({*module.amiss, *checker.findings}, key=lambda one: (str(one.path), one.line, one.words))


class _Checker:
    """Walks through one module."""

    def __init__(self, module: Module, schemas: list[ProviderSchema], functions: dict[str, Type]) -> None:
        self.findings: list[Finding] = []
        self._module = module
        self._schemas = {schema.provider: schema for schema in schemas}
        self._resources = BUILTIN | {name: one for schema in schemas for name, one in schema.resources.items()}
        self._data = {name: one for schema in schemas for name, one in schema.data_sources.items()}
        self._scope = Scope(module, self._resources, self._data, functions)
        self._path = module.folder

    def top(self, path: Path, block: HclBlock) -> None:
        self._path = path
        what = f"{block.type} {'.'.join(block.labels)}".strip()
        if block.type in ("resource", "data"):
            offered = self._resources if block.type == "resource" else self._data
            if block.labels[0] not in offered:
                self._say(block.line, f"no kept schema has the {block.type} {block.labels[0]}: misspelt, or refresh it")
                return
            self._block(block.body, offered[block.labels[0]], what, block.line, META)
        elif block.type == "provider":
            schema = self._schemas.get(block.labels[0])
            if schema is None:
                self._say(block.line, f"there is no kept schema of the provider {block.labels[0]}")
                return
            self._block(block.body, schema.settings, what, block.line, {"alias": Argument("string")})
        elif block.type == "module":
            self._call(block, what)
        elif block.type in PLAIN:
            self._block(block.body, PLAIN[block.type], what, block.line, {})
            self._default(block, what)
        elif block.type == "locals":
            self._locals(block)
        elif block.type not in UNREAD:
            self._say(block.line, f"Terraform has no block {block.type}")
        else:
            self._versions(block)

    def _locals(self, block: HclBlock) -> None:
        for attribute in block.body.attributes.values():
            self._names(attribute.value, frozenset())
            if self._scope.is_circular(attribute.name):
                self._say(attribute.line, f"local.{attribute.name} depends on itself")

    def _say(self, line: int, words: str) -> None:
        self.findings.append(Finding(self._path, line, words))

    def _versions(self, block: HclBlock) -> None:
        if not any(one.type == "required_providers" for one in block.body.blocks):
            return
        for name, constraint in self._module.required_providers().items():
            schema = self._schemas.get(name)
            if schema is None:
                self._say(block.line, f"there is no kept schema of the provider {name}")
            elif constraint != f"~> {schema.provider_version.rpartition('.')[0]}":
                self._say(
                    block.line,
                    f"{name} {constraint or 'of any version'} is asked for, checked is {schema.provider_version}",
                )

    def _call(self, block: HclBlock, what: str) -> None:
        called = self._module.called.get(block.labels[0])
        settings = {"source": Argument("string", True), "version": Argument("string"), "providers": Argument("any")}  # noqa: FBT003 - is required
        if called is None:
            for attribute in block.body.attributes.values():
                self._names(attribute.value, frozenset(), is_whole=attribute.name in REFERENCES)
            return
        arguments = {
            name: Argument("any", "default" not in one.body.attributes) for name, one in called.variables.items()
        }
        self._block(block.body, Block(arguments=arguments), what, block.line, settings | META)
        for name, one in called.variables.items():
            given, declared = block.body.attributes.get(name), one.body.attributes.get("type")
            if given and declared:
                self._value(given.value, types.from_declaration(declared.value), f"{what}: {name}", frozenset())

    def _default(self, block: HclBlock, what: str) -> None:
        default, declared = block.body.attributes.get("default"), block.body.attributes.get("type")
        if default and declared:
            self._value(default.value, types.from_declaration(declared.value), f"{what}: default", frozenset())

    def _block(
        self,
        body: Body,
        offered: Block,
        what: str,
        line: int,
        meta: Mapped[str, Argument],
        *,
        bound: frozenset[str] = frozenset(),
    ) -> None:
        """Check one body: every argument and block in it, and what is missing from it."""
        for attribute in body.attributes.values():
            self._argument(attribute, offered, what, meta, bound)
        seen: dict[str, int] = {}
        for block in body.blocks:
            name = block.labels[0] if block.type == "dynamic" and block.labels else block.type
            seen[name] = seen.get(name, 0) + 1
            self._inner(block, name, offered, what, bound, is_managed="depends_on" in meta)
            if name in offered.blocks and offered.blocks[name].is_single and seen[name] > 1:
                self._say(block.line, f"{what}: only one block {name} may stand here")
        there = {*body.attributes, *seen}
        for name in sorted(name for name, one in offered.arguments.items() if one.is_required and name not in there):
            self._say(line, f"{what}: {name} is missing")
        for name in sorted(name for name, one in offered.blocks.items() if one.is_required and name not in there):
            self._say(line, f"{what}: the block {name} is missing")

    def _argument(
        self, given: Attribute, offered: Block, what: str, meta: Mapped[str, Argument], bound: frozenset[str]
    ) -> None:
        argument = offered.arguments.get(given.name) or meta.get(given.name)
        if argument is None:
            hint = "is a block: write it without =" if given.name in offered.blocks else "is no argument of it"
            self._say(given.line, f"{what}: {given.name} {hint}")
        elif argument.is_required and isinstance(given.value, Literal) and given.value.value is None:
            self._say(given.line, f"{what}: {given.name} is required, and null is no value")
        else:
            self._value(given.value, types.from_text(argument.type), f"{what}: {given.name}", bound)
        if not (given.name == "type" and what.startswith("variable ")):  # the words of a type are no names
            self._names(given.value, bound, is_whole=given.name in REFERENCES)

    def _inner(
        self, block: HclBlock, name: str, offered: Block, what: str, bound: frozenset[str], *, is_managed: bool
    ) -> None:
        what = f"{what}: {name}"
        if is_managed and name == "lifecycle":
            self._lifecycle(block, offered, what)
        elif is_managed and name in ("provisioner", "connection"):
            for expression in _all(block.body):
                self._names(expression, bound)
        elif (inside := _inside(offered, name)) is None:
            hint = "is an argument: write it with =" if name in offered.arguments else "is no block of it"
            self._say(block.line, f"{what} {hint}")
        elif block.type == "dynamic":
            self._dynamic(block, name, inside, what, bound)
        else:
            self._block(block.body, inside, what, block.line, {}, bound=bound)

    def _dynamic(self, block: HclBlock, name: str, offered: Block, what: str, bound: frozenset[str]) -> None:
        chosen = block.body.attributes.get("iterator")
        iterator = chosen.value.root if chosen and isinstance(chosen.value, Traversal) else name
        each = block.body.attributes.get("for_each")
        contents = [one for one in block.body.blocks if one.type == "content"]
        if each is None or len(contents) != 1:
            self._say(block.line, f"{what}: a dynamic block has for_each and one content")
            return
        self._names(each.value, bound)
        self._block(contents[0].body, offered, what, contents[0].line, {}, bound=bound | {iterator})

    def _lifecycle(self, block: HclBlock, offered: Block, what: str) -> None:
        ignored = block.body.attributes.get("ignore_changes")
        known = {*offered.arguments, *offered.blocks}
        if ignored and isinstance(ignored.value, Sequence):
            for one in ignored.value.items:
                if not isinstance(one, Traversal) or one.root not in known:
                    self._say(one.line, f"{what}: ignore_changes names what is no argument")
        rest = {name: one for name, one in block.body.attributes.items() if name != "ignore_changes"}
        self._block(Body(rest, block.body.blocks), LIFECYCLE, what, block.line, {})

    def _value(self, value: Expression, wanted: Type, what: str, bound: frozenset[str]) -> None:
        """Check that a value can be of the type asked for."""
        match value:
            case Conditional(yes=yes, no=no):
                self._value(yes, wanted, what, bound)
                self._value(no, wanted, what, bound)
                return
            case Literal(value=plain):
                if not types.is_literal_accepted(wanted, plain):
                    self._say(value.line, f"{what} is {_shown(wanted)}, not {plain!r}")
                return
            case Sequence(items=items) if wanted.kind == "list" and wanted.inner:
                for one in items:
                    self._value(one, wanted.inner, what, bound)
                return
            case Mapping(items=items) if wanted.kind in ("map", "object"):
                self._members(value, wanted, what, bound)
                return
        given = self._scope.type_of(value, bound)
        if not types.is_accepted(wanted, given):
            self._say(value.line, f"{what} is {_shown(wanted)}, and this is {_shown(given)}")

    def _members(self, value: Mapping, wanted: Type, what: str, bound: frozenset[str]) -> None:
        named = {str(key.value): one for key, one in value.items if isinstance(key, Literal)}
        for name, one in named.items():
            if wanted.members and name not in wanted.members:
                self._say(one.line, f"{what} has no member {name}")
            self._value(one, wanted.members.get(name) or wanted.inner or types.ANY, f"{what}.{name}", bound)
        for name in wanted.members:
            if name not in named and name not in wanted.optional:
                self._say(value.line, f"{what}: the member {name} is missing")

    def _names(self, value: Expression, bound: frozenset[str], *, is_whole: bool = False) -> None:
        """Check every name and function in an expression."""
        try:
            if isinstance(value, Traversal):
                self._scope.resolve(value, bound, is_whole=is_whole)
            elif isinstance(value, Call):
                self._scope.function(value.name)
        except UnknownNameError as error:
            self._say(value.line, str(error))
        if isinstance(value, For):
            self._names(value.collection, bound)
            for part in value.parts:
                self._names(part, bound | set(value.names))
            return
        for one in nodes.children(value):
            self._names(one, bound, is_whole=is_whole and isinstance(value, Sequence))


def _inside(offered: Block, name: str) -> Block | None:
    """Return what may stand in a block of this name; None when there is no such block."""
    argument = offered.arguments.get(name)
    return offered.blocks.get(name) or (argument.members if argument else None)


def _all(body: Body) -> Iterator[Expression]:
    """Yield what stands in a provisioner, but for its words that are no names."""
    for attribute in body.attributes.values():
        if attribute.name not in ("when", "on_failure"):
            yield attribute.value
    for block in body.blocks:
        yield from _all(block.body)


def _shown(kind: Type) -> str:
    return {"list": "a list", "map": "a map", "object": "an object", "any": "anything"}.get(kind.kind, f"a {kind.kind}")
