"""admin plan, apply, audit: the cluster file and the sealed record."""

from __future__ import annotations

import argparse
from pathlib import Path

from nightingale.contract import schemas as s
from nightingale_tui.api.errors import ApiError
from nightingale_tui.cli.changes import counted, print_changes
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import Connection, connect
from nightingale_tui.cli.console import Colour, Console
from nightingale_tui.cli.exit_codes import ExitCode, UsageError
from nightingale_tui.cli.own_rules import OwnRules, tell_changes, upload, with_rules
from nightingale_tui.cli.pages import all_audit_events
from nightingale_tui.cli.parser import add_dry_run, add_server_flags, add_yes


def _configure_plan(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="the cluster file (YAML)")
    parser.epilog = "Exit status: 0 nothing would change, 2 something would, others as everywhere."


def _planned(
    args: argparse.Namespace, connection: Connection, console: Console
) -> tuple[s.ClusterIn, OwnRules, s.ClusterPlanOut]:
    from nightingale_tui.cli.cluster_file import load_cluster_file  # noqa: PLC0415 - YAML is for these two only

    file = load_cluster_file(args.file)
    cluster, rules = with_rules(file.cluster, file.folder, console)
    try:
        plan = connection.api.plan_cluster(s.ClusterPlanIn(cluster=cluster))
    except ApiError as error:
        located = file.located(error)
        if located is error:
            raise
        raise located from error
    for words in plan.notes:
        console.note(f"Note: {words}.")
    return cluster, rules, plan


def _plan(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        _, rules, plan = _planned(args, connection, console)
        tell_changes(connection.api, plan.changes, rules, console)
    if console.is_json:
        console.data(plan)
    else:
        _show(console, plan.changes)
    return ExitCode.DIFFERENCE if plan.changes else ExitCode.OK


def _configure_apply(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="the cluster file (YAML)")
    add_yes(parser)
    add_dry_run(parser)
    parser.epilog = "Rules in folders that the file names (`findings: rules:`) are compiled here and uploaded first."


def _apply(args: argparse.Namespace, console: Console) -> int:
    if args.dry_run:
        return _plan(args, console)
    with connect(args, console) as connection:
        cluster, rules, plan = _planned(args, connection, console)
        if not console.is_json:
            _show(console, plan.changes)
        tell_changes(connection.api, plan.changes, rules, console)
        if not plan.changes:
            upload(connection.api, rules)
            if console.is_json:
                console.data(s.ClusterApplyOut(revision=plan.base, changes=()))
            return ExitCode.OK
        if not console.confirm(f"Apply {counted(plan.changes)}?"):
            console.note("Nothing was done.")
            return ExitCode.FAILED
        upload(connection.api, rules)
        applied = connection.api.apply_cluster(s.ClusterApplyIn(cluster=cluster, base=plan.base))
    if console.is_json:
        console.data(applied)
    else:
        console.line(f"Applied. The cluster is at revision {applied.revision}.")
    return ExitCode.OK


def _show(console: Console, changes: tuple[s.ClusterChangeOut, ...]) -> None:
    if not changes:
        console.line("Nothing to change: the cluster is as the file says.")
    print_changes(console, changes)


def _configure_audit(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    parser.add_argument("what", nargs="?", default="platform", metavar="STREAM", help=_STREAM_HELP)
    parser.add_argument("stream", nargs="?", metavar="", help=argparse.SUPPRESS)
    parser.usage = "nightingale admin audit [-h] [--url URL] [--json] [STREAM | verify [STREAM]]"
    parser.epilog = "`verify` reads the whole stream and exits with 1 where its chain does not hold."


_STREAM_HELP = "`platform` (default), an instance's id, or `reads-ID` for what it read; after `verify`: check its chain"
_VERIFY = "verify"


def _verify(connection: Connection, console: Console, stream: str) -> int:
    found = connection.api.verify_audit(stream)
    if console.is_json:
        console.data(found)
    elif found.first_bad is None:
        console.line(f"{stream}: {found.records} records, none missing, changed or out of place.")
    else:
        console.line(f"{stream}: record {found.first_bad} is missing, was changed or stands elsewhere.", Colour.RED)
        console.note("Keep the files as they are, and compare them with a backup.")
    return ExitCode.OK if found.first_bad is None else ExitCode.FAILED


def _audit(args: argparse.Namespace, console: Console) -> int:
    if args.what != _VERIFY and args.stream is not None:
        raise UsageError(f"Unrecognized arguments: {args.stream}.", "See `nightingale admin audit --help`.")
    args.stream = (args.stream or "platform") if args.what == _VERIFY else args.what
    with connect(args, console) as connection:
        if args.what == _VERIFY:
            return _verify(connection, console, args.stream)
        events = all_audit_events(connection.api, args.stream)
        if console.is_json:
            console.data(s.AuditEventsOut(events=tuple(events)))
            return ExitCode.OK
        for event in events:
            detail = " ".join(f"{name}={value}" for name, value in sorted(event.detail.items()))
            words = (f"{event.seq:>6}", f"{event.at:%Y-%m-%d %H:%M:%SZ}", event.actor, event.tag, event.subject, detail)
            console.line("  ".join(words).rstrip())
    return ExitCode.OK


COMMANDS = (
    Command("plan", "what applying a cluster file would change", _configure_plan, _plan, (s.ClusterPlanOut,)),
    Command(
        "apply", "make the cluster as the file says", _configure_apply, _apply, (s.ClusterApplyOut, s.ClusterPlanOut)
    ),
    Command(
        "audit",
        "sealed facts of the platform or of one instance",
        _configure_audit,
        _audit,
        (s.AuditEventsOut, s.AuditVerifiedOut),
    ),
)
