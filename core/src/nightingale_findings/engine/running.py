"""The engine: compiled rules over tables of events, answering one firing an episode."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import duckdb

from nightingale_findings.compiled import CompiledRule, CompiledRules, Correlation
from nightingale_findings.engine import explain, prefilter, windows
from nightingale_findings.engine.episodes import COLUMNS, FEW, HITS, Part, few_parts, firing, joined, parts
from nightingale_findings.engine.explain import Explained
from nightingale_findings.engine.matching import STOPPED, FailedRule, Matches, match, passing, reason
from nightingale_findings.engine.relations import relation, spellings
from nightingale_findings.engine.sql import named, text
from nightingale_findings.engine.windows import Matched, alias_of
from nightingale_findings.firing import Firing
from nightingale_findings.logsource import LogSource


@dataclass(frozen=True)
class LookedAt:
    """The part of the events that a correlation is run over."""

    stretches: tuple[windows.Stretch, ...]
    matches: Callable[[str], str]
    """A query of matches to one of those that matter."""
    hits: Callable[[str], str] = str
    """A query of hits, likewise."""


_NEAR = "nightingale_near"

_FEW = 20_000
"""Matches that are looked at as they are: to find those that matter would take as long."""


class Engine:
    """Runs rules over the sources' tables in a connection; makes temporary tables there, changes nothing else."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, rules: CompiledRules, sources: Sequence[LogSource]
    ) -> None:
        """Take the connection that holds the sources' tables; rules of other sources are not run."""
        self.connection = connection
        self.rules = MappingProxyType({rule.id: rule for rule in rules.rules})
        self.sources = MappingProxyType({source.name: source for source in sources})
        self.failed: tuple[FailedRule, ...] = ()
        """The rules that failed in the last run, and why; the others went on."""

    def run(self) -> tuple[Firing, ...]:
        """Return the firings over all events that stand in the tables, in order of rule, group and time.

        Raises duckdb.Error when a source's table is not there, when memory ends, or when it is interrupted.
        """
        found = joined(self.parts(), self.rules.values())
        return tuple(firing(part, self.rules[part.rule]) for part in found)

    def explain(self, rule_id: str) -> list[Explained]:
        """Return what the rule saw: a row for each event of its source, matched or not, and the values it asked about.

        Of a correlation first those of its rules, then a row for each of their matches: what the window came to that
        ends there. Raises KeyError for a rule that is not here, duckdb.Error for one that fails.
        """
        rule = self.rules[rule_id]
        if rule.correlation is None:
            return explain.plain(self.connection, rule, self.sources[rule.source])
        rows = [row for member in rule.correlation.rules for row in self.explain(member)]
        held: dict[str, Matched] = {}
        for source in self.sources.values():
            held |= self.plain(source, hits=False)
        return rows + explain.correlation(self.connection, rule, [held[member] for member in rule.correlation.rules])

    def parts(self) -> tuple[Part, ...]:
        """Fill the table of hits and return its episodes; `failed` says which rules could not be run."""
        self.failed = ()
        few = self._few()
        if few is not None:
            return few
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {HITS} ({COLUMNS})")
        held: dict[str, Matched] = {}
        for source in self.sources.values():
            held |= self.plain(source)
        for rule in self.rules.values():
            if rule.correlation is not None and rule.is_finding:
                self.correlate(rule, held)
        return parts(self.connection, self.rules.values())

    def _few(self) -> tuple[Part, ...] | None:
        """Return the episodes of the only rule, where it is a plain one over a table's own columns and matches little.

        To plan what a table of hits takes costs a fifth of looking for a path in five million events. One that matches
        much is run again, into the table.
        """
        rule = next(iter(self.rules.values())) if len(self.rules) == 1 else None
        source = self.sources.get(rule.source) if rule is not None else None
        if rule is None or rule.where is None or not rule.is_finding or source is None or source.is_wide:
            return None
        try:
            found = _hits(rule, passing(relation(self.connection, source, rule.fields), rule.where), "true")
            hits = self.connection.execute(found).fetchmany(FEW + 1)
        except STOPPED:
            raise
        except duckdb.Error as failed:
            self.fail(rule, reason(failed))
            return ()
        return few_parts(hits, [rule]) if len(hits) <= FEW else None

    def plain(
        self,
        source: LogSource,
        only: str = "true",
        *,
        hits: bool = True,
        among: Collection[str] | None = None,
        apart: str = "",
    ) -> dict[str, Matched]:
        """Match the plain rules of a source; return, for those that correlations are over, where their matches are.

        `only` is a condition on the table's own columns. Without `hits` nothing is put into the table of hits. `among`
        are the ids of the rules to match, all if it is None; `apart` tells their table of matches from another's.
        """
        rules = [rule for rule in self.rules.values() if rule.where is not None and rule.source == source.name]
        rules = rules if among is None else [rule for rule in rules if rule.id in among]
        needed = self._needed()
        members = [rule for rule in rules if rule.id in needed]
        told = [rule for rule in rules if rule.is_finding and hits]
        asked = list({rule.id: rule for rule in (*told, *members)}.values())
        if not asked:
            return {}
        fields = [name for rule in asked for name in (*rule.fields, *needed.get(rule.id, ()))]
        events = relation(self.connection, source, fields, only)
        kept = spellings(name for rule in members for name in needed[rule.id])
        keep = [names[0] for names in kept.values()] if source.is_wide else None
        types = dict(source.fields or {})
        tables: tuple[Matches, ...] = ()
        if len(told) == 1 and not source.is_wide:
            self._hit_alone(told[0], events)
        else:
            name = f"nightingale_matches_{source.name}{apart}" + ("" if hits else "_before")
            tables, failed = match(self.connection, events, asked if source.is_wide else told, table=name, keep=keep)
            self.failed += tuple(one for one in failed if hits)
        for table in tables:
            for rule in told:
                if rule.id in table.columns:
                    self._hit(rule, named(table.table), table.columns[rule.id])
        if not source.is_wide:
            return {rule.id: Matched(rule, events, rule.where or "false", types) for rule in members}
        return {
            rule.id: Matched(rule, named(table.table), table.columns[rule.id], types)
            for table in tables
            for rule in members
            if rule.id in table.columns
        }

    def _needed(self) -> dict[str, tuple[str, ...]]:
        """Return, by the id of each rule that a correlation is over, the fields that the correlations want of it."""
        needed: dict[str, list[str]] = {}
        for rule in self.rules.values():
            correlation = rule.correlation
            if correlation is not None:
                for member in correlation.rules:
                    names = (
                        alias_of(correlation, name, member) for name in (*correlation.group_by, *correlation.field)
                    )
                    needed.setdefault(member, []).extend(names)
        return {member: tuple(dict.fromkeys(names)) for member, names in needed.items()}

    def _hit(self, rule: CompiledRule, events: str, matches: str) -> None:
        """Copy a plain rule's matches into the table of hits."""
        self.connection.execute(f"INSERT INTO {HITS} {_hits(rule, events, matches)}")

    def _hit_alone(self, rule: CompiledRule, events: str) -> None:
        """Match the only rule of a source whose columns lie in a table: nothing is shared, and nothing to be halved."""
        try:
            self._hit(rule, passing(events, rule.where or "false"), "true")
        except STOPPED:
            raise
        except duckdb.Error as failed:
            self.fail(rule, reason(failed))

    def correlate(self, rule: CompiledRule, held: Mapping[str, Matched], looked_at: LookedAt | None = None) -> None:
        """Put the events of the windows that fire into the table of hits; with `looked_at` only what lies there."""
        correlation = rule.correlation
        if correlation is None:
            return
        missing = [member for member in correlation.rules if member not in held]
        if missing:
            names = ", ".join(missing)
            self.fail(rule, f"no matches to correlate of {names}: not a plain rule of these sources, or failed")
            return
        try:
            source = self._held(correlation, [held[member] for member in correlation.rules], looked_at)
            if source:
                found = windows.hits(rule, windows.windows(correlation, source))
                found = looked_at.hits(found) if looked_at else found
                self.connection.execute(f"INSERT INTO {HITS} BY NAME {found}")
        except STOPPED:
            raise
        except duckdb.Error as failed:
            self.fail(rule, reason(failed))

    def _held(self, correlation: Correlation, members: Sequence[Matched], look: LookedAt | None) -> str:
        """Return a query of the matches that need an exact look; nothing when no window can fire."""
        source = windows.matches(correlation, members, look.stretches if look else ())
        if look is not None:
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {_NEAR} AS {look.matches(source)}")
            row = self.connection.execute(f"SELECT count(*) FROM {_NEAR}").fetchone()
            source = f"SELECT * FROM {_NEAR}"
            if row is None or row[0] < _FEW:
                return source if row and row[0] else ""
        for place, stage in enumerate(prefilter.stages(correlation)):
            table = f"nightingale_candidates_{place}"
            found = prefilter.candidates(correlation, source, stage)
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {found}")
            buckets = self.connection.execute(f"SELECT DISTINCT bucket FROM {table}").fetchall()
            if not buckets:
                return ""
            stretches = prefilter.stretches([bucket for (bucket,) in buckets], correlation.span_s)
            near = f"SELECT * FROM {_NEAR}" if look else windows.matches(correlation, members, stretches)
            source = prefilter.held(correlation, near, table)
        return source

    def fail(self, rule: CompiledRule, why: str, *, is_over: bool = False, had_turn: bool = True) -> None:
        """Note that a rule could not be run."""
        self.failed += (FailedRule(rule.id, why, is_over, had_turn),)

    def unhit(self, rules: Iterable[CompiledRule]) -> None:
        """Take out of the table of hits what these rules put there."""
        for rule in rules:
            self.connection.execute(f"DELETE FROM {HITS} WHERE rule = {text(rule.id)}")


def _hits(rule: CompiledRule, events: str, matches: str) -> str:
    """Return a query of a plain rule's hits; what was delivered twice counts once."""
    return (
        f"SELECT {text(rule.id)}, [person, instance, project], person, instance, project, event_id, "
        f'min("at"), NULL FROM {events} WHERE {matches} GROUP BY person, instance, project, event_id'
    )
