"""findings: what rules saw in the logs; show one, acknowledge, close, decide, and hand them to other tools."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nightingale.contract.findings import (
    MOST_NOTE,
    FindingDecisionIn,
    FindingDetailOut,
    FindingOut,
    FindingsOut,
    FindingState,
    FindingUpdateIn,
    Severity,
)
from nightingale_tui import findings as words
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import Connection, connect
from nightingale_tui.cli.console import Colour, Console
from nightingale_tui.cli.documents import FindingsExportOut
from nightingale_tui.cli.exit_codes import ExitCode, UsageError
from nightingale_tui.cli.finding_lines import detail_lines
from nightingale_tui.cli.parser import add_project_flag, add_server_flags
from nightingale_tui.cli.table import print_table
from nightingale_tui.cli.wording import ago

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAGE = 500
_FOLLOW_S = 2.0
_COLOURS = {Severity.CRITICAL: Colour.RED, Severity.HIGH: Colour.RED, Severity.MEDIUM: Colour.YELLOW}
_MOVES = {
    "ack": (FindingState.ACKNOWLEDGED, "somebody looks into it"),
    "resolve": (FindingState.RESOLVED, "it is dealt with"),
    "false-alarm": (FindingState.FALSE_ALARM, "it was nothing; the note says why"),
    "reopen": (FindingState.OPEN, "it is open again"),
}
_DECISIONS = {
    "confirm": "say yes to an action that waits: it is done at once",
    "dismiss": "say no to an action that waits",
}


def _configure(parser: argparse.ArgumentParser) -> None:
    add_project_flag(parser)
    _add_filters(parser)
    parser.add_argument("--follow", action="store_true", help="go on with what is new or changes, until Ctrl-C")
    parser.set_defaults(act=_list)
    acts = parser.add_subparsers(title="about one finding", metavar="ACT")
    show = acts.add_parser("show", help="one finding and the events behind it", allow_abbrev=False)
    _of_one(show, _show)
    for name, (state, summary) in _MOVES.items():
        sub = acts.add_parser(name, help=summary, allow_abbrev=False)
        _of_one(sub, _mover(state))
        is_needed = state is FindingState.FALSE_ALARM
        sub.add_argument("--note", required=is_needed, default="", help=f"why, at most {MOST_NOTE} characters")
    for name, summary in _DECISIONS.items():
        sub = acts.add_parser(name, help=summary, allow_abbrev=False)
        _of_one(sub, _decider(name))
        sub.add_argument("--note", default="", help="why")
    export = acts.add_parser("export", help="findings as files for other tools", allow_abbrev=False)
    add_server_flags(export)
    _add_filters(export)
    export.add_argument("--ocsf", metavar="DIR|s3://BUCKET/PREFIX", help="OCSF 1.3 Detection Findings, JSON lines")
    export.add_argument("--opensearch", metavar="FILE", type=Path, help="a bulk file for OpenSearch")
    export.set_defaults(act=_export)
    parser.epilog = "Without --state: what nobody has closed. --json --follow writes one finding a line."


def _add_filters(parser: argparse.ArgumentParser) -> None:
    states = ("open", "acknowledged", "resolved", "false_alarm", "all")
    parser.add_argument("--state", choices=states, help="in this state (default: open and acknowledged)")
    parser.add_argument("--severity", choices=[one.value for one in Severity], help="at least so bad")
    parser.add_argument("--person", metavar="NAME", help="whose events they are")
    parser.add_argument("--rule", metavar="NAME", help="by this rule")


def _of_one(parser: argparse.ArgumentParser, act: Callable[[argparse.Namespace, Console], int]) -> None:
    add_server_flags(parser)
    parser.add_argument("finding", metavar="ID", help="the finding, as `nightingale findings` lists it")
    parser.set_defaults(act=act)


def _run(args: argparse.Namespace, console: Console) -> int:
    status: int = args.act(args, console)
    return status


def _settle_project(args: argparse.Namespace, console: Console, connection: Connection) -> None:
    """Let who is no administrator look at their project's findings, without asking for those of all in vain."""
    if getattr(args, "project", None) is None and not connection.api.get_me().is_admin:
        args.project = connection.project()
        console.note(f"Findings of {args.project}; those of every project are for administrators.")


def _page(args: argparse.Namespace, connection: Connection, cursor: str | None = None) -> FindingsOut:
    """Return a page: of one project where that is told, which its auditors may ask for too."""
    state = None if args.state == "all" else args.state or "unresolved"
    filters = {"state": state, "severity": args.severity, "person": args.person, "rule": args.rule}
    project = getattr(args, "project", None)
    if project is None:
        return connection.api.list_findings(cursor=cursor, limit=_PAGE, filters=filters)
    return connection.api.list_project_findings(project, cursor=cursor, limit=_PAGE, filters=filters)


def _all(args: argparse.Namespace, connection: Connection) -> FindingsOut:
    page = _page(args, connection)
    found = [*page.findings]
    cursor = page.next_cursor
    while cursor is not None:
        more = _page(args, connection, cursor)
        found += more.findings
        cursor = more.next_cursor
    return FindingsOut(findings=tuple(found), scan=page.scan)


def _list(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        _settle_project(args, console, connection)
        found = _all(args, connection)
        if args.follow:
            _follow(args, console, connection, found)
        elif console.is_json:
            console.data(found)
        else:
            _print(console, found)
    return ExitCode.OK


def _print(console: Console, found: FindingsOut) -> None:
    if trouble := words.scan_trouble(found.scan):
        console.note(trouble)
    if not found.findings:
        console.note("No findings.")
    print_table(
        console,
        ("ID", "SEVERITY", "STATE", "LAST SEEN", "PERSON", "INSTANCE", "PROJECT", "EVENTS", "DONE", "RULE"),
        [
            (
                one.id,
                words.severity(one),
                words.STATES[one.state],
                ago(one.last_seen, console.now()),
                one.person or "",
                one.instance or "",
                one.project or "",
                str(one.event_count),
                words.done(one),
                one.rule,
            )
            for one in found.findings
        ],
        right=frozenset({"EVENTS"}),
    )


def _follow(args: argparse.Namespace, console: Console, connection: Connection, found: FindingsOut) -> None:
    """Write each finding when it comes, grows or is changed; what cannot be asked for a while is noted once."""
    seen: dict[str, FindingOut] = {}
    trouble = ""
    while True:
        for one in reversed(found.findings):
            if seen.get(one.id) != one:
                _line(console, one)
                seen[one.id] = one
        if (now := words.scan_trouble(found.scan)) != trouble:
            console.note(now or "The scan of the logs is well again.")
            trouble = now
        console.stdout.flush()
        console.sleep(_FOLLOW_S)
        found = _all(args, connection)


def _line(console: Console, one: FindingOut) -> None:
    if console.is_json:
        import msgspec  # noqa: PLC0415 - `--help` needs none of it

        print(msgspec.json.encode(one).decode(), file=console.stdout)
        return
    parts = (words.moment(one.last_seen), one.id, words.severity(one), words.STATES[one.state], one.rule)
    done = f"  [{words.done(one)}]" if words.done(one) else ""
    console.line("  ".join((*parts, words.about(one))) + done, _COLOURS.get(one.severity))


def _show(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        detail = connection.api.get_finding(args.finding)
    if console.is_json:
        console.data(detail)
        return ExitCode.OK
    for line in detail_lines(detail):
        console.line(line)
    return ExitCode.OK


def _mover(state: FindingState) -> Callable[[argparse.Namespace, Console], int]:
    def move(args: argparse.Namespace, console: Console) -> int:
        with connect(args, console) as connection:
            seen = connection.api.get_finding(args.finding).finding
            body = FindingUpdateIn(state=state, revision=seen.revision, note=_note(args))
            return _tell(console, connection.api.update_finding(args.finding, body))

    return move


def _decider(name: str) -> Callable[[argparse.Namespace, Console], int]:
    def decide(args: argparse.Namespace, console: Console) -> int:
        with connect(args, console) as connection:
            seen = connection.api.get_finding(args.finding).finding
            waits = words.waiting(seen)
            if waits is None:
                raise UsageError(f"Nothing about {seen.id} waits for a decision.", f"See `findings show {seen.id}`.")
            body = FindingDecisionIn(action=waits.kind, revision=seen.revision, note=_note(args))
            call = connection.api.confirm_finding_action if name == "confirm" else connection.api.dismiss_finding_action
            return _tell(console, call(args.finding, body))

    return decide


def _note(args: argparse.Namespace) -> str:
    note: str = args.note
    if len(note) > MOST_NOTE:
        raise UsageError(f"The note has {len(note)} characters.", f"At most {MOST_NOTE}.")
    return note


def _tell(console: Console, after: FindingOut) -> int:
    if console.is_json:
        console.data(after)
    else:
        done = f"; {words.done(after)}" if words.done(after) else ""
        console.line(f"{after.id} is {words.STATES[after.state]}{done}.")
    return ExitCode.OK


def _export(args: argparse.Namespace, console: Console) -> int:
    from nightingale_tui import findings_export as export  # noqa: PLC0415 - for this command only
    from nightingale_tui.cli.exported_files import write_lines  # noqa: PLC0415 - same

    if not args.ocsf and args.opensearch is None:
        raise UsageError("Say what to write.", "`--ocsf DIR`, `--ocsf s3://BUCKET/PREFIX` or `--opensearch FILE`.")
    args.state = args.state or "all"
    with connect(args, console) as connection:
        _settle_project(args, console, connection)
        found = _all(args, connection).findings
        version = connection.api.get_health().version
    written: list[str] = []
    if args.ocsf:
        name = f"nightingale-findings-{console.now():%Y%m%dT%H%M%SZ}.jsonl"
        target = f"{args.ocsf.rstrip('/')}/{name}"
        written.append(write_lines(target, export.ocsf_lines(found, version)))
    if args.opensearch is not None:
        written.append(write_lines(str(args.opensearch), export.opensearch_lines(found)))
    return _told(console, len(found), written)


def _told(console: Console, count: int, written: Iterable[str]) -> int:
    if console.is_json:
        console.data(FindingsExportOut(findings=count, files=tuple(written)))
    else:
        for target in written:
            console.line(f"{count} findings in {target}.")
    return ExitCode.OK


COMMANDS = (
    Command(
        "findings",
        "what rules saw in the logs, and what was done about it",
        _configure,
        _run,
        (FindingsOut, FindingDetailOut, FindingOut, FindingsExportOut),
    ),
)
