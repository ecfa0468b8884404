"""cost: what a project used and what it is billed."""

from __future__ import annotations

import argparse

from nightingale.contract import schemas as s
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode
from nightingale_tui.cli.pages import all_usage_records
from nightingale_tui.cli.parser import add_project_flag
from nightingale_tui.cli.table import print_table
from nightingale_tui.cli.wording import amount, month, size, span

_GIB_HOUR = 3600
_RIGHT = frozenset({"COMPUTE", "DISK GIB-H", "LIST", "BILLED", "QUANTITY", "$/H"})


def _configure(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)
    parser.add_argument("--month", type=month, metavar="YYYY-MM", help="the current one when left out")
    parser.add_argument("--records", action="store_true", help="every usage record of closed hours")


def _cost(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        project = connection.project()
        if args.records:
            return _records(console, all_usage_records(connection.api, project, month=args.month))
        usage = connection.api.get_usage(project, month=args.month)
    if console.is_json:
        console.data(usage)
        return ExitCode.OK
    state = "final" if usage.is_final else "so far"
    console.line(f"{usage.project}, {usage.month} ({state}), {usage.plan.value} plan, amounts in {usage.currency}")
    for header, lines in (("INSTANCE", usage.by_instance), ("PERSON", usage.by_person), ("SIZE", usage.by_size)):
        if lines:
            console.line()
            print_table(console, _headers(header), [_row(line) for line in lines], right=_RIGHT)
    console.line()
    print_table(console, _headers(""), [_row(usage.total, "total")], right=_RIGHT)
    return ExitCode.OK


def _headers(first: str) -> tuple[str, ...]:
    return (first, "COMPUTE", "DISK GIB-H", "LIST", "BILLED")


def _row(line: s.UsageLineOut, key: str | None = None) -> tuple[str, ...]:
    return (
        key or line.key,
        span(line.compute_seconds),
        f"{line.disk_gib_seconds / _GIB_HOUR:.1f}",
        amount(line.list_cost),
        amount(line.billed),
    )


def _records(console: Console, records: tuple[s.UsageRecordOut, ...]) -> int:
    if console.is_json:
        console.data(s.UsageRecordsOut(records=records))
        return ExitCode.OK
    if not records:
        console.note("No closed hours yet: an hour is written some minutes after its end.")
    print_table(
        console,
        ("HOUR", "REV", "INSTANCE", "OWNER", "KIND", "QUANTITY", "$/H", "LIST", "BILLED", "SIZE"),
        [
            (
                f"{record.hour:%Y-%m-%d %H:%MZ}",
                str(record.revision),
                record.instance,
                record.owner,
                record.kind,
                f"{record.quantity} {'s' if record.kind == 'compute' else 'GiB·s'}",
                amount(record.price_per_hour),
                f"{record.list_cost}",
                f"{record.billed}",
                size(record.size),
            )
            for record in records
        ],
        right=_RIGHT,
    )
    return ExitCode.OK


COMMANDS = (Command("cost", "usage and cost of a project's month", _configure, _cost, (s.UsageOut, s.UsageRecordsOut)),)
