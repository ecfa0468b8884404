"""The command `nightingale admin doctor`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightingale_local.doctor.report import DoctorOut, Verdict
from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.console import Colour, Console
from nightingale_tui.cli.parser import add_server_flags

if TYPE_CHECKING:
    from nightingale_local.doctor.deployed import Pinned
    from nightingale_local.doctor.report import Check

_COLOURS = {Verdict.OK: Colour.GREEN, Verdict.WARN: Colour.YELLOW, Verdict.FAIL: Colour.RED, Verdict.UNKNOWN: None}
_TIMEOUT_S = 20.0
_LONGEST_S = 300.0
_WIDTH = 38


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: up to {_LONGEST_S:g} seconds")
    return seconds


def _configure(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    parser.add_argument(
        "--place", choices=("aws", "local"), help="what to look at (default: aws where NIGHTINGALE_TABLE is set)"
    )
    parser.add_argument("--region", metavar="REGION", help="AWS's region (default: AWS_REGION)")
    parser.add_argument("--dir", metavar="DIR", help="the platform's data folder (NIGHTINGALE_DIR; .nightingale)")
    parser.add_argument(
        "--timeout", type=_seconds, default=_TIMEOUT_S, metavar="SECONDS", help="for all checks, side by side (20)"
    )
    parser.add_argument("--strict", action="store_true", help="warnings and what is unknown fail too")


def _run(args: argparse.Namespace, console: Console) -> int:
    from nightingale_local.doctor.account import explain  # noqa: PLC0415 - `--help` needs none of the SDK
    from nightingale_local.doctor.report import examine  # noqa: PLC0415 - same

    environ = console.environ
    place = args.place or ("aws" if environ.get("NIGHTINGALE_TABLE") else "local")
    report = examine(_checks(args, console, place), args.timeout, explain)
    if console.is_json:
        console.data(report)
    else:
        _tell(console, report)
    is_well = all(line.verdict is Verdict.OK for line in report.lines) if args.strict else report.is_fit
    return 0 if is_well else 1


def _tell(console: Console, report: DoctorOut) -> None:
    for line in report.lines:
        console.line(f"{line.verdict.value:<8}{line.check:<{_WIDTH}} {line.seen}", _COLOURS[line.verdict])
        if line.do:
            console.line(f"{'':<8}{'':<{_WIDTH}} -> {line.do}")
    counts = ", ".join(
        f"{sum(line.verdict is verdict for line in report.lines)} {verdict.value}" for verdict in Verdict
    )
    console.note(f"{len(report.lines)} looked at: {counts}.")


def _checks(args: argparse.Namespace, console: Console, place: str) -> list[Check]:
    from nightingale_local.control import find_image_python  # noqa: PLC0415 - `--help` needs none of the platform
    from nightingale_local.doctor import deployed, machine  # noqa: PLC0415 - same
    from nightingale_local.folders import Folders, Ready, Settings, read_json  # noqa: PLC0415 - same

    environ = console.environ
    root = Path(args.dir or environ.get("NIGHTINGALE_DIR") or ".nightingale").expanduser().absolute()
    folders = Folders(root)
    url = getattr(args, "url", "") or environ.get("NIGHTINGALE_URL", "")
    pinned = _pinned(environ)
    if place == "local":
        settings, ready = read_json(folders.settings, Settings), read_json(folders.ready("gateway"), Ready)
        url = url or (settings.url if settings is not None and settings.port else "")
        pinned = pinned or (deployed.Pinned(ready.host, ready.port, ready.host_key) if ready is not None else None)
    checks = [*machine.version_checks(), *deployed.deployed_checks(url, pinned, console.now)]
    if place == "aws":
        return [*_cloud(args, console), *checks]
    try:
        image_python = str(find_image_python())
    except ClientError:
        image_python = ""
    return [*machine.machine_checks(root, image_python), *checks]


def _cloud(args: argparse.Namespace, console: Console) -> list[Check]:
    from nightingale.adapters.aws_clients import LazyClient  # noqa: PLC0415 - `--help` needs none of the SDK
    from nightingale.adapters.aws_credentials import find_expiry  # noqa: PLC0415 - same
    from nightingale_local.doctor.account import account_checks, told  # noqa: PLC0415 - same
    from nightingale_local.doctor.azure import azure_checks  # noqa: PLC0415 - same
    from nightingale_local.doctor.regions import region_checks  # noqa: PLC0415 - same
    from nightingale_local.doctor.storage import storage_checks  # noqa: PLC0415 - same

    account = told(console.environ, args.region)
    endpoint = console.environ.get("NIGHTINGALE_AWS_ENDPOINT") or None

    def client(service: str, region: str = account.region) -> Any:
        return LazyClient(service, region=region or None, endpoint=endpoint)()

    def open_store() -> Any:
        from nightingale.adapters.dynamodb import DynamoStore  # noqa: PLC0415 - half a second, for one check

        return DynamoStore(account.table, endpoint=endpoint, region=account.region)

    return [
        *account_checks(account, client, console.now, find_expiry),
        *region_checks(console.environ, client),
        *azure_checks(console.environ, client),
        *storage_checks(account, client, console.now, open_store),
    ]


def _pinned(environ: Any) -> Pinned | None:
    from nightingale_local.doctor.deployed import Pinned  # noqa: PLC0415 - see `_checks`

    names = ("NIGHTINGALE_GATEWAY_HOST", "NIGHTINGALE_GATEWAY_PORT", "NIGHTINGALE_GATEWAY_HOST_KEY")
    host, port, host_key = (environ.get(name, "").strip() for name in names)
    return Pinned(host, int(port), host_key) if host and host_key and port.isdecimal() else None


DOCTOR = Command(
    "doctor", "look whether an account or this machine is fit for the platform", _configure, _run, (DoctorOut,)
)
