"""What the scans over DuckDB share: a database that is a working copy, and what findings say of its rules."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nightingale.contract.findings import ResponseKind, Severity
from nightingale.domain.finding import Hit, RuleFacts
from nightingale.ports.scanner import RuleFailed
from nightingale_findings.compiled import CompiledRule, CompiledRules
from nightingale_findings.firing import Firing

if TYPE_CHECKING:
    import duckdb

    from nightingale_findings.engine import FailedRule

_LOG = logging.getLogger(__name__)

SHIPPED = "nightingale"
"""The origin of rules that come with Nightingale."""
RULES_S = 100.0
"""Seconds that an organisation's rules may take of one scan of one source's log."""

_WHOM = ("person", "instance", "project")
_MEMORY = "500MiB"
_THREADS = 1
_MOST_WORDS = 200
_MOST_TEXT = 300
"""Characters of a person or a group's value that a finding keeps: what stood in a log may be of any length."""


class Rulebook:
    """The rules of some sources, for an engine, and what findings say of them."""

    def __init__(self, rules: CompiledRules, sources: AbstractSet[str]) -> None:
        """Take those rules of a set that are over these sources."""
        held = tuple(rule for rule in rules.rules if rule.source in sources)
        self.rules = CompiledRules(digest=rules.digest, rules=held)
        self._facts = {rule.id: facts_of(rule) for rule in held}
        self._grouped_by = {rule.id: grouped_by(rule) for rule in held}

    def failed(self, failed: Iterable[FailedRule]) -> Iterator[RuleFailed]:
        """Yield the rules that failed as the core takes them, with what to do."""
        for one in failed:
            rule = self._facts[one.rule]
            yield RuleFailed(rule.name, rule.author, one.why, _next_step(rule, one))

    def hits(self, firings: tuple[Firing, ...]) -> Iterator[Hit]:
        """Yield the firings as the core takes them."""
        for firing in firings:
            facts = self._facts.get(firing.rule)
            if facts is not None:
                yield hit_of(firing, facts, self._grouped_by[firing.rule])


def _next_step(rule: RuleFacts, failed: FailedRule) -> str:
    if rule.origin == SHIPPED:
        return "It comes with Nightingale: please report this. It is run again when something new is logged."
    if failed.rests_until is not None:
        until = f"{failed.rests_until:%Y-%m-%d %H:%MZ}"
        return f"Make it simpler and apply the cluster file again; as it is, it is run again after {until}."
    if not failed.had_turn:
        return "It has its turn again at the next scan; make the rules simpler that took the time."
    return "Try it with `nightingale admin rules test`, correct it, and apply the cluster file again."


def facts_of(rule: CompiledRule) -> RuleFacts:
    """Return what findings say of a rule."""
    return RuleFacts(
        id=rule.id,
        name=rule.name,
        title=rule.title,
        severity=Severity(rule.level),
        techniques=rule.techniques,
        author=rule.author,
        origin=rule.origin,
        response=ResponseKind(rule.response) if rule.response else None,
        next_step=rule.next_step,
        # As the engine joins them: hits of one window are one episode.
        episode_s=max(rule.episode_s, rule.correlation.span_s if rule.correlation else 0),
    )


def grouped_by(rule: CompiledRule) -> tuple[str, ...]:
    """Return which of person, instance and project are the same in all events of a firing of the rule."""
    return _WHOM if rule.correlation is None else tuple(one for one in _WHOM if one in rule.correlation.group_by)


def hit_of(firing: Firing, rule: RuleFacts, grouped: tuple[str, ...] = _WHOM) -> Hit:
    """Return a firing as the core takes it."""
    return Hit(
        rule=rule,
        person=_bounded(firing.person),
        instance=firing.instance,
        project=firing.project,
        first_seen=_aware(firing.first_seen),
        last_seen=_aware(firing.last_seen),
        event_count=firing.event_count,
        events=firing.event_ids,
        group=tuple(sorted((name, _bounded(value) or "") for name, value in firing.group.items())),
        value=firing.value,
        grouped_by=grouped,
    )


def opened_and_locked(
    database: Path, staging: Path, make_tables: Callable[[duckdb.DuckDBPyConnection], None]
) -> duckdb.DuckDBPyConnection:
    """Return a connection with its tables that reaches its own files and the folder `staging`, and nothing else.

    A rule may be somebody's own: were its SQL ever more than a condition, there is nothing to reach. Raises as
    `opened_or_anew`.
    """
    from nightingale_findings.engine import locked  # noqa: PLC0415 - see `opened_or_anew`

    connection = opened_or_anew(database)
    try:
        make_tables(connection)
        staging.mkdir(mode=0o700, exist_ok=True)
        for left in staging.iterdir():
            left.unlink()  # by a process that was killed: the database is this one's now
        return locked(connection, staging=staging)
    except BaseException:
        connection.close()
        raise


def opened_or_anew(database: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection; a file that is no database of this DuckDB is put aside, to be made anew from the log.

    Raises duckdb.Error while another process holds it, OSError.
    """
    import duckdb  # noqa: PLC0415 - whoever never scans does not load it

    from nightingale_findings.engine import opened  # noqa: PLC0415 - same

    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return opened(database, memory=_MEMORY, threads=_THREADS)
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise  # another scan runs
        _LOG.exception("the scan's database cannot be opened: it is made anew from the log")
    except (duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException):
        _LOG.exception("the scan's database is damaged: it is made anew from the log")
    for path in (database, database.with_name(database.name + ".wal")):
        if path.exists():
            path.replace(path.with_name(path.name + ".damaged"))
    return opened(database, memory=_MEMORY, threads=_THREADS)


def first_line(error: Exception) -> str:
    """Return the first line of what went wrong: the rest may repeat what stood in a log."""
    return (str(error).splitlines() or [type(error).__name__])[0][:_MOST_WORDS]


def _bounded(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
