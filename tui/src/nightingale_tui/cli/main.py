"""The `nightingale` command. Alone it opens the app; with a word it runs that command."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Sequence

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports msgspec
from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli import (
    accounts,
    admin,
    completing,
    connecting,
    costs,
    decoys,
    ending,
    exporting,
    finding,
    launching,
    looking,
    people,
    quarantining,
    reading,
    rules,
    scanning,
)
from nightingale_tui.cli.command import Command, plugin_commands, plugin_names
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode, UsageError, exit_code_of
from nightingale_tui.cli.parser import Parser, add_project_flag

BUILT_IN: tuple[Command, ...] = (
    *accounts.COMMANDS,
    *launching.COMMANDS,
    *looking.COMMANDS,
    *reading.COMMANDS,
    *finding.COMMANDS,
    *connecting.COMMANDS,
    *ending.COMMANDS,
    *costs.COMMANDS,
    *completing.COMMANDS,
)
ADMIN: tuple[Command, ...] = (
    *admin.COMMANDS,
    *decoys.COMMANDS,
    *exporting.COMMANDS,
    *people.COMMANDS,
    *quarantining.COMMANDS,
    *scanning.COMMANDS,
    *rules.COMMANDS,
)
_ADMIN = "admin"
_TAKES_VALUE = frozenset({"--url", "--project", "-p", "-o", "--output"})
"""Flags that may stand before the command's name and are followed by their value."""
_EPILOG = (
    "exit status: 0 done, 1 failed or refused, 2 wrong usage (admin plan: a difference), 3 not logged in, "
    "4 forbidden, 5 not found, 6 conflict, 7 unreachable, 130 interrupted"
)


def main(argv: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Run one command line and return its exit status (see ExitCode)."""
    words = list(sys.argv[1:] if argv is None else argv)
    console = console or Console()
    console.is_json = _wants_json(words)
    try:
        return int(_run(words, console))
    except ClientError as error:
        console.error(error)
        return exit_code_of(error)
    except KeyboardInterrupt:
        console.note("Interrupted.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain once more when it flushes at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), console.stdout.fileno())
        return ExitCode.FAILED
    except SystemExit as end:  # argparse ends this way after --help
        return end.code if isinstance(end.code, int) else ExitCode.OK


def _run(words: list[str], console: Console) -> int:
    if completing.ASKED in console.environ:
        so_far = completing.line_so_far(console)
        completing.answer(_parser(*_commands(so_far, console, only_names=True)), console)
    wants_help = any(word in {"-h", "--help"} for word in words)
    args = _parser(*_commands(words, console, only_names=False, wants_all=wants_help)).parse_args(words)
    console.is_yes = getattr(args, "yes", False)
    console.is_json = getattr(args, "output", "text") == "json"
    command: Command | None = getattr(args, "command", None)
    return _open_app(args, console) if command is None else command.run(args, console)


def _commands(
    words: list[str], console: Console, *, only_names: bool, wants_all: bool = False
) -> tuple[list[Command], list[Command]]:
    """Return the commands of the top and of `admin` that `words` can mean; others' packages are loaded if they must be.

    `only_names`: where a command's name is still to come, those of other packages are there without their flags.
    """
    named = _command_words(words)
    top, below = [*BUILT_IN], [*ADMIN]
    first = named[0] if named else None
    second = named[1] if len(named) > 1 else None
    if first is None and only_names:
        top += _names_only("")
    elif first is None and wants_all:
        top += plugin_commands(console, room="", only=None)
    elif first is not None and first != _ADMIN and first not in {command.name for command in BUILT_IN}:
        top += plugin_commands(console, room="", only=first)
    elif first == _ADMIN and second is None and only_names:
        below += _names_only(_ADMIN)
    elif first == _ADMIN and second not in {command.name for command in ADMIN}:
        below += plugin_commands(console, room=_ADMIN, only=second)
    return top, below


def _names_only(room: str) -> Iterator[Command]:
    for name in plugin_names(room=room):
        yield Command(name, "", lambda _: None, lambda _, __: ExitCode.OK)


def _parser(top: list[Command], below: list[Command]) -> Parser:
    parser = Parser(
        prog="nightingale",
        description="Launch, watch, open and stop instances for medical research. Alone: the app.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add_project_flag(parser)
    rooms = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add(rooms, top)
    admins = rooms.add_parser(_ADMIN, help="the cluster file and the audit record", allow_abbrev=False)
    _add(admins.add_subparsers(title="commands", metavar="COMMAND", required=True), below)
    return parser


def _add(rooms: argparse._SubParsersAction[Parser], commands: list[Command]) -> None:
    for command in commands:
        described = f"{command.summary[:1].upper()}{command.summary[1:]}."
        sub = rooms.add_parser(command.name, help=command.summary, description=described, allow_abbrev=False)
        command.configure(sub)
        sub.set_defaults(command=command)


def _command_words(words: list[str]) -> list[str]:
    """Return the words that are neither flags nor the values of those that may come first."""

    def plain_words() -> Iterator[str]:
        rest = iter(words)
        for word in rest:
            if word in _TAKES_VALUE:
                next(rest, None)
            elif not word.startswith("-"):
                yield word

    return list(plain_words())


def _wants_json(words: list[str]) -> bool:
    """Return whether JSON is asked for, before anything is parsed: a parsing error is reported so, too."""
    pairs = itertools.pairwise([*words, ""])
    return "--json" in words or any(
        (word in {"-o", "--output"} and after == "json") or word in {"-ojson", "--output=json"} for word, after in pairs
    )


def _open_app(args: argparse.Namespace, console: Console) -> int:
    if not console.has_terminal:
        raise UsageError("The app needs a terminal.", "Use a command: `nightingale --help` lists them.")
    with connect(args, console) as connection:
        project = connection.project()
        from nightingale_tui.app import run_app  # noqa: PLC0415 - Textual is for the app only

        return run_app(connection.api, connection.settings, project)
