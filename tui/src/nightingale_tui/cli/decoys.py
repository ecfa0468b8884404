"""admin honeypot plant: decoys beside a dataset's files, and what the cluster file is told of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from nightingale.contract.schemas import Out
from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode

_KINDS = ("dicom", "nifti", "csv", "aws", "ssh", "token")


class HoneypotsOut(Out, frozen=True):
    """What was planted: `paths` inside the dataset and `keys`, for `honeypots` of the dataset in the cluster file."""

    paths: tuple[str, ...]
    keys: tuple[str, ...]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("plant",), metavar="plant", help="write decoys into a dataset's folder")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="folder of one version of a dataset")
    parser.add_argument("--kind", choices=_KINDS, required=True, help="what the decoy is")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many files (default 1)")
    parser.add_argument("--like", type=Path, metavar="FILE", help="a file to take after (default: one beside it)")
    parser.add_argument(
        "--json", action="store_const", const="json", dest="output", default=argparse.SUPPRESS, help="one JSON object"
    )
    parser.epilog = (
        "It asks no platform. No value of a patient is copied; identifiers are made up. Mark what it prints in the "
        "cluster file, then `nightingale admin apply`. Researchers are not told which files are decoys."
    )


def _run(args: argparse.Namespace, console: Console) -> int:
    from nightingale_findings.honeypots import PlantError, plant  # noqa: PLC0415 - for this command only

    try:
        planted = plant(args.dataset, args.kind, count=args.count, like=args.like)
    except PlantError as error:
        raise ClientError("not_planted", f"{error}.", error.next_step) from error
    if console.is_json:
        console.data(HoneypotsOut(paths=planted.paths, keys=planted.keys))
        return ExitCode.OK
    import yaml  # noqa: PLC0415 - for what is pasted into the cluster file only

    known = {name: list(value) for name, value in (("paths", planted.paths), ("keys", planted.keys)) if value}
    console.line(yaml.safe_dump({"honeypots": known}, sort_keys=False, allow_unicode=True).rstrip())
    console.note("Put this into the dataset's entry of the cluster file, beside what is there, and apply it.")
    if args.kind == "aws" and args.like is None:
        console.note(
            "A made-up key leaves no trace in CloudTrail: docs/how-to/honeypots.md says how to plant one that does."
        )
    return ExitCode.OK


COMMANDS = (Command("honeypot", "plant decoys in a dataset", _configure, _run, (HoneypotsOut,)),)
