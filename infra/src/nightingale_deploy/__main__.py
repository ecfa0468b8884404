"""The command: `python -m nightingale_deploy deploy|destroy aws --settings FILE`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from nightingale_deploy.refusal import DeployError

_REFUSED = 1
_INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run", description="The control plane in a cloud.")
    tasks = parser.add_subparsers(dest="task", required=True)
    for task, words in (
        ("deploy", "make it or bring it up to date"),
        ("destroy", "take it down, but for the audit log"),
    ):
        one = tasks.add_parser(task, help=words, description=f"{words.capitalize()}. The plan is shown first.")
        one.add_argument("cloud", choices=["aws"])
        one.add_argument("--settings", type=Path, default=Path("nightingale-aws.json"), metavar="FILE")
        one.add_argument("-y", "--yes", action="store_true", help="do not ask")
        one.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
        one.add_argument("--override", type=Path, metavar="FOLDER", help="Terraform override files of your own")
        one.add_argument("--checkout", type=Path, default=Path.cwd(), help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status. What was made is printed as JSON."""
    told = _parser().parse_args(arguments)
    from nightingale_deploy import aws  # noqa: PLC0415 - not for `--help`

    orders = aws.Orders(told.checkout.resolve(), told.settings, told.yes, told.dry_run, told.override)
    try:
        made = aws.deploy(orders) if told.task == "deploy" else aws.destroy(orders)
    except DeployError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        return _REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("\nerror: interrupted\nhint: type the same again; it goes on from where it is\n")
        return _INTERRUPTED
    sys.stdout.write(json.dumps(made, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
