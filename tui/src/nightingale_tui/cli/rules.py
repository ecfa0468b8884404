"""admin rules: what the rules are, and what one of them says of some events."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Colour, Console
from nightingale_tui.cli.documents import JudgedEventOut, OwnRulesListOut, RuleOut, RulesOut, RuleTestOut
from nightingale_tui.cli.exit_codes import ExitCode, UsageError
from nightingale_tui.cli.own_rules import running
from nightingale_tui.cli.parser import Parser
from nightingale_tui.cli.scanning import LEVELS, needs
from nightingale_tui.cli.table import print_table

if TYPE_CHECKING:
    from nightingale_findings.compiled import CompiledRule, CompiledRules
    from nightingale_findings.trying import Trial

_ENDINGS = (".yml", ".yaml")
_MOST_VALUE = 100


def _configure(parser: argparse.ArgumentParser) -> None:
    rooms = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    listed = _room(rooms, "list", "the rules that come with Nightingale", _list)
    listed.add_argument("--source", default="", metavar="NAME", help="of one log only")
    listed.add_argument("--level", choices=LEVELS, default="informational", help="the least severity (informational)")
    listed.add_argument(
        "--own", action="store_true", help="the organisation's own, as the platform runs them; for administrators"
    )
    listed.add_argument("--url", default=argparse.SUPPRESS, metavar="URL", help="platform, with --own")
    shown = _room(rooms, "show", "one rule: what it means, what it looks at, what to do", _show)
    shown.add_argument("rule", metavar="RULE", help="its name")
    tried = _room(rooms, "test", "run one rule over some events, and say why it matches or not", _test)
    tried.add_argument("rule", metavar="RULE", help="a rule's name, or a file in Sigma's format")
    tried.add_argument("events", type=Path, metavar="EVENTS", help="a file of events, as their log delivers them")
    tried.epilog = "Exit status: 0 it fires, 1 it does not, 2 wrong usage."


def _room(
    rooms: argparse._SubParsersAction[Parser], name: str, summary: str, run: Callable[..., int]
) -> argparse.ArgumentParser:
    parser = rooms.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}.", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_const", const="json", dest="output", help="as JSON")
    parser.set_defaults(rules_command=run)
    return parser


def _run(args: argparse.Namespace, console: Console) -> int:
    command: Callable[[argparse.Namespace, Console], int] = args.rules_command
    return command(args, console)


def _list(args: argparse.Namespace, console: Console) -> int:
    from nightingale_findings.rules import shipped  # noqa: PLC0415 - a megabyte that other commands do not need

    least = LEVELS.index(args.level)
    if args.own:
        return _list_own(args, console, least)
    rules = [
        _out(rule)
        for rule in shipped().rules
        if rule.is_finding and args.source in ("", rule.source) and LEVELS.index(rule.level) >= least
    ]
    if console.is_json:
        console.data(RulesOut(rules=tuple(rules)))
        return ExitCode.OK
    rows = [(rule.name, rule.severity, rule.source, " ".join(rule.techniques), rule.title) for rule in rules]
    print_table(console, ("NAME", "SEVERITY", "SOURCE", "TECHNIQUES", "WHAT"), rows)
    return ExitCode.OK


def _list_own(args: argparse.Namespace, console: Console, least: int) -> int:
    with connect(args, console) as connection:
        rules = tuple(
            rule
            for rule in running(connection.api)
            if args.source in ("", rule.source) and LEVELS.index(rule.level) >= least
        )
    if console.is_json:
        console.data(OwnRulesListOut(rules=rules))
        return ExitCode.OK
    rows = [(rule.name, rule.level, rule.source, rule.author, rule.title) for rule in rules]
    print_table(console, ("NAME", "SEVERITY", "SOURCE", "AUTHOR", "WHAT"), rows)
    return ExitCode.OK


def _show(args: argparse.Namespace, console: Console) -> int:
    from nightingale_findings.rules import shipped  # noqa: PLC0415 - as above

    rule = _named(args.rule, shipped())
    told = _out(rule)
    if console.is_json:
        console.data(told)
        return ExitCode.OK
    console.line(f"{told.name} ({told.severity}): {told.title}", Colour.BOLD)
    console.line(told.description)
    for label, text in (
        ("source", told.source),
        ("techniques", " ".join(told.techniques)),
        ("looks at", " ".join(told.fields)),
        ("may be", "; ".join(told.falsepositives)),
        ("do first", told.next_step),
        ("response", told.response),
    ):
        if text:
            console.line(f"{label + ':':<12}{text}")
    return ExitCode.OK


def _test(args: argparse.Namespace, console: Console) -> int:
    needs("duckdb", "scan", "Trying a rule")
    from nightingale_findings.sigma.known import every_source  # noqa: PLC0415 - half a second, for this command only
    from nightingale_findings.trying import try_rule  # noqa: PLC0415 - same

    rule, rules = _asked(args.rule)
    try:
        trial = try_rule(rule, rules, every_source(), args.events)
    except OSError as error:
        raise UsageError(f"The events cannot be read: {error}.") from error
    for failed in trial.failed:
        console.note(f"warning: {failed.rule} could not be run on these events: {failed.why}")
    for aside in trial.loaded.set_aside:
        console.note(f"set aside: {aside.file}{f':{aside.line}' if aside.line else ''}: {aside.why}")
    if console.is_json:
        console.data(_tested(trial))
    else:
        _tell(console, trial)
    return ExitCode.OK if trial.firings else ExitCode.FAILED


def _asked(name: str) -> tuple[CompiledRule, CompiledRules]:
    """Return the rule of a name or a file, and the set it is of."""
    from nightingale_findings.rules import shipped  # noqa: PLC0415 - as above

    if not name.endswith(_ENDINGS):
        rules = shipped()
        return _named(name, rules), rules
    needs("sigma", "rules", "Reading a rule")
    from nightingale_findings.compiled import RuleRefusedError  # noqa: PLC0415 - for files only
    from nightingale_findings.sigma import compile_rules  # noqa: PLC0415 - same
    from nightingale_findings.sigma.folders import read_folders  # noqa: PLC0415 - same
    from nightingale_findings.sigma.known import every_source  # noqa: PLC0415 - same

    try:
        rules = compile_rules(read_folders([Path(name)]), every_source())
    except RuleRefusedError as error:
        raise ClientError("rule_refused", str(error), error.next_step) from error
    except OSError as error:
        raise UsageError(f"The rule cannot be read: {error}.") from error
    told = [rule for rule in rules.rules if rule.is_finding]
    if not told:
        raise UsageError(f"{name} holds no rule that makes findings.")
    return told[0], rules


def _named(name: str, rules: CompiledRules) -> CompiledRule:
    for rule in rules.rules:
        if name in (rule.name, rule.id):
            return rule
    import difflib  # noqa: PLC0415 - for a wrong name only

    near = difflib.get_close_matches(name, [rule.name for rule in rules.rules], n=3)
    raise UsageError(
        f"There is no rule {name}.",
        f"Did you mean {' or '.join(near)}?" if near else "`nightingale admin rules list` tells their names.",
    )


def _out(rule: CompiledRule) -> RuleOut:
    return RuleOut(
        name=rule.name,
        id=rule.id,
        title=rule.title,
        description=rule.description,
        severity=rule.level,
        source=rule.source,
        techniques=rule.techniques,
        fields=rule.fields,
        falsepositives=rule.falsepositives,
        response=rule.response,
        next_step=rule.next_step,
        author=rule.author,
        origin=rule.origin,
    )


def _tested(trial: Trial) -> RuleTestOut:
    return RuleTestOut(
        rule=trial.rule.name,
        fires=bool(trial.firings),
        findings=len(trial.firings),
        value=max((firing.value for firing in trial.firings if firing.value is not None), default=None),
        set_aside=trial.loaded.set_aside_count,
        events=tuple(
            JudgedEventOut(event_id=one.event_id, rule=one.rule, matches=one.is_match, fields=one.fields)
            for one in trial.events
        ),
    )


def _tell(console: Console, trial: Trial) -> None:
    for one in trial.events:
        console.line(
            f"{'+' if one.is_match else '-'} {one.event_id}  {one.rule}", Colour.GREEN if one.is_match else None
        )
        for name, value in one.fields.items():
            shown = (
                "(not there)" if value is None else value if len(value) <= _MOST_VALUE else f"{value[:_MOST_VALUE]}…"
            )
            console.line(f"    {name} = {shown}")
    matched = sum(one.is_match for one in trial.events)
    console.line()
    if trial.firings:
        told = _counted(trial.firings[0].value)
        console.line(f"{trial.rule.name} fires: {matched} of {len(trial.events)} events match{told}")
    elif matched:
        console.line(f"{trial.rule.name} does not fire: {matched} events match, and that is not enough.")
    else:
        console.line(f"{trial.rule.name} does not fire: none of {len(trial.events)} events matches.")


def _counted(value: float | None) -> str:
    return "." if value is None else f"; it counted {value:g}."


COMMANDS = (
    Command(
        "rules",
        "the rules: list, show, test one on some events",
        _configure,
        _run,
        (RulesOut, OwnRulesListOut, RuleOut, RuleTestOut),
    ),
)
