"""admin quarantine, admin release: an instance kept as it is while somebody looks."""

from __future__ import annotations

import argparse

from nightingale.contract import schemas as s
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode
from nightingale_tui.cli.parser import add_name
from nightingale_tui.cli.wording import ago


def _configure(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument(
        "--why", required=True, metavar="TEXT", help="kept with the instance and shown to administrators only"
    )


def _quarantine(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        instance = connection.api.quarantine_instance(connection.project(), args.name, s.QuarantineIn(why=args.why))
    return _told(console, instance, "is in quarantine: nobody can reach it, nothing of it runs, and it is billed.")


def _release(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        instance = connection.api.release_instance(connection.project(), args.name, s.QuarantineIn(why=args.why))
    return _told(console, instance, "is released and goes on where it was.")


def _told(console: Console, instance: s.InstanceOut, words: str) -> int:
    trouble = instance.quarantine.trouble if instance.quarantine is not None else ""
    if console.is_json:
        console.data(instance)
    else:
        console.line(f"{instance.name} {words}" if not trouble else f"{instance.name}: {instance.status.value}")
    if trouble:
        console.note(f"Its machine has not followed yet, and is told again each second: {trouble}")
    return ExitCode.FAILED if trouble else ExitCode.OK


def facts(instance: s.InstanceOut, console: Console) -> list[tuple[str, str]]:
    """Return what `show` says of an instance's quarantine; why is there for administrators only."""
    held = instance.quarantine
    if held is None:
        return []
    by = f"{held.by}, for the rule {held.by_rule}" if held.by_rule else held.by
    return [
        ("quarantine", f"{held.words} {held.next_step}".strip()),
        ("put in by", f"{by}: {held.why}" if by else ""),
        ("not yet", held.trouble),
        (
            "released",
            f"{ago(held.released_at, console.now())} by {held.released_by}: {held.released_why}"
            if held.released_at is not None
            else "",
        ),
    ]


COMMANDS = (
    Command(
        "quarantine",
        "cut an instance off and freeze it; its owner's commands are refused",
        _configure,
        _quarantine,
        (s.InstanceOut,),
    ),
    Command("release", "let an instance in quarantine go on where it was", _configure, _release, (s.InstanceOut,)),
)
