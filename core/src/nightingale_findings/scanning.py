"""A folder of a cloud's log, scanned on anybody's machine: no platform, no network, no pySigma."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from nightingale_findings.compiled import CompiledRule, CompiledRules
from nightingale_findings.engine import Engine, FailedRule, locked, opened
from nightingale_findings.firing import Firing
from nightingale_findings.sources.clouds import CLOUDS
from nightingale_findings.sources.set_aside import Loaded
from nightingale_findings.sources.staging import AGAIN
from nightingale_findings.sources.wide import Progress


@dataclass(frozen=True)
class Found:
    """A firing and the rule that it is of."""

    rule: CompiledRule
    firing: Firing


@dataclass(frozen=True)
class Scan:
    """What a scan of some files answers."""

    loaded: Loaded
    found: tuple[Found, ...]
    """By time first seen, then by rule."""
    failed: tuple[FailedRule, ...]
    """Rules that could not be run on these events; the others were."""


def rules_of(source: str, sets: Iterable[CompiledRules]) -> CompiledRules:
    """Return the rules of one source out of several sets; of two with one id, the first."""
    held: dict[str, CompiledRule] = {}
    for rules in sets:
        for rule in rules.rules:
            if rule.source == source:
                held.setdefault(rule.id, rule)
    return CompiledRules(digest="", rules=tuple(sorted(held.values(), key=lambda rule: (rule.name, rule.id))))


def scan(source: str, paths: Sequence[Path], rules: CompiledRules, *, progress: Progress = lambda _: None) -> Scan:
    """Read every file below `paths` as the log of `source` (a name of CLOUDS), run the rules, and return all of it.

    What is too much for memory goes to a temporary folder, gone at the end. Raises KeyError for a name that is no
    source, duckdb.Error when the disk is full, OSError when there is no temporary folder.
    """
    cloud = CLOUDS[source]
    with tempfile.TemporaryDirectory(prefix="nightingale-scan-") as work:
        connection = opened(Path(work, "events.db"))
        try:
            loaded = cloud.load(connection, paths, progress=progress)
            found, failed = _run(locked(connection), source, rules)
        finally:
            connection.close()
    return Scan(loaded=loaded, found=found, failed=failed)


def _run(
    connection: duckdb.DuckDBPyConnection, source: str, rules: CompiledRules
) -> tuple[tuple[Found, ...], tuple[FailedRule, ...]]:
    engine = Engine(connection, rules_of(source, (rules,)), [CLOUDS[source].SOURCE])
    firings = engine.run()
    found = [Found(engine.rules[firing.rule], _with_ids_of_the_log(firing)) for firing in firings]
    found.sort(key=lambda one: (one.firing.first_seen, one.rule.name))
    return tuple(found), engine.failed


def _with_ids_of_the_log(firing: Firing) -> Firing:
    """Return the firing with the ids as the log has them, where two events had one."""
    return replace(firing, event_ids=tuple(dict.fromkeys(one.partition(AGAIN)[0] for one in firing.event_ids)))
