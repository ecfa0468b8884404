"""reads: which files of its datasets an instance read."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from nightingale.contract.reads import ReadRecord
from nightingale_tui import reads as words
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.documents import ReadsListOut
from nightingale_tui.cli.exit_codes import ExitCode, UsageError
from nightingale_tui.cli.pages import reads_after
from nightingale_tui.cli.parser import add_name
from nightingale_tui.cli.table import print_table
from nightingale_tui.cli.wording import ago, duration

_FOLLOW_S = 1.0


def _configure(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument(
        "--since", metavar="WHEN", type=_since, help="only what was opened since then: `2h`, or `2026-11-21T09:00Z`"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is read, until Ctrl-C")
    parser.epilog = "Ranges are what a reader asked for, page by page; `at most` an upper bound."


def _since(text: str) -> timedelta | datetime:
    """Return how long ago, or when. Raises ArgumentTypeError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return timedelta(seconds=duration(text))
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} names no time zone: end it with Z for UTC")
    return at


def _reads(args: argparse.Namespace, console: Console) -> int:
    if args.follow and console.is_json:
        raise UsageError("--follow and --json do not go together.", "Leave one out.")
    since = console.now() - args.since if isinstance(args.since, timedelta) else args.since
    with connect(args, console) as connection:
        project = connection.project()
        instance = connection.api.get_instance(project, args.name)
        found, cursor = reads_after(connection.api, project, instance.id, cursor=None)
        found = tuple(one for one in found if since is None or one.at >= since)
        if console.is_json:
            console.data(ReadsListOut(instance_id=instance.id, observer=instance.observer, reads=found))
            return ExitCode.OK
        if instance.observer is not None and instance.observer.name is None:
            console.note(f"Reads of this instance are not recorded: {instance.observer.words}")
        elif not found:
            console.note("No read was recorded." if instance.datasets else "No dataset is mounted.")
        print_table(
            console,
            ("WHEN", "FILE", "ASKED FOR", "BY", "UNTIL"),
            [
                (
                    ago(one.at, console.now()),
                    words.what(one),
                    words.ranges(one),
                    words.reader(one),
                    _closed(one, console),
                )
                for one in found
            ],
        )
        while args.follow:
            console.stdout.flush()
            console.sleep(_FOLLOW_S)
            found, cursor = reads_after(connection.api, project, instance.id, cursor=cursor)
            for line in words.lines(found):
                console.line(line)
    return ExitCode.OK


def _closed(record: ReadRecord, console: Console) -> str:
    return "" if record.closed_at is None else ago(record.closed_at, console.now())


COMMANDS = (Command("reads", "which files of its datasets an instance read", _configure, _reads, (ReadsListOut,)),)
