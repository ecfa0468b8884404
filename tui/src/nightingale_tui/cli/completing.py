"""completion: the script a shell loads, and the answer when it asks what may stand next.

argcomplete reads our own parser, so flags and commands need no second list; only names come from the platform. It is
imported for these two things only: `nightingale ps` pays nothing for it.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from typing import Any

from nightingale.contract.vocabulary import Action
from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import settings_of
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode

ASKED = "_ARGCOMPLETE"
"""In the environment when a shell asks (argcomplete's own word, set by the script)."""
_HOW = {
    "bash": "source <(nightingale completion bash)    # in ~/.bashrc",
    "zsh": "source <(nightingale completion zsh)     # in ~/.zshrc, after compinit",
    "fish": "nightingale completion fish >~/.config/fish/completions/nightingale.fish",
}
_RESOURCES = ("cpu", "memory", "gpu", "disk")
_NAMED = frozenset({"project", "member_of", "person", "name", "dataset", "image", "place", *_RESOURCES})
_FREE = frozenset({"url", "seconds", "month", "tail", "port", "full_name", "remove", "stream"})
"""What only the person knows. Any other value, also of other packages' commands, may be a file."""
_NEEDS = {
    action.value: action.value
    for action in (Action.STOP, Action.START, Action.RETRY, Action.RESIZE, Action.DELETE, Action.EXTEND, Action.OPEN)
} | {"tunnel": Action.OPEN.value}
"""What an instance must allow to be offered to a command; the others take every instance."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(_HOW), help="the shell that is to load it")
    parser.epilog = "Load it: " + "; ".join(_HOW.values())


def _completion(args: argparse.Namespace, console: Console) -> int:
    from argcomplete.shell_integration import shellcode  # noqa: PLC0415 - see the module's docstring

    # Without readline's defaults: where a name of the platform is wanted, a file's name is no help.
    script = shellcode(["nightingale"], shell=args.shell, complete_arguments=["-o", "nospace"])
    console.stdout.write(script)
    if console.has_terminal:
        console.note(f"To load it: {_HOW[args.shell]}")
    return ExitCode.OK


def line_so_far(console: Console) -> list[str]:
    """Return the whole words before the one at the cursor, without `nightingale` itself."""
    line = console.environ.get("COMP_LINE", "")
    with contextlib.suppress(ValueError):
        line = line[: int(console.environ.get("COMP_POINT", ""))]
    words = line.split()[1:]
    return words if line[-1:].isspace() else words[:-1]


def answer(parser: argparse.ArgumentParser, console: Console) -> None:
    """Write what may stand at the cursor to the shell and end the process; return only if no shell asked."""
    import argcomplete  # noqa: PLC0415 - see the module's docstring

    _name_completers(parser, console)
    argcomplete.autocomplete(parser, always_complete_options="long")


def _name_completers(parser: argparse.ArgumentParser, console: Console) -> None:
    for action in parser._actions:  # noqa: SLF001 - argparse lists a parser's arguments nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - same
            for sub in action.choices.values():
                _name_completers(sub, console)
        elif action.choices is None and action.nargs != 0 and action.dest in _NAMED | _FREE:
            action.completer = _completer(action.dest, parser.prog, console)  # type: ignore[attr-defined]  # argcomplete's


def _completer(dest: str, prog: str, console: Console) -> Callable[..., dict[str, str]]:
    command = prog.rsplit(maxsplit=1)[-1]

    def names(*, parsed_args: argparse.Namespace, **_: Any) -> dict[str, str]:
        from nightingale_tui.cli.live_names import LiveNames  # noqa: PLC0415 - not for flags and commands

        try:
            live = LiveNames(settings_of(parsed_args, console), now=console.now, transport=console.transport)
        except ClientError:
            return {}
        if dest in {"project", "member_of"}:
            found = live.projects()
        elif dest == "person":
            found = live.people() if command != "add" else {}
        elif dest == "name" and command != "up":
            need = _NEEDS.get(command)
            found = {name: named for name, named in live.instances().items() if need is None or need in named.can}
        elif dest in _RESOURCES:
            found = live.catalog(dest)
        elif dest in {"dataset", "image", "place"}:
            found = live.catalog(f"{dest}s")
        else:
            return {}
        return {name: named.about for name, named in found.items()}

    return names


COMMANDS = (Command("completion", "print a shell's completion script", _configure, _completion),)
