"""Reads Terraform's language, by the grammar of python-hcl2, into a tree of our own."""

from __future__ import annotations

from pathlib import Path

import hcl2
from lark import Token, Tree
from lark.exceptions import LarkError

from nightingale_schemas.nodes import (
    Attribute,
    Block,
    Body,
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

Node = Tree[Token]


class HclError(Exception):
    """A file cannot be read as Terraform's language; the words say which and where."""


def parse(text: str, name: str) -> Body:
    """Return the tree of a file's text. Raises HclError with `name` and the line in it."""
    try:
        tree = hcl2.parses_to_tree(text if text.endswith("\n") else text + "\n")
    except LarkError as error:
        line = getattr(error, "line", "?")
        raise HclError(f"{name}:{line}: not understood: {str(error).splitlines()[0]}") from error
    return _Reader(name).body(_trees(tree)[0])


def parse_file(path: Path) -> Body:
    """Return the tree of a file. Raises OSError and HclError."""
    return parse(path.read_text(encoding="utf-8"), str(path))


def _trees(node: Node) -> list[Node]:
    return [one for one in node.children if isinstance(one, Tree) and one.data != "new_line_or_comment"]


def _tokens(node: Node) -> list[Token]:
    return [one for one in node.scan_values(lambda value: isinstance(value, Token)) if one.line is not None]


def _line(node: Node) -> int:
    return _tokens(node)[0].line or 0


def _text(node: Node) -> str:
    return "".join(str(token) for token in _tokens(node))


class _Reader:
    """Turns the grammar's tree into ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def body(self, node: Node) -> Body:
        body = Body()
        for one in _trees(node):
            if one.data == "attribute":
                head, value = _trees(one)
                name = _text(head)
                if name in body.attributes:
                    raise HclError(f"{self._name}:{_line(one)}: {name} is set twice")
                body.attributes[name] = Attribute(name, self.expression(value), _line(one))
            else:
                head, *labels, inner = _trees(one)
                names = tuple(_text(label).strip('"') for label in labels)
                body.blocks.append(Block(_text(head), names, self.body(inner), _line(one)))
        return body

    def expression(self, node: Node) -> Expression:  # noqa: C901, PLR0911, PLR0912 - one case for each rule of the grammar
        line, inner = _line(node), _trees(node)
        match str(node.data):
            case "expr_term" | "interpolation" | "object_elem_key":
                return self._term(node, line, inner)
            case "identifier" | "keyword":
                return Traversal(line, _text(node))
            case "int_lit" | "float_lit":
                return Literal(line, float(_text(node)))
            case "literal_value":
                return Literal(line, {"true": True, "false": False, "null": None}[_text(node)])
            case "string":
                return self._string(node, line)
            case "tuple":
                return Sequence(line, tuple(self.expression(one) for one in inner))
            case "object":
                return Mapping(line, tuple(self._element(one) for one in inner))
            case "function_call":
                return self._call(line, inner)
            case "conditional":
                return Conditional(line, *(self.expression(one) for one in inner))
            case "binary_op":
                left, right = inner
                operator, operand, *_ = _trees(right)
                return Operation(line, _text(operator), (self.expression(left), self.expression(operand)))
            case "unary_op":
                return Operation(line, str(node.children[0]), (self.expression(inner[0]),))
            case "get_attr_expr_term" | "index_expr_term" | "attr_splat_expr_term" | "full_splat_expr_term":
                return self._step(line, inner)
            case "for_tuple_expr" | "for_object_expr":
                return self._for(node, line, inner)
        raise HclError(f"{self._name}:{line}: {node.data} is not looked into: write it another way")

    def _term(self, node: Node, line: int, inner: list[Node]) -> Expression:
        if not inner:
            return Traversal(line, _text(node))
        return self.expression(inner[0])

    def _string(self, node: Node, line: int) -> Expression:
        parts: list[Expression] = []
        for one in _trees(node):
            expressions = [self.expression(tree) for tree in _trees(one)]
            parts += expressions or [Literal(_line(one), _text(one))]
        if all(isinstance(part, Literal) for part in parts):
            return Literal(line, "".join(str(part.value) for part in parts if isinstance(part, Literal)))
        return Template(line, tuple(parts))

    def _element(self, node: Node) -> tuple[Expression, Expression]:
        key, value = _trees(node)
        name = self.expression(key)
        if isinstance(name, Traversal) and not name.steps and "(" not in _text(key):
            name = Literal(name.line, name.root)
        return name, self.expression(value)

    def _call(self, line: int, inner: list[Node]) -> Expression:
        name, *rest = inner
        given = [one for one in rest if one.data == "arguments"]
        arguments = tuple(self.expression(one) for one in _trees(given[0])) if given else ()
        return Call(line, _text(name), arguments)

    def _step(self, line: int, inner: list[Node]) -> Expression:
        source = self.expression(inner[0])
        steps, indices = self._steps(inner[1])
        if isinstance(source, Traversal):
            return Traversal(source.line, source.root, source.steps + steps, source.indices + indices, source.source)
        return Traversal(line, "", steps, indices, source)

    def _steps(self, node: Node) -> tuple[tuple[str, ...], tuple[Expression, ...]]:
        match str(node.data):
            case "get_attr":
                return (_text(_trees(node)[0]),), ()
            case "braces_index":
                return ("[]",), (self.expression(_trees(node)[0]),)
            case "short_index":
                return ("[]",), ()
        steps: tuple[str, ...] = ("[*]",)
        indices: tuple[Expression, ...] = ()
        for one in _trees(node):
            more, within = self._steps(one)
            steps, indices = steps + more, indices + within
        return steps, indices

    def _for(self, node: Node, line: int, inner: list[Node]) -> Expression:
        intro = _trees(inner[0])
        names = tuple(_text(one) for one in intro[:-1])
        parts = [_trees(one)[0] if one.data == "for_cond" else one for one in inner[1:]]
        whole = tuple(self.expression(one) for one in parts)
        return For(line, names, self.expression(intro[-1]), whole, node.data == "for_object_expr")
