"""argparse as this command line uses it: errors in our words, shared flags in one place."""

from __future__ import annotations

import argparse
from typing import NoReturn

from nightingale_tui.cli.exit_codes import UsageError


class Parser(argparse.ArgumentParser):
    """Raises UsageError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the parser's words."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"See `{self.prog} --help`.")


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Add --url, and -o/--output and --json."""
    # SUPPRESS everywhere: a flag given before the command's name must survive the command's own default.
    parser.add_argument(
        "--url", default=argparse.SUPPRESS, metavar="URL", help="platform (or NIGHTINGALE_URL; several: a,b)"
    )
    parser.add_argument(
        *("-o", "--output"), choices=("text", "json"), default=argparse.SUPPRESS, help="how the result is written"
    )
    parser.add_argument(
        "--json", action="store_const", const="json", dest="output", default=argparse.SUPPRESS, help="same as -o json"
    )


def add_project_flag(parser: argparse.ArgumentParser) -> None:
    """Add the server's flags and --project."""
    add_server_flags(parser)
    parser.add_argument(
        *("-p", "--project"), default=argparse.SUPPRESS, metavar="PROJECT", help="project (or NIGHTINGALE_PROJECT)"
    )


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add the project's flags and the instance's name."""
    add_project_flag(parser)
    parser.add_argument("name", metavar="NAME", help="the instance, by name or id")


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add -y/--yes."""
    parser.add_argument("-y", "--yes", action="store_true", default=argparse.SUPPRESS, help="do not ask")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Add --wait/--no-wait; waiting is the default."""
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="wait until it is done (default) or not"
    )
