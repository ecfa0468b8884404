"""The commands `nightingale local` and `nightingale demo`."""

from __future__ import annotations

import argparse
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from nightingale_local import upkeep
from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.console import Console

_DEFAULT_DIR = ".nightingale"
_LAST_PORT = 65_535


def _folder(args: argparse.Namespace) -> Any:
    from nightingale_local.folders import Folders  # noqa: PLC0415 - `--help` needs none of the platform

    return Folders(Path(args.dir or os.environ.get("NIGHTINGALE_DIR") or _DEFAULT_DIR).expanduser().absolute())


def _add_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir", metavar="DIR", help=f"the platform's data folder (NIGHTINGALE_DIR; default {_DEFAULT_DIR})"
    )


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", choices=["sqlite", "dynamodb"], help="where items are kept (default: as before)")
    parser.add_argument("--endpoint", metavar="URL", help="of DynamoDB; left out, AWS by the usual credentials")
    parser.add_argument("--table", metavar="NAME", default="nightingale", help="the DynamoDB table; made when absent")


def _add_host(parser: argparse.ArgumentParser) -> None:
    words = "what serves the API: chalice, as on AWS Lambda (default), or functions, as on Azure Functions"
    parser.add_argument("--host", choices=["chalice", "functions"], default="chalice", help=words)


def _store(args: argparse.Namespace) -> Any:
    from nightingale_local.folders import StoreChoice  # noqa: PLC0415 - `--help` needs none of the platform

    if args.endpoint and args.store != "dynamodb":
        raise ClientError("usage", "--endpoint goes with --store dynamodb.", "Add --store dynamodb, or leave it out.")
    if args.store is None:
        return None
    is_dynamo = args.store == "dynamodb"
    return StoreChoice(kind=args.store, endpoint=args.endpoint or "", table=args.table) if is_dynamo else StoreChoice()


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to {_LAST_PORT}")
    return int(text)


@contextmanager
def _folder_errors() -> Iterator[None]:
    """Turn what the system says of the data folder into words and a next step."""
    try:
        yield
    except OSError as error:
        words = f"The platform's data folder cannot be used: {error.filename or ''} {error.strerror or error}."
        raise ClientError("folder", " ".join(words.split()), "Name another folder with --dir.") from error


def _configure_local(parser: argparse.ArgumentParser) -> None:
    rooms = parser.add_subparsers(dest="local_command", required=True, metavar="COMMAND")
    up = rooms.add_parser("up", help="start the platform on this machine")
    _add_dir(up)
    up.add_argument("--port", type=_port, metavar="P", help="port of the API; 0 for any free one (default: the last)")
    up.add_argument("--detach", action="store_true", help="return once it serves; end it with `local down`")
    _add_host(up)
    _add_store(up)
    for name, words in (
        ("status", "show its processes"),
        ("down", "end the platform; instances run on"),
        ("apply-demo", "apply the demo's cluster file"),
    ):
        room = rooms.add_parser(name, help=words)
        _add_dir(room)
        if name == "down":
            room.add_argument("--instances", action="store_true", help="end the instances' machines too")
    upkeep.configure(rooms, _add_dir)
    for room in rooms.choices.values():
        room.add_argument("--json", action="store_true", help="print the result as JSON")


def _run_local(args: argparse.Namespace, console: Console) -> int:
    console.is_json = console.is_json or args.json
    own = {"up": _up, "status": _status, "down": _down, "apply-demo": _apply_demo}
    with _folder_errors():
        if args.local_command in upkeep.RUN:
            return upkeep.RUN[args.local_command](args, console, _folder(args))
        return own[args.local_command](args, console)


def _up(args: argparse.Namespace, console: Console) -> int:
    from nightingale_local import control  # noqa: PLC0415 - `--help` needs none of the platform

    folders = _folder(args)
    if args.detach:
        _say_up(console, folders, control.up_detached(folders, args.port, args.host, _store(args)))
        return 0

    def note(settings: Any) -> None:
        _say_up(console, folders, settings)
        console.note("Ctrl-C ends it; instances run on.")

    control.up(folders, args.port, args.host, note, _store(args))
    return 0


def _say_up(console: Console, folders: Any, settings: Any) -> None:
    if console.is_json:
        console.data({"url": settings.url, "dir": str(folders.root), "gateway_port": settings.gateway_port})
        return
    console.line(f"Nightingale serves at {settings.url}, its data in {folders.root}.")


def _status(args: argparse.Namespace, console: Console) -> int:
    from nightingale_local import control  # noqa: PLC0415 - `--help` needs none of the platform

    seen = control.status(_folder(args))
    if console.is_json:
        console.data(seen)
    else:
        console.line(
            f"{'up' if seen['is_up'] else 'down'}: {seen['dir']} ({seen['profile']} profile) {seen['url'] or ''}"
        )
        for one in seen["processes"] + [{**one, "name": one["id"], "port": None} for one in seen["instances"]]:
            console.line(
                f"  {one['name']:<14} pid {one['pid']:<8} port {one['port'] or '-':<6} {one['memory_mib']} MiB"
            )
    return 0 if seen["is_up"] else 1


def _down(args: argparse.Namespace, console: Console) -> int:
    from nightingale_local import control  # noqa: PLC0415 - `--help` needs none of the platform

    running = control.down(_folder(args), with_instances=args.instances)
    if console.is_json:
        console.data({"is_up": False, "running_instances": running})
    elif running:
        console.line(f"The platform is down; {running} instances run on (--instances ends them).")
    else:
        console.line("The platform is down.")
    return 0


def _apply_demo(args: argparse.Namespace, console: Console) -> int:
    from nightingale_local import demo  # noqa: PLC0415 - `--help` needs none of the platform

    folders = _folder(args)
    applied = demo.apply_demo(folders, console)
    if console.is_json:
        console.data(applied)
    else:
        console.line(f"{len(applied.changes)} changes, revision {applied.revision}: {folders.demo / 'cluster.yaml'}")
    return 0


def _configure_demo(parser: argparse.ArgumentParser) -> None:
    _add_dir(parser)
    parser.add_argument("--check", action="store_true", help="play the whole job without a screen, then clean up")
    parser.add_argument("--json", action="store_true", help="with --check: print the report as JSON")
    _add_host(parser)
    _add_store(parser)


def _run_demo(args: argparse.Namespace, console: Console) -> int:
    console.is_json = console.is_json or args.json
    if args.check or not console.has_terminal:
        if not args.check:
            console.note("There is no terminal for the app: the check plays the whole job instead, in its own folder.")
        return _check(args, console)
    with _folder_errors():
        return _demo(args, console)


def _demo(args: argparse.Namespace, console: Console) -> int:
    from nightingale_local import control, demo  # noqa: PLC0415 - `--help` needs none of the platform
    from nightingale_tui.app import run_app  # noqa: PLC0415 - same

    folders = _folder(args)
    console.note(f"Starting the platform in {folders.root} ...")
    settings = control.up_detached(folders, None, args.host, _store(args))
    demo.apply_demo(folders, console)
    api, client_settings = demo.log_in(folders, dict(os.environ))
    try:
        status = run_app(api, client_settings, demo.PROJECT)
    finally:
        api.close()
    console.note(f"The platform runs on at {settings.url}; the same command opens the app again.")
    console.note(f"To end it: nightingale local down --instances --dir {folders.root}")
    return status


def _check(args: argparse.Namespace, console: Console) -> int:
    from nightingale_local.check import Check  # noqa: PLC0415 - `--help` needs none of the platform

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)  # whoever ends it (a time limit, say) gets the clean-up too
    check = Check(console.note)
    held = check.run(args.host, _store(args))
    if console.is_json:
        console.data(check.report)
    else:
        for name, value in check.report.items():
            if name != "steps":
                console.line(f"{name:<20} {value}")
    return 0 if held else 1


LOCAL = Command("local", "the whole platform on this machine", _configure_local, _run_local)
DEMO = Command("demo", "try it: a platform of its own, a demo project, the app", _configure_demo, _run_demo)
