"""The cluster file: YAML to the contract's ClusterIn, with a line number for everything that is wrong.

The YAML is composed, never constructed: no tag makes an object. Scalars are read strictly, so that what is written is
what is sent: whole numbers, true, false, null, and text; 0.05 stays the text `0.05` and becomes an exact Decimal; yes,
no, on and off are text (YAML 1.1 would make them booleans); dates stay text. Aliases and repeated keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import yaml

from nightingale.contract.refusals import in_words
from nightingale.contract.schemas import MAX_BODY_BYTES, ClusterIn, ErrorDetail
from nightingale_tui.api.errors import ApiError, ClientError

_DEEPEST = 20
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_AT = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_PREFIXES = ("cluster.", "$.cluster.", "$.")
"""Ahead of a path in the platform's answer: the file travels inside a request's `cluster`."""

Path_ = tuple[str | int, ...]


class ClusterFileError(ClientError):
    """The file cannot be a cluster. `details` say where: `cluster.yaml:12: people[2].keys[0]` and what."""

    def __init__(self, message: str, details: tuple[ErrorDetail, ...] = ()) -> None:
        """Keep the words; the code is always `invalid_cluster_file`."""
        super().__init__(
            "invalid_cluster_file", message, "Mend the file and plan again: `nightingale admin plan FILE`.", details
        )


@dataclass(frozen=True)
class ClusterFile:
    """A file that is a cluster as far as this side can tell."""

    name: str
    cluster: ClusterIn
    lines: dict[Path_, int] = field(repr=False)
    folder: Path = Path()
    """Where the file lies: what it names by path is relative to it."""

    def located(self, error: ApiError) -> ClientError:
        """Return the platform's refusal with its paths as lines of this file; the error itself if it has none."""
        if not error.details:
            return error
        details = tuple(_located(self.name, self.lines, detail.path, detail.message) for detail in error.details)
        return ClusterFileError(error.message, details)


def load_cluster_file(path: Path) -> ClusterFile:
    """Return the cluster that `path` describes. Raises ClusterFileError."""
    name = path.name
    try:
        if path.stat().st_size > MAX_BODY_BYTES:
            raise ClusterFileError(
                f"{path} is larger than {MAX_BODY_BYTES // 1024} KiB, the most a cluster file may be."
            )
        text = path.read_text("utf-8")
    except OSError as error:
        raise ClusterFileError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ClusterFileError(f"{path} is not UTF-8 text.") from error
    document, lines = _read(name, text)
    try:
        cluster = msgspec.convert(document, ClusterIn, strict=True, builtin_types=())
    except msgspec.ValidationError as error:
        raise ClusterFileError(f"{name} is no cluster file.", (_from_msgspec(name, lines, str(error)),)) from error
    return ClusterFile(name, cluster, lines, path.absolute().parent)


# --- YAML -------------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Composes without aliases and not endlessly deep."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self.check_event(yaml.AliasEvent):
            self._refuse("aliases are not allowed here")
        if self._depth > _DEEPEST:
            self._refuse("nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, words: str) -> NoReturn:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in types-PyYAML
        raise yaml.MarkedYAMLError(problem=words, problem_mark=event.start_mark)


def _read(name: str, text: str) -> tuple[Any, dict[Path_, int]]:
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ClusterFileError(
            f"{name} is not YAML.", (_detail(name, line, "", error.problem or str(error)),)
        ) from error
    except yaml.YAMLError as error:
        raise ClusterFileError(f"{name} is not YAML: {error}.") from error
    if not isinstance(root, yaml.MappingNode):
        raise ClusterFileError(f"{name} holds no cluster: its top is not a mapping.")
    reader = _Reader(name)
    return reader.value(root, ()), reader.lines


class _Reader:
    """Turns nodes into JSON's types and remembers the line of every path."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Path_, int] = {}

    def value(self, node: yaml.Node, path: Path_) -> Any:
        self.lines.setdefault(path, _line(node))
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _pairs(self, node: yaml.MappingNode, path: Path_) -> Iterable[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, path, "a key must be a word")
            if key.value in seen:
                raise self._error(
                    key, (*path, key.value), f"stands here a second time, first in line {seen[key.value]}"
                )
            seen[key.value] = _line(key)
            self.lines[*path, key.value] = _line(key)
            yield key.value, self.value(value, (*path, key.value))

    def _scalar(self, node: yaml.Node, path: Path_) -> Any:
        text: str = node.value
        if node.tag not in _PLAIN_TAGS:
            raise self._error(node, path, f"the tag {node.tag} is not allowed here")
        if (
            not isinstance(node, yaml.ScalarNode) or node.style is not None
        ):  # quoted or a block: text, whatever it looks like
            return text
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _WHOLE.match(text):
            return int(text)
        if node.tag == "tag:yaml.org,2002:int":
            raise self._error(node, path, f"{text} is read as a number in another notation: write it plain or quote it")
        return text

    def _error(self, node: yaml.Node, path: Path_, message: str) -> ClusterFileError:
        return ClusterFileError(
            f"{self.name} is no cluster file.", (_detail(self.name, _line(node), _words(path), message),)
        )


_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp"))


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


# --- paths and lines --------------------------------------------------------------------------------------------------


def _from_msgspec(name: str, lines: dict[Path_, int], words: str) -> ErrorDetail:
    at = _AT.search(words)
    path = at.group(1) if at else ""
    message = words[: at.start()] if at else words
    if unknown := _UNKNOWN_FIELD.search(message):
        path = f"{path}.{unknown.group(1)}"
    return _located(name, lines, path, in_words(message))


def _located(name: str, lines: dict[Path_, int], path: str, message: str) -> ErrorDetail:
    for prefix in _PREFIXES:
        path = path.removeprefix(prefix)
    steps: Path_ = tuple(int(index) if index else word for word, index in _STEP.findall(path))
    known = steps
    while known and known not in lines:
        known = known[:-1]
    return _detail(name, lines.get(known, 1), _words(steps), message)


def _words(path: Path_) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _detail(name: str, line: int, path: str, message: str) -> ErrorDetail:
    return ErrorDetail(path=f"{name}:{line}" + (f": {path}" if path else ""), message=message)
