"""The organisation's own rules of a cluster file: read and compiled here, uploaded before the file is applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nightingale_tui.api.errors import ClientError
from nightingale_tui.cli.console import Console

if TYPE_CHECKING:
    from nightingale.contract.rules import CompiledRule, OwnRuleOut
    from nightingale.contract.schemas import ClusterChangeOut, ClusterIn
    from nightingale_tui.api.client import Api

OwnRules = tuple["CompiledRule", ...]

_TRIES = 3
_PAGE = 500
replace = msgspec.structs.replace


def with_rules(cluster: ClusterIn, folder: Path, console: Console) -> tuple[ClusterIn, OwnRules]:
    """Return the cluster with the digest of the rules that its folders hold, and these rules.

    Each rule that is not taken is told on stderr with why; the others go on. Raises UsageError for a folder that cannot
    be read, ClientError when no rule at all is left, or without pySigma.
    """
    if cluster.findings is None or not cluster.findings.rules:
        return cluster, ()
    from nightingale.contract.rules import MOST_RULES, set_digest  # noqa: PLC0415 - for files with rules only
    from nightingale_findings.rules import shipped  # noqa: PLC0415 - same
    from nightingale_tui.cli.scanning import needs, organisation_rules  # noqa: PLC0415 - same

    needs("duckdb", "scan", "Reading rules")
    compiled, _ = organisation_rules([folder / path for path in cluster.findings.rules], console)
    known = {rule.id for rule in shipped().rules}
    rules = tuple(rule for rule in compiled.rules if _fits(rule, known, console))
    if not rules or len(rules) > MOST_RULES:
        named = ", ".join(cluster.findings.rules)
        words = f"has {len(rules)} rules, more than {MOST_RULES}" if rules else "holds no rule that can be run"
        raise ClientError(
            "invalid_rules", f"What the file names under `findings: rules:` ({named}) {words}.", "Nothing was applied."
        )
    findings = replace(cluster.findings, rules_digest=set_digest(rules))
    return replace(cluster, findings=findings), rules


def _fits(rule: CompiledRule, known: AbstractSet[str], console: Console) -> bool:
    """Return whether the platform takes the rule; if not, say why."""
    from nightingale.contract.rules import parts_of  # noqa: PLC0415 - as above

    try:
        msgspec.convert(msgspec.to_builtins(rule), type(rule))
        parts_of([rule])
    except ValueError as error:  # msgspec's own are ValueErrors too
        console.note(f"refused: {rule.name}: {error}")
        return False
    if rule.id in known:
        console.note(f"refused: {rule.name}: a rule of its id comes with Nightingale, and that one is run")
        return False
    return True


def upload(api: Api, rules: OwnRules) -> None:
    """Upload the rules, unless the platform has them. Raises ClientError when it does not have all of them in the end.

    A set that it holds already costs one call.
    """
    if not rules:
        return
    from nightingale.contract.rules import RulesPartIn, parts_of, set_digest  # noqa: PLC0415 - for rules only

    digest, parts = set_digest(rules), parts_of(rules)
    wanted: tuple[int, ...] = tuple(range(1, len(parts) + 1))
    for _ in range(_TRIES):
        for part in wanted:
            body = RulesPartIn(digest=digest, part=part, parts=len(parts), rules=parts[part - 1])
            answer = api.upload_rules(body)
            if answer.is_whole:
                return
        wanted = answer.missing
    raise ClientError("invalid_rules", "The rules could not be uploaded whole.", "Apply again.")


def tell_changes(api: Api, changes: Iterable[ClusterChangeOut], rules: OwnRules, console: Console) -> None:
    """Say on stderr how many rules come, change and go; nothing where that is none."""
    from nightingale.contract.rules import rule_digest  # noqa: PLC0415 - as above

    if not any(change.key.startswith("findings.rules") for change in changes):
        return
    now = {rule.id: rule.digest for rule in running(api)}
    then = {rule.id: rule_digest(rule) for rule in rules}
    come, go = len(then.keys() - now.keys()), len(now.keys() - then.keys())
    change = sum(now[name] != then[name] for name in now.keys() & then.keys())
    if come or go or change:
        console.note(f"Rules of your own: {come} come, {change} change, {go} go; {len(then)} then run.")


def running(api: Api) -> Iterator[OwnRuleOut]:
    """Yield the organisation's rules that the platform runs, in order of name."""
    cursor = None
    while True:
        page = api.list_rules(cursor=cursor, limit=_PAGE)
        yield from page.rules
        cursor = page.next_cursor
        if cursor is None:
            return
