"""admin export, admin schema: the running cluster as a file, and what such a file may hold."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import FieldInfo

from nightingale.contract import schemas as s
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console, plain
from nightingale_tui.cli.exit_codes import ExitCode
from nightingale_tui.cli.json_schemas import cluster_schema
from nightingale_tui.cli.parser import add_server_flags

_ALWAYS = frozenset({"tier", "plan"})
"""Written although the default would say the same: nobody should have to look these up."""

_NEVER = frozenset({"rules_digest"})
"""Filled in by each apply: the folders that it stands for are what a person writes."""


def _export(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        found = connection.api.get_cluster()
    if console.is_json:
        console.data(found)
    else:
        console.stdout.write(to_yaml(found.cluster))
    return ExitCode.OK


def to_yaml(cluster: s.ClusterIn) -> str:
    """Return the cluster file: the fields in the contract's order, what says nothing left out, no comments.

    Reading it gives `cluster` again, but for the digest of its rules, which the next apply fills in. Nothing in it
    moves a terminal: what could is written as an escape.
    """
    import yaml  # noqa: PLC0415 - for the commands of the cluster file only

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            del data  # the same list twice is written twice: a cluster file has no aliases
            return True

    document = _written(cluster)
    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    if plain(text) != text:
        text = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=False, width=10_000)
    return text


def _written(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {field.name: _written(getattr(value, field.name)) for field in _told(value)}
    if isinstance(value, tuple):
        return [_written(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _written(entry) for name, entry in value.items()}
    return msgspec.to_builtins(value)  # amounts and dates become text


def _told(value: msgspec.Struct) -> Iterator[FieldInfo]:
    """Yield the fields that say something: a default left out is the same; a 0 that is no default is not nothing."""
    for field in msgspec.structs.fields(value):
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if field.name in _NEVER:
            continue
        if field.required or field.name in _ALWAYS or getattr(value, field.name) != default:
            yield field


def _schema(args: argparse.Namespace, console: Console) -> int:
    del args  # it is the client's own: no platform is asked
    console.stdout.write(f"{json.dumps(cluster_schema(), indent=2)}\n")
    return ExitCode.OK


def _configure_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_const", const="json", dest="output", help=argparse.SUPPRESS)
    parser.epilog = (
        "Save it as cluster.schema.json and let the cluster file's first line be "
        "`# yaml-language-server: $schema=cluster.schema.json`: editors then complete and check it."
    )


COMMANDS = (
    Command("export", "the running cluster as a cluster file", add_server_flags, _export, (s.ClusterOut,)),
    Command("schema", "JSON schema of the cluster file, for editors", _configure_schema, _schema),
)
