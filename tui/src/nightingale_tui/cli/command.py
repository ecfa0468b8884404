"""What a command is, and how commands of other packages join."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightingale_tui.cli.console import Console

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "nightingale.commands"
"""Entry points of this group load to a Command: `local = "package.module:COMMAND"`; `admin.scan` joins `admin`."""


@dataclass(frozen=True)
class Command:
    """One word of the command line. `run` returns the exit status; errors are raised as ClientError.

    `output` names what --json may write; docs/reference/json/ holds its schema.
    """

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Console], int]
    output: tuple[type, ...] = ()


def plugin_commands(console: Console, *, room: str, only: str | None) -> tuple[Command, ...]:
    """Return the commands that other packages add to `room` ("" is the top), only the one named `only` if given.

    One that cannot be loaded is reported on stderr and left out: it must not take the others with it.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - built-in commands need none of it

    prefix = f"{room}." if room else ""
    found: list[Command] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        name = point.name.removeprefix(prefix)
        if not point.name.startswith(prefix) or "." in name or only not in {None, name}:
            continue
        command = _load(point, console)
        if command is not None:
            found.append(command)
    return tuple(found)


def plugin_names(*, room: str) -> tuple[str, ...]:
    """Return the names that other packages add to `room`, without loading any of them."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - as above

    prefix = f"{room}." if room else ""
    names = (point.name.removeprefix(prefix) for point in entry_points(group=GROUP) if point.name.startswith(prefix))
    return tuple(sorted(name for name in names if "." not in name))


def _load(point: EntryPoint, console: Console) -> Command | None:
    try:
        command = point.load()
    except Exception as error:  # noqa: BLE001 - another package's code may raise anything; it is reported, not hidden
        console.note(f"warning: the command {point.name} of {point.value} cannot be loaded: {error}")
        return None
    if not isinstance(command, Command):
        console.note(f"warning: {point.value} is no command (entry point {point.name}).")
        return None
    return command
