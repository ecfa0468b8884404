"""ps, show, sizes, logs: commands that only read."""

from __future__ import annotations

import argparse

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import LogSource, Status
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import UnreachableError
from nightingale_tui.cli import quarantining
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Colour, Console
from nightingale_tui.cli.documents import ShowOut
from nightingale_tui.cli.exit_codes import ExitCode, UsageError
from nightingale_tui.cli.pages import all_history, all_instances
from nightingale_tui.cli.parser import add_name, add_project_flag, add_server_flags
from nightingale_tui.cli.table import print_table, table_lines
from nightingale_tui.cli.wording import ago, amount, meaning, money, progress, size, span, whole
from nightingale_tui.homes import home_words
from nightingale_tui.images import image_words
from nightingale_tui.reads import observed, trouble
from nightingale_tui.spot import spot_words

_WATCH_S = 2.0
_FOLLOW_S = 1.0
_PS_HEADERS = ("NAME", "OWNER", "SIZE", "PLACE", "STATUS", "PROGRESS", "STOPS", "$/H", "COST", "LAUNCHED", "REASON")
_NUMBERS = frozenset({"$/H", "COST"})


def _configure_ps(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)
    parser.add_argument("-a", "--all", action="store_true", help="terminated ones too")
    parser.add_argument("-w", "--watch", action="store_true", help="show again every 2 seconds, until Ctrl-C")
    parser.epilog = "SIZE is cpu/memory/gpu/disk; $/H and COST are list prices."


def _ps(args: argparse.Namespace, console: Console) -> int:
    if args.watch and console.is_json:
        raise UsageError("--watch and --json do not go together.", "Leave one out.")
    with connect(args, console) as connection:
        project = connection.project()
        if args.watch:
            return _watch(connection.api, console, project, include_all=args.all)
        instances = all_instances(connection.api, project, include_all=args.all)
    if console.is_json:
        console.data(s.InstancesOut(instances=instances))
        return ExitCode.OK
    if not instances:
        console.note(f"No instances in {project}. Launch one: `nightingale up NAME`.")
    for line in _ps_lines(instances, console):
        console.line(line)
    return ExitCode.OK


def _watch(api: Api, console: Console, project: str, *, include_all: bool) -> int:
    shown: object = None
    while True:
        try:
            instances = all_instances(api, project, include_all=include_all)
        except UnreachableError as error:
            console.note(f"{error.message} What is shown may be old; still trying.")
        else:
            lines = _ps_lines(instances, console) or [f"No instances in {project}."]
            # On a screen it is one picture that changes; to a file only news are written, and time is none.
            news = [
                (i.id, i.status, i.reason, i.size, i.stops_at, i.is_idle, i.unreachable_since, i.job, i.reads_trouble)
                for i in instances
            ]
            if console.is_screen:
                console.picture(lines, is_first=shown is None)
            elif news != shown:
                for line in lines:
                    console.line(line)
            shown = news
            console.stdout.flush()
        console.sleep(_WATCH_S)


def _ps_lines(instances: tuple[s.InstanceOut, ...], console: Console) -> list[str]:
    return table_lines(_PS_HEADERS, [_ps_row(i, console) for i in instances], width=console.width, right=_NUMBERS)


def _ps_row(instance: s.InstanceOut, console: Console) -> tuple[str, ...]:
    now = console.now()
    status = instance.status.value
    marks = [
        word
        for word, is_so in (
            ("idle", instance.is_idle),
            ("quarantined", instance.is_quarantined),
            ("unreachable", instance.unreachable_since is not None),
        )
        if is_so
    ]
    return (
        instance.name,
        instance.owner,
        size(instance.size),
        f"{instance.place} (spot)" if instance.spot else instance.place,
        f"{status} ({', '.join(marks)})" if marks else status,
        progress(instance.job),
        ago(instance.stops_at, now) if instance.stops_at and instance.status is Status.RUNNING else "",
        amount(instance.price_per_hour.amount),
        money(instance.cost),
        ago(instance.created_at, now),
        _reason(instance),
    )


def _reason(instance: s.InstanceOut) -> str:
    """Return why it stands where it stands, or what is wrong with the record of its reads."""
    if instance.reason is not None:
        return f"{instance.reason.code.value}: {instance.reason.words}"
    trouble = instance.reads_trouble
    return f"{trouble.kind}: {trouble.words}" if trouble is not None else ""


def _show(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        project = connection.project()
        instance = connection.api.get_instance(project, args.name)
        history = all_history(connection.api, project, instance.id)
    if console.is_json:
        console.data(ShowOut(instance=instance, history=history))
        return ExitCode.OK
    now = console.now()
    for label, value in _facts(instance, console):
        if value:
            console.line(f"{label:<10} {value}")
    if instance.reason:
        colour = Colour.RED if instance.status is Status.FAILED else None
        console.line(f"{'why':<10} {instance.reason.words} ({instance.reason.code.value})", colour)
        for line in instance.reason.log_tail:
            console.line(f"{'':<10} | {line}")
        console.line(f"{'next':<10} {instance.reason.next_step}")
    for told in instance.notifications:
        console.line(f"{'told':<10} {ago(told.at, now)}: {told.text}")
        for line in told.log_tail:
            console.line(f"{'':<10} | {line}")
    for mark in instance.checkpoints:
        console.line(f"{'kept':<10} {ago(mark.at, now)}{f': {mark.note}' if mark.note else ''}")
    for limit in instance.limits:
        held = f"held by {limit.enforced_by}" if limit.enforced_by else f"not enforced here: {limit.why}"
        console.line(f"{'limit':<10} {limit.resource} {limit.limit}, {held}")
    console.line()
    print_table(
        console,
        ("#", "WHEN", "EVENT", "STATUS", "BY", "SIZE", "REASON"),
        [
            (
                str(entry.seq),
                ago(entry.at, now),
                entry.event,
                entry.after.value,
                entry.actor,
                size(entry.size),
                entry.reason.words if entry.reason else "",
            )
            for entry in history
        ],
    )
    return ExitCode.OK


def _facts(instance: s.InstanceOut, console: Console) -> list[tuple[str, str]]:
    now = console.now()
    datasets = ", ".join(f"{mount.dataset} {mount.version} (tier {mount.tier})" for mount in instance.datasets)
    return [
        ("name", f"{instance.name} ({instance.id}) in {instance.project}"),
        ("owner", instance.owner),
        ("status", f"{instance.status.value}, {ago(instance.status_at, now)}"),
        *quarantining.facts(instance, console),
        (
            "size",
            ", ".join(
                f"{resource} {getattr(instance.size, resource)}" for resource in ("cpu", "memory", "gpu", "disk")
            ),
        ),
        ("place", f"{instance.place}, image {instance.image}"),
        ("why there", instance.place_why),
        ("or else", ", ".join(instance.elsewhere)),
        ("spot", spot_words(instance)),
        ("digest", instance.image_digest or ""),
        ("data", f"{datasets or 'none'}; tier {instance.tier}"),
        ("image", image_words(instance)),
        ("home", home_words(instance)),
        ("sandbox", instance.sandbox or ""),
        ("reads", observed(instance)),
        ("trouble", trouble(instance)),
        ("stops", ago(instance.stops_at, now) if instance.stops_at else ""),
        ("starts" if instance.starts_at else "why up", instance.why_up),
        ("soon", instance.warning),
        (
            "job",
            ", ".join(part for part in (progress(instance.job), instance.job.note) if part) if instance.job else "",
        ),
        ("active", ago(instance.last_activity_at, now) if instance.last_activity_at else ""),
        ("silent", f"since {ago(instance.unreachable_since, now)}" if instance.unreachable_since else ""),
        ("price", f"{money(instance.price_per_hour)} an hour"),
        ("cost", f"{money(instance.cost)} at list price for {span(instance.usage_seconds)} running"),
        (
            "can now",
            ", ".join(action.value for action in instance.allowed_actions) or "nothing: an action is under way",
        ),
    ]


def _sizes(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        catalog = connection.api.get_catalog()
    if console.is_json:
        console.data(catalog)
        return ExitCode.OK
    places = [place.name for place in catalog.places]
    rows: list[tuple[str, ...]] = []
    for resource in ("cpu", "memory", "gpu", "disk"):
        options: tuple[s.SizeOptionOut, ...] = getattr(catalog, resource)
        for option in options:
            prices = (
                amount(option.price_per_hour[place]) if place in option.price_per_hour else "-" for place in places
            )
            rows.append((resource, option.name, meaning(option), *prices))
    headers = ("RESOURCE", "SIZE", "MEANS", *(f"{catalog.currency}/H {place}" for place in places))
    print_table(console, headers, rows, right=frozenset(headers[3:]))
    console.line()
    print_table(
        console,
        ("DATASET", "VERSION", "TIER", "PROJECTS", "TITLE"),
        [(d.name, d.version, str(d.tier), ", ".join(d.projects), d.title) for d in catalog.datasets],
    )
    return ExitCode.OK


def _configure_logs(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until it ends or Ctrl-C")
    parser.add_argument("--build", action="store_true", help="Terraform's log instead of Jupyter's")
    parser.add_argument("-n", "--tail", type=whole(1, 5000), default=100, metavar="LINES", help="last lines (100)")


def _logs(args: argparse.Namespace, console: Console) -> int:
    if args.follow and console.is_json:
        raise UsageError("--follow and --json do not go together.", "Leave one out.")
    source = LogSource.BUILD if args.build else LogSource.JUPYTER
    with connect(args, console) as connection:
        project = connection.project()
        log = connection.api.read_log(project, args.name, source, tail=args.tail)
        if console.is_json:
            console.data(log)
            return ExitCode.OK
        for line in log.lines:
            console.line(line)
        while args.follow and not log.is_complete:
            console.stdout.flush()
            console.sleep(_FOLLOW_S)
            log = connection.api.read_log(project, args.name, source, offset=log.next_offset)
            for line in log.lines:
                console.line(line)
    return ExitCode.OK


COMMANDS = (
    Command("ps", "list the project's instances", _configure_ps, _ps, (s.InstancesOut,)),
    Command("show", "one instance: what it is, why, and its history", add_name, _show, (ShowOut,)),
    Command("sizes", "sizes, prices and datasets", add_server_flags, _sizes, (s.CatalogOut,)),
    Command("logs", "the log of an instance's Jupyter server or build", _configure_logs, _logs, (s.LogOut,)),
)
