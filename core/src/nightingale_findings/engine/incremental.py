"""Scanning what is new: the same firings as one run over everything, at the cost of what was added.

Tables of sources have, besides their fields, a column `batch`: a number that rises with each load. A scan looks at the
batches since the last one; no row may come into a batch that was scanned. A plain rule asks each event by itself. A
correlation is asked again of the groups that new matches are in, from two spans before the earliest of them, and what
was known of these groups since one span before is replaced: nothing older can have changed.

What was scanned, the hits that may still change and what was told lie in the same database as the events
(`nightingale_scan...`) and change in one transaction: a crash between any two steps has either done a scan or not.
Firings are told until the caller says `told`: one that crashes before has them told again, and telling one twice adds
nothing. One whose episode grew comes again, longer: it takes the place of what was told of the same rule and group.

**Late events.** An event may be up to `late` older than the newest one scanned before: the stretch it lies in is
scanned anew, as if it had come in time. An older one is counted in `Scan.late` and scanned alone: plain rules match it,
and correlations see it with the others of its scan that are as old, not with what was scanned before. The newest time
is not taken from events that are dated after `now`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from nightingale_findings.compiled import CompiledRule, CompiledRules
from nightingale_findings.engine import windows
from nightingale_findings.engine.bounds import Bounds
from nightingale_findings.engine.episodes import COLUMNS, HITS, Part, firing
from nightingale_findings.engine.guarding import Guarded
from nightingale_findings.engine.matching import STOPPED, FailedRule, reason
from nightingale_findings.engine.running import Engine, LookedAt
from nightingale_findings.engine.sql import EARLIEST, LATEST, is_a_time, named, seconds, text, time
from nightingale_findings.engine.state import KEPT_HITS, State
from nightingale_findings.engine.windows import Matched
from nightingale_findings.firing import Firing
from nightingale_findings.logsource import LogSource

LATE = timedelta(hours=6)
"""How late an event may come and still be counted with those of its time."""

_TOUCHED = "nightingale_touched"
_FIRST, _LAST = datetime.fromisoformat(EARLIEST), datetime.fromisoformat(LATEST)


@dataclass(frozen=True)
class Scan:
    """What one look at the new events gave."""

    firings: tuple[Firing, ...]
    """Episodes as they are now, whole, that were not told so before."""
    events: int
    """New ones."""
    late: int
    """Of these, those that came too late to be counted with the events of their time."""
    through: datetime | None
    """The newest time scanned, None when there was no event yet."""
    failed: tuple[FailedRule, ...]
    """Rules that could not be run when there last were new events, and why; the others went on."""


class Incremental:
    """Runs rules over what was appended to the sources' tables since the last scan."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        rules: CompiledRules,
        sources: Sequence[LogSource],
        *,
        late: timedelta = LATE,
        bounds: Bounds | None = None,
    ) -> None:
        """Take the connection that holds the tables; other rules than last time begin anew, with all events in them.

        `bounds` are those of rules that did not come with Nightingale.
        """
        self._connection, self._late = connection, late
        self._engine = Engine(connection, rules, sources)
        self._state = State(connection, self._engine.rules, rules.digest, late)
        self._state.prepare()
        self._guarded = Guarded(self._engine, bounds or Bounds(connection), _TOUCHED)
        self._episodes: tuple[Part, ...] | None = None
        self._pruned: datetime | None = None

    def scan(self, now: datetime) -> Scan:
        """Scan the batches since the last scan. `now` is aware: no event makes the scan believe in a later time.

        Raises duckdb.Error when a table or its column `batch` is not there, or memory ends; then nothing was scanned.
        """
        engine, before = self._engine, self._state.through()
        engine.failed = ()
        new = self._new()
        events, newest = self._counted(new, now)
        through = max((at for at in (before, newest) if at is not None), default=None)
        late = 0
        if events:
            self._guarded.begin(one.rule for one in self._state.failed() if one.rests_until and one.rests_until > now)
            late = self._match(new, before - self._late if before is not None else None)
            self._save({name: upto for name, (_, upto) in new.items()}, through, now)
        if events or self._episodes is None:
            self._episodes = self._state.episodes()
        return Scan(
            firings=tuple(firing(part, engine.rules[part.rule]) for part in self._state.news(self._episodes)),
            events=events,
            late=late,
            through=through.replace(tzinfo=UTC) if through else None,
            failed=self._state.failed(),
        )

    def told(self) -> None:
        """Note that the firings of the last scan are in safe hands: they come again only when they grow."""
        if self._episodes is not None:
            self._state.told(self._episodes)

    def episodes(self) -> tuple[Firing, ...]:
        """Return every firing that is remembered, told or not."""
        return tuple(firing(part, self._engine.rules[part.rule]) for part in self._state.episodes())

    def needed_since(self) -> datetime | None:
        """Return the time before which no event in the tables is needed any more; None when nothing was scanned."""
        through = self._state.through()
        spans = [rule.correlation.span_s for rule in self._engine.rules.values() if rule.correlation]
        back = timedelta(seconds=2 * max(spans, default=0)) + self._late
        return (through - back).replace(tzinfo=UTC) if through else None

    def prune(self, every: timedelta = timedelta(hours=1)) -> None:
        """Remove the events that no later scan needs, if the log's time went on by `every` since they last were."""
        since = self.needed_since()
        if since is None or (self._pruned is not None and since - self._pruned < every):
            return
        batches = self._state.batches()
        for name, source in self._engine.sources.items():
            self._connection.execute(
                f'DELETE FROM {named(source.table)} WHERE batch <= {batches.get(name, 0)} AND "at" < '
                f"{time(since.replace(tzinfo=None))}"
            )
        self._pruned = since

    # --- what is new --------------------------------------------------------------------------------------------------

    def _new(self) -> dict[str, tuple[int, int]]:
        """Return of each source the batches to scan: after the first number, up to the second."""
        known = self._state.batches()
        found = {}
        for name, source in self._engine.sources.items():
            row = self._connection.execute(f"SELECT coalesce(max(batch), 0) FROM {named(source.table)}").fetchone()
            found[name] = (known.get(name, 0), int(row[0]) if row else 0)
        return found

    def _counted(self, new: Mapping[str, tuple[int, int]], now: datetime) -> tuple[int, datetime | None]:
        """Return how many events are new, and the newest time of those that are not dated after `now`."""
        naive = now.astimezone(UTC).replace(tzinfo=None)
        events, newest = 0, None
        for name, batches in new.items():
            row = self._connection.execute(
                f'SELECT count(*), max("at") FILTER ("at" <= {time(naive)} AND {is_a_time()}) '
                f"FROM {named(self._engine.sources[name].table)} WHERE {_in(batches)}"
            ).fetchone()
            if row:
                events += row[0]
                newest = max((at for at in (newest, row[1]) if at is not None), default=None)
        return events, newest

    # --- matching -----------------------------------------------------------------------------------------------------

    def _match(self, new: Mapping[str, tuple[int, int]], floor: datetime | None) -> int:
        """Fill the temporary table of hits, and that of groups to replace; return how many events came too late."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {HITS} ({COLUMNS})")
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {_TOUCHED} (rule VARCHAR, g VARCHAR[], since TIMESTAMP)"
        )
        held: dict[str, Matched] = {}
        late = 0
        for name, source in self._engine.sources.items():
            batches = new[name]
            if floor is not None:
                row = self._connection.execute(
                    f'SELECT count(*) FROM {named(source.table)} WHERE {_in(batches)} AND "at" < {time(floor)}'
                ).fetchone()
                late += int(row[0]) if row else 0
            held |= self._guarded.plain(source, _in(batches))
        rules = [rule for rule in self._engine.rules.values() if rule.correlation is not None and rule.is_finding]
        touched: dict[str, datetime] = {}
        for rule in rules:
            since = self._guarded.run(rule, functools.partial(self._touched, rule, held, floor))
            if since is not None:
                touched[rule.id] = since
        if floor is not None and late:
            for rule in rules:
                self._guarded.run(rule, functools.partial(self._alone, rule, held, floor))
        if touched:
            self._look_back([rule for rule in rules if rule.id in touched], touched)
        return late

    def _touched(self, rule: CompiledRule, held: Mapping[str, Matched], floor: datetime | None) -> datetime | None:
        """Note the groups with new matches and since when; return the earliest time, None when there are none."""
        correlation = rule.correlation
        if correlation is None:
            return None
        members = [held[member] for member in correlation.rules if member in held]
        if not members:
            return None
        groups = f"[{', '.join(windows.groups(correlation))}]::VARCHAR[]"
        stretches = ((floor, _LAST),) if floor is not None else ()
        try:
            self._connection.execute(
                f"INSERT INTO {_TOUCHED} SELECT {text(rule.id)}, {groups} AS g, min(t) "
                f"FROM ({windows.matches(correlation, members, stretches)}) GROUP BY ALL"
            )
        except STOPPED:
            raise
        except duckdb.Error as failed:
            self._engine.fail(rule, reason(failed))
            return None
        row = self._connection.execute(f"SELECT min(since) FROM {_TOUCHED} WHERE rule = ?", [rule.id]).fetchone()
        return row[0] if row else None

    def _look_back(self, rules: Sequence[CompiledRule], touched: Mapping[str, datetime]) -> None:
        """Ask the correlations again of the groups that were touched."""
        held: dict[str, Matched] = {}
        spans = {rule.id: rule.correlation.span_s for rule in rules if rule.correlation}
        low = min(touched[rule.id] - timedelta(seconds=2 * spans[rule.id]) for rule in rules)
        for source in self._engine.sources.values():
            held |= self._guarded.plain(source, f'"at" >= {time(max(low, _FIRST))}', hits=False)
        for rule in rules:
            correlation = rule.correlation
            if correlation is None:
                continue
            group = f"[{', '.join(f'q.{name}' for name in windows.groups(correlation))}]::VARCHAR[]"
            mine = f"(SELECT g, since FROM {_TOUCHED} WHERE rule = {text(rule.id)})"
            since = touched[rule.id] - timedelta(seconds=2 * correlation.span_s)
            look = LookedAt(
                stretches=((max(since, _FIRST), _LAST),),
                matches=_since(mine, group, seconds(2 * correlation.span_s)),
                hits=_since(mine, "q.g", seconds(correlation.span_s)),
            )
            self._guarded.run(rule, functools.partial(self._engine.correlate, rule, held, look))

    def _alone(self, rule: CompiledRule, held: Mapping[str, Matched], floor: datetime) -> None:
        """Ask a correlation of the new events before `floor`, without any others."""
        if rule.correlation is not None and all(member in held for member in rule.correlation.rules):
            look = LookedAt(((_FIRST, floor),), lambda query: f"SELECT * FROM ({query}) WHERE t < {time(floor)}")
            self._engine.correlate(rule, held, look)

    # --- keeping ------------------------------------------------------------------------------------------------------

    def _save(self, batches: Mapping[str, int], through: datetime | None, now: datetime) -> None:
        """Take the new hits into the kept ones, with what was scanned, in one transaction."""
        self._connection.execute("BEGIN")
        try:
            self._take_hits()
            self._state.scanned(batches, through)
            self._state.note_failed(self._engine.failed, now.astimezone(UTC).replace(tzinfo=None))
            self._state.fold()
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def _take_hits(self) -> None:
        rows = self._connection.execute(f"SELECT DISTINCT rule FROM {_TOUCHED}").fetchall()
        for rule in (self._engine.rules[found] for (found,) in rows):
            if rule.correlation is not None:
                self._connection.execute(
                    f"DELETE FROM {KEPT_HITS} AS k USING {_TOUCHED} AS m WHERE k.rule = {text(rule.id)} "
                    f"AND m.rule = k.rule AND m.g = k.g AND k.t >= m.since - {seconds(rule.correlation.span_s)}"
                )
        self._connection.execute(
            f"INSERT INTO {KEPT_HITS} SELECT n.* FROM {HITS} AS n ANTI JOIN {KEPT_HITS} AS k "
            "ON n.rule = k.rule AND n.event_id = k.event_id AND n.g IS NOT DISTINCT FROM k.g"
        )


def _in(batches: tuple[int, int]) -> str:
    return f"batch > {batches[0]} AND batch <= {batches[1]}"


def _since(touched: str, group: str, back: str) -> Callable[[str], str]:
    """Return what narrows a query to the groups that were touched, from `back` before they were."""

    def narrowed(query: str) -> str:
        return f"SELECT q.* FROM ({query}) AS q SEMI JOIN {touched} AS s ON s.g = {group} AND q.t >= s.since - {back}"

    return narrowed
