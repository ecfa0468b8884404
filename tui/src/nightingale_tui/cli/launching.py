"""up, start, retry, resize: commands that end in a running instance, and so in spending."""

from __future__ import annotations

import argparse
import secrets
from typing import TypeVar

import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Status
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import UnreachableError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode, UsageError, cannot_be
from nightingale_tui.cli.parser import add_dry_run, add_name, add_project_flag, add_wait, add_yes
from nightingale_tui.cli.placing import tell_other_place, tell_places
from nightingale_tui.cli.watching import report_end, wait_until_settled
from nightingale_tui.cli.wording import duration, money, size, span

_RESOURCES = ("cpu", "memory", "gpu", "disk")


def _add_size_flags(parser: argparse.ArgumentParser) -> None:
    for resource in _RESOURCES:
        parser.add_argument(f"--{resource}", metavar="SIZE", help=f"{resource} size; see `nightingale sizes`")


def _asked_size(args: argparse.Namespace) -> dict[str, str]:
    return {name: getattr(args, name) for name in _RESOURCES if getattr(args, name) is not None}


def _configure_up(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)
    parser.add_argument("name", metavar="NAME", help="the new instance's name")
    _add_size_flags(parser)
    parser.add_argument(
        *("-d", "--dataset"), action="append", default=[], metavar="DATASET", help="dataset to mount; may be repeated"
    )
    parser.add_argument(
        "--place",
        default="local",
        help="where it runs: a place's name, a kind (aws, azure, gcp, local), or auto (local)",
    )
    parser.add_argument(
        "--elsewhere", action="store_true", help="where there is no capacity, try the other places; auto does"
    )
    parser.add_argument("--spot", action="store_true", help="on spare capacity, which the cloud may take back")
    parser.add_argument(
        "--relaunch", action="store_true", help="with --spot: launch it again by itself, 5 times in 24 hours at most"
    )
    parser.add_argument("--image", default="default", help="its image (default)")
    parser.add_argument("--for", dest="seconds", type=duration, metavar="TIME", help="stop by itself after 10m, 2h, 1d")
    add_yes(parser)
    add_dry_run(parser)
    add_wait(parser)


def _up(args: argparse.Namespace, console: Console) -> int:
    if args.relaunch and not args.spot:
        raise UsageError(
            "--relaunch goes with --spot only.", "Nothing else is taken back: add --spot, or leave it out."
        )
    body = _valid(
        s.LaunchIn(
            name=args.name,
            size=s.Size(**_asked_size(args)),
            place=args.place,
            elsewhere=args.elsewhere,
            image=args.image,
            datasets=tuple(args.dataset),
            stop_after_seconds=args.seconds,
            spot=args.spot,
            relaunch_when_interrupted=args.relaunch,
            request_id=secrets.token_hex(16),
        )
    )
    with connect(args, console) as connection:
        api, project = connection.api, connection.project()
        wanted = msgspec.structs.replace(
            _estimate(body.size, body.place, args.seconds, is_spot=body.spot), image=body.image, datasets=body.datasets
        )
        estimate = _price(api, console, project, wanted, is_timed=args.seconds is not None)
        tell_places(console, estimate)
        if args.dry_run:
            return _dry(console, estimate, f"{body.name} ({size(body.size)}) would be launched in {project}.")
        if not console.confirm(f"Launch {body.name} in {project}?"):
            return _said_no(console)
        instance = _launch(api, console, project, body)
        tell_other_place(console, estimate, instance)
        return _finish(args, console, api, project, instance)


def _launch(api: Api, console: Console, project: str, body: s.LaunchIn) -> s.InstanceOut:
    try:
        return api.launch_instance(project, body)
    except UnreachableError as error:
        # The request's id makes this safe: if the first call arrived, this one gets its answer.
        console.note(f"{error.message} Asking once more.")
        return api.launch_instance(project, body)


def _start(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        api, project = connection.api, connection.project()
        before = api.get_instance(project, args.name)
        estimate = _price(api, console, project, _again(before, before.size), is_timed=False)
        if args.dry_run:
            return _dry(console, estimate, f"{before.name} would be started.")
        if not console.confirm(f"Start {before.name}?"):
            return _said_no(console)
        return _finish(args, console, api, project, api.start_instance(project, before.id))


def _retry(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        api, project = connection.api, connection.project()
        return _finish(args, console, api, project, api.retry_instance(project, args.name), wanted=None)


def _configure_resize(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    _add_size_flags(parser)
    add_yes(parser)
    add_dry_run(parser)
    add_wait(parser)


def _resize(args: argparse.Namespace, console: Console) -> int:
    asked = _asked_size(args)
    if not asked:
        raise UsageError("No size was named.", "Name one: `nightingale resize NAME --gpu s`.")
    body = _valid(s.ResizeIn(**asked))
    with connect(args, console) as connection:
        api, project = connection.api, connection.project()
        before = api.get_instance(project, args.name)
        after = msgspec.structs.replace(before.size, **asked)
        estimate = _price(api, console, project, _again(before, after), is_timed=False)
        words = f"{before.name} from {size(before.size)} to {size(after)} (cpu/memory/gpu/disk)"
        if args.dry_run:
            return _dry(console, estimate, f"{words} would be the new size.")
        is_running = before.status is Status.RUNNING
        loss = " It restarts: running notebooks lose what they hold in memory; the home stays." if is_running else ""
        if not console.confirm(f"Resize {words}?{loss}"):
            return _said_no(console)
        instance = api.resize_instance(project, before.id, body)
        return _finish(args, console, api, project, instance, wanted=before.status)


def _configure_again(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_yes(parser)
    add_dry_run(parser)
    add_wait(parser)


def _configure_retry(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_wait(parser)


# --- shared by the four -----------------------------------------------------------------------------------------------


Body = TypeVar("Body", s.LaunchIn, s.ResizeIn)


def _valid(body: Body) -> Body:
    """Return `body` if the contract allows it. Raises UsageError: a typing mistake is found without the platform."""
    try:
        return msgspec.json.decode(msgspec.json.encode(body), type=type(body))
    except msgspec.ValidationError as error:
        raise cannot_be(error) from error


def _again(before: s.InstanceOut, size: s.Size) -> s.EstimateIn:
    return _estimate(size, before.place, is_spot=before.spot)


def _estimate(wanted: s.Size, place: str, seconds: int | None = None, *, is_spot: bool) -> s.EstimateIn:
    estimate = s.EstimateIn(size=wanted, place=place, spot=is_spot)
    return estimate if seconds is None else msgspec.structs.replace(estimate, for_seconds=seconds)


def _price(api: Api, console: Console, project: str, body: s.EstimateIn, *, is_timed: bool) -> s.EstimateOut:
    """Say on stderr what it will cost, and return the estimate."""
    estimate = api.create_estimate(project, body)
    per_hour, compute, disk = (
        money(price) for price in (estimate.per_hour, estimate.compute_per_hour, estimate.disk_per_hour)
    )
    console.note(
        f"Price: {per_hour} an hour while it runs ({compute} compute, {disk} disk); the disk goes on when stopped."
    )
    if estimate.spot:
        told = f" ({estimate.spot_words})" if estimate.spot_words else ""
        console.note(f"On spare capacity{told}: the cloud may take it back at any time; the home stays.")
    if is_timed:
        console.note(f"For {span(estimate.for_seconds)}: {money(estimate.list_price)}.")
    if estimate.billed.amount != estimate.list_price.amount:
        console.note(f"On the {estimate.plan.value} plan this project is billed {money(estimate.billed)} of that.")
    return estimate


def _dry(console: Console, estimate: s.EstimateOut, words: str) -> int:
    if console.is_json:
        console.data(estimate)
    else:
        console.line(words)
    return ExitCode.OK


def _said_no(console: Console) -> int:
    console.note("Nothing was done.")
    return ExitCode.FAILED


def _finish(
    args: argparse.Namespace,
    console: Console,
    api: Api,
    project: str,
    instance: s.InstanceOut,
    *,
    wanted: Status | None = Status.RUNNING,
) -> int:
    """Wait where asked, write the instance, return the exit status. `wanted` None: anything but failed is good."""
    if args.wait:
        instance = wait_until_settled(api, console, project, instance)
    if console.is_json:
        console.data(instance)
    elif instance.status is Status.RUNNING:
        console.line(f"{instance.name} is running. Open it: `nightingale open {instance.name}`.")
    elif instance.status is not Status.FAILED:
        console.line(f"{instance.name} is {instance.status.value}.")
    if not args.wait:
        return ExitCode.OK
    if wanted is None:
        wanted = Status.RUNNING if instance.status is Status.FAILED else instance.status
    return report_end(console, instance, wanted=wanted)


_SPENDING = (s.InstanceOut, s.EstimateOut)
"""With --dry-run it is the estimate."""

COMMANDS = (
    Command("up", "launch an instance", _configure_up, _up, _SPENDING),
    Command("start", "start a stopped instance", _configure_again, _start, _SPENDING),
    Command("retry", "try a failed instance's action again", _configure_retry, _retry, (s.InstanceOut,)),
    Command("resize", "change an instance's size", _configure_resize, _resize, _SPENDING),
)
