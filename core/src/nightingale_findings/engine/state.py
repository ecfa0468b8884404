"""What an incremental scan remembers, in tables beside the events: what was scanned, hits, episodes, what was told.

`nightingale_scan_hits` holds the hits that later events may still change; older ones are folded into the episodes of
`nightingale_scan_parts`, one row each however many hits it had. An episode that nothing can lengthen any more, and that
was told, is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from nightingale_findings.compiled import CompiledRule
from nightingale_findings.engine.episodes import COLUMNS, Part, joined, parts, reach
from nightingale_findings.engine.matching import FailedRule
from nightingale_findings.engine.sql import text, time

KEPT_HITS = "nightingale_scan_hits"

RESTS = timedelta(hours=1)
"""A rule that took more than it may is not run for so long."""

_TABLES = (
    "nightingale_scan (digest VARCHAR, through TIMESTAMP, folded TIMESTAMP)",
    "nightingale_scan_batches (source VARCHAR PRIMARY KEY, batch BIGINT)",
    f"{KEPT_HITS} ({COLUMNS})",
    (
        "nightingale_scan_parts (rule VARCHAR, g VARCHAR[], person VARCHAR, instance VARCHAR, project VARCHAR, "
        "first_at TIMESTAMP, last_at TIMESTAMP, events BIGINT, ids VARCHAR[], value DOUBLE)"
    ),
    (
        "nightingale_scan_told (rule VARCHAR, g VARCHAR[], first_at TIMESTAMP, last_at TIMESTAMP, events BIGINT, "
        "value DOUBLE)"
    ),
    "nightingale_scan_failed (rule VARCHAR PRIMARY KEY, why VARCHAR, had_turn BOOLEAN, rests_until TIMESTAMP)",
)

Told = tuple[str, tuple[str | None, ...], datetime, datetime, int, float | None]


def told_of(part: Part) -> Told:
    """Return what makes an episode news: the same again says nothing new."""
    return part.rule, part.group, part.first, part.last, part.count, part.value


@dataclass
class State:
    """What the tables hold of earlier scans by the rules of `digest`; of others it is forgotten."""

    connection: duckdb.DuckDBPyConnection
    rules: Mapping[str, CompiledRule]
    digest: str
    late: timedelta

    def prepare(self) -> None:
        """Make the tables; forget everything when the rules have changed since."""
        for table in _TABLES:
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        row = self.connection.execute("SELECT digest FROM nightingale_scan").fetchone()
        if row is None or row[0] != self.digest:
            for table in _TABLES:
                self.connection.execute(f"DELETE FROM {table.split()[0]}")
            self.connection.execute("INSERT INTO nightingale_scan VALUES (?, NULL, NULL)", [self.digest])

    def batches(self) -> dict[str, int]:
        """Return the last batch of each source that was scanned."""
        return dict(self.connection.execute("SELECT source, batch FROM nightingale_scan_batches").fetchall())

    def through(self) -> datetime | None:
        """Return the latest time that was scanned, UTC without saying so; None before the first scan."""
        row = self.connection.execute("SELECT through FROM nightingale_scan").fetchone()
        return row[0] if row else None

    def scanned(self, batches: Mapping[str, int], through: datetime | None) -> None:
        """Note what was scanned."""
        for source, batch in batches.items():
            self.connection.execute("INSERT OR REPLACE INTO nightingale_scan_batches VALUES (?, ?)", [source, batch])
        self.connection.execute("UPDATE nightingale_scan SET through = ?", [through])

    def failed(self) -> tuple[FailedRule, ...]:
        """Return the rules that failed when they were last to run, and why."""
        rows = self.connection.execute("FROM nightingale_scan_failed ORDER BY rule").fetchall()
        return tuple(
            FailedRule(rule, why, rests is not None, had_turn, None if rests is None else rests.replace(tzinfo=UTC))
            for rule, why, had_turn, rests in rows
            if rule in self.rules
        )

    def note_failed(self, failed: Iterable[FailedRule], now: datetime) -> None:
        """Note which rules failed now, in place of those that were noted before; `now` is UTC without saying so.

        One that rests has not been run: what is noted of it stays.
        """
        self.connection.execute(
            f"DELETE FROM nightingale_scan_failed WHERE rests_until IS NULL OR rests_until <= {time(now)}"
        )
        for one in failed:
            rests = now + RESTS if one.is_over else None
            self.connection.execute(
                "INSERT OR REPLACE INTO nightingale_scan_failed VALUES (?, ?, ?, ?)",
                [one.rule, one.why, one.had_turn, rests],
            )

    def fixed_before(self, rule: CompiledRule, through: datetime) -> datetime:
        """Return the time before which no later event can change a hit of the rule any more."""
        span = rule.correlation.span_s if rule.correlation else 0
        return through - self.late - timedelta(seconds=span)

    def fold(self) -> None:
        """Fold hits that are fixed into episodes, once an hour of the log's time."""
        row = self.connection.execute("SELECT through, folded FROM nightingale_scan").fetchone()
        if row is None or row[0] is None:
            return
        hour = row[0].replace(minute=0, second=0, microsecond=0)
        if row[1] is not None and row[1] >= hour:
            return
        fixed = " OR ".join(
            f"(rule = {text(rule.id)} AND t < {time(self.fixed_before(rule, hour))})" for rule in self.rules.values()
        )
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE nightingale_folding AS FROM {KEPT_HITS} WHERE {fixed}")
        folded = parts(self.connection, self.rules.values(), "nightingale_folding")
        if folded:
            self._replace_parts(joined((*self._parts(), *folded), self.rules.values()))
            self.connection.execute(f"DELETE FROM {KEPT_HITS} WHERE {fixed}")
        self.connection.execute("UPDATE nightingale_scan SET folded = ?", [hour])

    def episodes(self) -> tuple[Part, ...]:
        """Return every episode that is remembered."""
        recent = parts(self.connection, self.rules.values(), KEPT_HITS)
        return joined((*self._parts(), *recent), self.rules.values())

    def news(self, episodes: Iterable[Part]) -> tuple[Part, ...]:
        """Return the episodes that were not told as they are now."""
        told = self._said()
        return tuple(part for part in episodes if told_of(part) not in told)

    def told(self, episodes: Sequence[Part]) -> None:
        """Note that these were told as they are; forget those that nothing can lengthen."""
        said = {told_of(part) for part in episodes}
        kept = self._parts()
        open_still = [part for part in kept if told_of(part) not in said or self._can_grow(part)]
        said -= {told_of(part) for part in kept} - {told_of(part) for part in open_still}
        self.connection.execute("BEGIN")
        try:
            if len(open_still) < len(kept):
                self._replace_parts(open_still)
            if said != self._said():
                self.connection.execute("DELETE FROM nightingale_scan_told")
                rows = [[rule, list(group), *rest] for rule, group, *rest in said]
                if rows:
                    self.connection.executemany("INSERT INTO nightingale_scan_told VALUES (?, ?, ?, ?, ?, ?)", rows)
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise

    def _said(self) -> set[Told]:
        rows = self.connection.execute("SELECT * FROM nightingale_scan_told").fetchall()
        return {(rule, tuple(group), first, last, count, value) for rule, group, first, last, count, value in rows}

    def _can_grow(self, part: Part) -> bool:
        """Return whether a later event that is not too late may belong to the episode."""
        through, rule = self.through(), self.rules[part.rule]
        return through is None or part.last >= self.fixed_before(rule, through) - timedelta(seconds=reach(rule))

    def _parts(self) -> tuple[Part, ...]:
        rows = self.connection.execute("SELECT * FROM nightingale_scan_parts").fetchall()
        return tuple(
            Part(rule, tuple(group), person, instance, project, first, last, count, tuple(ids), value)
            for rule, group, person, instance, project, first, last, count, ids, value in rows
        )

    def _replace_parts(self, found: Iterable[Part]) -> None:
        self.connection.execute("DELETE FROM nightingale_scan_parts")
        rows = [
            [p.rule, list(p.group), p.person, p.instance, p.project, p.first, p.last, p.count, list(p.ids), p.value]
            for p in found
        ]
        if rows:
            marks = ", ".join("?" * 10)
            self.connection.executemany(f"INSERT INTO nightingale_scan_parts VALUES ({marks})", rows)
