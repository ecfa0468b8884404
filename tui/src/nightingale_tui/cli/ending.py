"""stop, delete, extend: when an instance ends."""

from __future__ import annotations

import argparse

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode
from nightingale_tui.cli.parser import add_dry_run, add_name, add_wait, add_yes
from nightingale_tui.cli.watching import report_end, wait_until_settled
from nightingale_tui.cli.wording import ago, duration, money, span


def _configure_stop(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_wait(parser)


def _stop(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        project = connection.project()
        instance = connection.api.stop_instance(project, args.name)
        if args.wait:
            instance = wait_until_settled(connection.api, console, project, instance)
    if console.is_json:
        console.data(instance)
    elif instance.status is not Status.FAILED:
        console.line(
            f"{instance.name} is {instance.status.value}; its home stays. Cost so far: {money(instance.cost)}."
        )
    return report_end(console, instance, wanted=Status.STOPPED) if args.wait else ExitCode.OK


def _configure_delete(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_yes(parser)
    add_dry_run(parser)
    add_wait(parser)
    parser.add_argument(
        "--destroy-evidence", action="store_true", help="also one in quarantine (administrators; its home goes)"
    )


def _delete(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        project = connection.project()
        before = connection.api.get_instance(project, args.name)
        age = span((console.now() - before.created_at).total_seconds())
        loss = f"the home folder of {before.owner} on {before.name} ({before.id}, {age} old) with everything in it"
        if args.dry_run:
            if console.is_json:
                console.data(before)
            else:
                console.line(f"Would be deleted for good: {loss}. Datasets, history and bills stay.")
            return ExitCode.OK
        console.note(f"This deletes for good: {loss}. Datasets, history and bills stay.")
        if not console.confirm(f"Delete {before.name}?"):
            console.note("Nothing was done.")
            return ExitCode.FAILED
        instance = connection.api.delete_instance(project, before.id, destroy_evidence=args.destroy_evidence)
        if args.wait:
            instance = wait_until_settled(connection.api, console, project, instance)
    if console.is_json:
        console.data(instance)
    elif instance.status is not Status.FAILED:
        console.line(f"{instance.name} is {instance.status.value}. It cost {money(instance.cost)} at list price.")
    return report_end(console, instance, wanted=Status.TERMINATED) if args.wait else ExitCode.OK


def _configure_extend(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("seconds", type=duration, metavar="TIME", help="from now on: 10m, 2h, 1d")


def _extend(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        body = s.ExtendIn(seconds=args.seconds)
        instance = connection.api.extend_instance(connection.project(), args.name, body)
    if console.is_json:
        console.data(instance)
    elif instance.stops_at is not None:
        console.line(f"{instance.name} stops {ago(instance.stops_at, console.now())}.")
        if instance.stops_why in {ReasonCode.IDLE, ReasonCode.SCHEDULE}:
            console.note(instance.why_up)  # sooner than was asked for
    return ExitCode.OK


COMMANDS = (
    Command("stop", "stop an instance; its home stays", _configure_stop, _stop, (s.InstanceOut,)),
    Command("delete", "delete an instance and its home", _configure_delete, _delete, (s.InstanceOut,)),
    Command(
        "extend", "move the time at which an instance stops by itself", _configure_extend, _extend, (s.InstanceOut,)
    ),
)
