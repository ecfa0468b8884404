"""admin scan: a folder of a cloud's log against the rules, on this machine, without a platform."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.console import Colour, Console
from nightingale_tui.cli.documents import ScannedFindingOut, ScanOut, SetAsideOut
from nightingale_tui.cli.exit_codes import ExitCode, UsageError
from nightingale_tui.cli.table import print_table

if TYPE_CHECKING:
    from nightingale_findings.compiled import CompiledRules
    from nightingale_findings.scanning import Found, Scan

SOURCES = ("cloudtrail", "s3_access", "azure_activity", "gcp_audit")
LEVELS = ("informational", "low", "medium", "high", "critical")
_MOST_SHOWN_ASIDE = 5
_FILES_BETWEEN_NOTES = 1000
_COLOURS = {"critical": Colour.RED, "high": Colour.RED, "medium": Colour.YELLOW}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files and folders of the log, gzip or not")
    parser.add_argument("--source", required=True, choices=SOURCES, help="whose log it is")
    parser.add_argument(
        "--rules",
        action="append",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="rules in Sigma's format, used beside the shipped ones; may be given again",
    )
    parser.add_argument(
        "--level", choices=LEVELS, default="informational", help="the least severity told (informational)"
    )
    parser.add_argument("--json", action="store_const", const="json", dest="output", help="one JSON object on stdout")
    parser.epilog = "Needs no platform and no login. Exit status: 0 scanned, whatever was found; 2 wrong usage."


def _scan(args: argparse.Namespace, console: Console) -> int:
    needs("duckdb", "scan", "Scanning")
    from nightingale_findings.rules import shipped  # noqa: PLC0415 - half a second that other commands do not need
    from nightingale_findings.scanning import rules_of, scan  # noqa: PLC0415 - same

    for path in (*args.paths, *args.rules):
        if not path.exists():
            raise UsageError(f"There is no such file or folder: {path}.")
    sets = [shipped()]
    refused: tuple[str, ...] = ()
    if args.rules:
        own, refused = organisation_rules(args.rules, console)
        sets.append(own)
    read = _Read(console)
    result = scan(args.source, args.paths, rules_of(args.source, sets), progress=read)
    for failed in result.failed:
        console.note(f"warning: the rule {failed.rule} could not be run on these events: {failed.why}")
    told = _out(args, result, refused)
    if console.is_json:
        console.data(told)
    else:
        _show(console, told)
    return ExitCode.OK


class _Read:
    """Tells now and then how many files were read."""

    def __init__(self, console: Console) -> None:
        self._console, self._count = console, 0

    def __call__(self, path: Path) -> None:
        del path
        self._count += 1
        if self._count % _FILES_BETWEEN_NOTES == 0:
            self._console.note(f"{self._count} files read")


def needs(module: str, extra: str, what: str) -> None:
    """Raise ClientError, with what to install, if `module` is not there."""
    from importlib.util import find_spec  # noqa: PLC0415 - for commands over rules only

    if find_spec(module) is None:
        raise ClientError(
            "unavailable",
            f"{what} needs {module}, which is not installed here.",
            f"Install it: `pip install 'nightingale-core[{extra}]'`.",
        )


def organisation_rules(folders: list[Path], console: Console) -> tuple[CompiledRules, tuple[str, ...]]:
    """Return the rules of the organisation's folders that can be run, and why the others cannot, each told on stderr.

    Raises ClientError without pySigma, UsageError for a folder that cannot be read.
    """
    needs("sigma", "rules", "Reading rules")
    from nightingale_findings.compiled import RuleRefusedError  # noqa: PLC0415 - for this flag only
    from nightingale_findings.sigma import check_rules  # noqa: PLC0415 - same
    from nightingale_findings.sigma.folders import read_folders  # noqa: PLC0415 - same
    from nightingale_findings.sigma.known import every_source  # noqa: PLC0415 - same

    try:
        files = read_folders(folders)
    except RuleRefusedError as error:
        raise UsageError(str(error), error.next_step) from error
    except OSError as error:
        raise UsageError(f"The rules cannot be read: {error}.") from error
    rules, refused = check_rules(files, every_source(), origin="organisation")
    for one in refused:
        console.note(f"refused: {one}" + (f" ({one.next_step})" if one.next_step else ""))
    return rules, tuple(str(one) for one in refused)


def _out(args: argparse.Namespace, result: Scan, refused: tuple[str, ...]) -> ScanOut:
    least = LEVELS.index(args.level)
    return ScanOut(
        source=args.source,
        events_read=result.loaded.events,
        duplicates=result.loaded.duplicates,
        set_aside=result.loaded.set_aside_count,
        set_aside_first=tuple(
            SetAsideOut(file=one.file, line=one.line, why=one.why, head=one.head) for one in result.loaded.set_aside
        ),
        rules_refused=refused,
        rules_failed=tuple(f"{failed.rule}: {failed.why}" for failed in result.failed),
        findings=tuple(_finding(one) for one in result.found if LEVELS.index(one.rule.level) >= least),
    )


def _finding(found: Found) -> ScannedFindingOut:
    rule, firing = found.rule, found.firing
    return ScannedFindingOut(
        rule=rule.name,
        title=rule.title,
        severity=rule.level,
        techniques=rule.techniques,
        first_seen=firing.first_seen,
        last_seen=firing.last_seen,
        event_ids=firing.event_ids,
        event_count=firing.event_count,
        person=firing.person,
        group=dict(firing.group),
        value=firing.value,
        next_step=rule.next_step,
        origin=rule.origin,
        author=rule.author,
    )


def _show(console: Console, told: ScanOut) -> None:
    ranked = sorted(told.findings, key=lambda one: (-LEVELS.index(one.severity), one.first_seen, one.rule))
    rows = [
        (
            one.severity,
            f"{one.first_seen:%Y-%m-%d %H:%M:%SZ}",
            str(one.event_count),
            one.person or "",
            one.rule,
            " ".join(one.techniques),
            one.title,
        )
        for one in ranked
    ]
    head = ("SEVERITY", "FIRST SEEN", "EVENTS", "PERSON", "RULE", "TECHNIQUES", "WHAT")
    print_table(console, head, rows, right=frozenset({"EVENTS"}))
    counted: dict[str, Any] = {}
    for one in told.findings:
        counted[one.severity] = counted.get(one.severity, 0) + 1
    kinds = ", ".join(f"{counted[level]} {level}" for level in reversed(LEVELS) if level in counted) or "none"
    console.line()
    worst = next((level for level in reversed(LEVELS) if level in counted), "")
    console.line(f"{len(told.findings)} findings ({kinds}) in {told.events_read} events.", _COLOURS.get(worst))
    if told.duplicates:
        console.note(f"{told.duplicates} events were there twice and were counted once.")
    if told.set_aside:
        console.note(f"{told.set_aside} lines, events or files could not be read and were set aside:")
        for aside in told.set_aside_first[:_MOST_SHOWN_ASIDE]:
            console.note(f"  {aside.file}{f':{aside.line}' if aside.line else ''}: {aside.why}")
        if told.set_aside > _MOST_SHOWN_ASIDE:
            console.note("  ... (--json tells the first hundred)")


COMMANDS = (
    Command("scan", "look through a cloud's log on this machine, without a platform", _configure, _scan, (ScanOut,)),
)
