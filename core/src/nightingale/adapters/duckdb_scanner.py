"""The scanner over files of the audit log, with DuckDB: what is new is loaded, what follows derived, rules are run.

The database beside the log is a working copy: removed, it is made anew from the files, and the same firings come again,
which findings take once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nightingale.adapters.scan_database import RULES_S, Rulebook, first_line, opened_and_locked
from nightingale.domain.catalog import Cluster
from nightingale.ports.clock import Clock
from nightingale.ports.scanner import RuleFailed, Scanned, ScannerUnavailableError
from nightingale_findings.compiled import CompiledRules, CurrentRules, NotRun

if TYPE_CHECKING:
    import duckdb

    from nightingale_findings.engine import Incremental

_LOG = logging.getLogger(__name__)

_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
_SEEN_LATE = timedelta(minutes=5)
"""A grant is known from so long before the scan first saw it on: what was read in between was allowed."""


@dataclass
class DuckDBScanner:
    """Scans one folder of streams. One process at a time: the database is its own."""

    audit: Path
    database: Path
    rules: Callable[[], CompiledRules]
    """The rules as they are now, asked at each scan: with another digest the scan begins anew, over all events."""
    cluster: Callable[[], Cluster]
    """The cluster as it is now: its decoys, its grants."""
    clock: Clock
    checks_chains: bool = True
    """Whether the files are the log itself; a copy of its newest part shows no whole chain."""
    rules_s: float = RULES_S
    """Seconds that the organisation's rules may take of one scan."""
    _connection: duckdb.DuckDBPyConnection | None = None
    _engine: Incremental | None = None
    _rules: CompiledRules | None = None
    _rulebook: Rulebook | None = None

    def scan(self) -> Scanned:
        """Scan what was appended since. Raises ScannerUnavailableError; the next scan begins anew from the database."""
        import duckdb  # noqa: PLC0415 - whoever never scans does not load it

        try:
            return self._scan()
        except (duckdb.Error, OSError) as error:
            self.close()
            raise ScannerUnavailableError(_words(error)) from error

    @property
    def _staging(self) -> Path:
        """The only folder that DuckDB reaches beside its own files."""
        return self.database.parent / "staging"

    def read_so_far(self) -> dict[str, tuple[int, int]]:
        """Return how far each file was read, by its path under `audit`: bytes and lines.

        Raises ScannerUnavailableError.
        """
        import duckdb  # noqa: PLC0415 - whoever never scans does not load it

        from nightingale_findings.sources.own_tables import create_tables  # noqa: PLC0415 - same

        try:
            connection, _, _ = self._opened()
            create_tables(connection)
            rows = connection.execute("SELECT path, read_to, lines FROM nightingale_files").fetchall()
        except (duckdb.Error, OSError) as error:
            self.close()
            raise ScannerUnavailableError(_words(error)) from error
        return {path: (read_to, lines) for path, read_to, lines in rows}

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._engine = None, None

    def _scan(self) -> Scanned:
        from nightingale_findings.producers import produce  # noqa: PLC0415 - see `scan`
        from nightingale_findings.sources import own_log  # noqa: PLC0415 - same

        rules = self.rules()
        if self._rules is None or self._rules.digest != rules.digest:
            self._engine = None
        self._rules = rules
        connection, engine, rulebook = self._opened()
        now = self.clock.now()
        _tell_cluster(connection, self.cluster(), now)
        loaded = own_log.load(connection, self.audit, staging=self._staging)
        produce(connection, self.audit if self.checks_chains else None)
        found = engine.scan(now)
        for one in loaded.set_aside:
            _LOG.warning(
                "a line of the audit log was set aside: %s", one.why, extra={"file": one.file, "line": one.line}
            )
        return Scanned(
            firings=tuple(rulebook.hits(found.firings)),
            events_read=loaded.events,
            set_aside=loaded.set_aside_count,
            through=found.through,
            failed=(
                *(_not_run(one) for one in (rules.failed if isinstance(rules, CurrentRules) else ())),
                *rulebook.failed(found.failed),
            ),
            late=found.late,
        )

    def kept(self) -> None:
        """Note in the database that the firings were kept. Raises ScannerUnavailableError."""
        import duckdb  # noqa: PLC0415 - see `scan`

        if self._engine is None:
            return
        try:
            self._engine.told()
            self._engine.prune()
        except duckdb.Error as error:
            self.close()
            raise ScannerUnavailableError(_words(error)) from error

    def _opened(self) -> tuple[duckdb.DuckDBPyConnection, Incremental, Rulebook]:
        from nightingale_findings.engine import Bounds, Incremental  # noqa: PLC0415 - see `scan`
        from nightingale_findings.producers.derived import create_tables  # noqa: PLC0415 - same
        from nightingale_findings.sources.own_tables import OWN  # noqa: PLC0415 - same

        if self._connection is None:
            self._connection = opened_and_locked(self.database, self._staging, create_tables)
        if self._engine is None or self._rulebook is None:
            self._rules = self._rules or self.rules()
            self._rulebook = Rulebook(self._rules, {source.name for source in OWN})
            bounds = Bounds(self._connection, all_s=self.rules_s)
            self._engine = Incremental(self._connection, self._rulebook.rules, OWN, bounds=bounds)
        return self._connection, self._engine, self._rulebook


def _not_run(one: NotRun) -> RuleFailed:
    return RuleFailed(one.rule, one.author, one.why, one.next_step)


def _tell_cluster(connection: duckdb.DuckDBPyConnection, cluster: Cluster, now: datetime) -> None:
    """Bring what the sources and producers want to know of the cluster into their tables."""
    connection.execute("BEGIN")
    try:
        connection.execute("DELETE FROM nightingale_honeypots")
        connection.execute("DELETE FROM nightingale_decoy_keys")
        decoys = [(name, path) for name, one in cluster.datasets.items() for path in one.honeypots.paths]
        if decoys:
            connection.executemany("INSERT INTO nightingale_honeypots VALUES (?, ?)", decoys)
        keys = sorted({key for one in cluster.datasets.values() for key in one.honeypots.keys})
        if keys:
            connection.executemany("INSERT INTO nightingale_decoy_keys VALUES (?)", [(key,) for key in keys])
        _tell_grants(connection, cluster, now)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _tell_grants(connection: duckdb.DuckDBPyConnection, cluster: Cluster, now: datetime) -> None:
    wanted = {(project.name, dataset) for project in cluster.projects.values() for dataset in project.datasets}
    rows = connection.execute("SELECT project, dataset FROM nightingale_grants WHERE until IS NULL").fetchall()
    known: set[tuple[str, str]] = {(project, dataset) for project, dataset in rows}
    found = connection.execute("SELECT count(*) FROM nightingale_grants").fetchone()
    since = _ALWAYS if found is None or not found[0] else now - _SEEN_LATE
    for project, dataset in sorted(wanted - known):
        connection.execute("INSERT INTO nightingale_grants VALUES (?, ?, ?, NULL)", [project, dataset, _naive(since)])
    for project, dataset in sorted(known - wanted):
        ended = "UPDATE nightingale_grants SET until = ? WHERE project = ? AND dataset = ? AND until IS NULL"
        connection.execute(ended, [_naive(now), project, dataset])


def _naive(at: datetime) -> datetime:
    """Return the time as a TIMESTAMP of DuckDB holds it: UTC, without saying so."""
    return at.astimezone(UTC).replace(tzinfo=None)


def _words(error: Exception) -> str:
    return f"the audit log could not be scanned: {first_line(error)}"
