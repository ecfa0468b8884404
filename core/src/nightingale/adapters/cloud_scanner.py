"""The scanner over the logs of one cloud's source: what is new in folders or buckets, with DuckDB.

Between scans that find nothing new its database is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nightingale.adapters.aws_clients import is_aws_error, words_of
from nightingale.adapters.s3_scanner import KeptFile, OvertakenError
from nightingale.adapters.scan_database import RULES_S, Rulebook, first_line, opened_and_locked
from nightingale.domain.catalog import Cluster
from nightingale.ports.clock import Clock
from nightingale.ports.scanner import LogScanned, RuleFailed, Scanned, ScannerUnavailableError
from nightingale_findings.compiled import CompiledRules
from nightingale_findings.sources.reading import Unpacking

if TYPE_CHECKING:
    import duckdb

    from nightingale.adapters.watched_folders import Brought
    from nightingale_findings.engine import Incremental
    from nightingale_findings.sources.batches import LogFile

_LOG = logging.getLogger(__name__)
_TRAIL = "cloudtrail"
_TOO_LARGE = "is larger than a scan can bring"


def watched_unpacking() -> Unpacking:
    """Return how much the files of one scan may hold: the function that scans in AWS has 2 GiB of disk for five logs.

    What clouds deliver in one file is some ten MiB at most, and gzip makes it ten to thirty times smaller.
    """
    return Unpacking(most=256 << 20, ratio=100, total=256 << 20)


class WatchedLog(Protocol):
    """One place where files of a log come to lie."""

    @property
    def log(self) -> str:
        """Its name in the cluster file."""

    def bring(self, known: Mapping[str, str]) -> AbstractContextManager[Brought]:
        """Give what is new, or changed, since these marks by name. Raises OSError, botocore's errors."""


@dataclass
class CloudScanner:
    """Scans the logs of one source."""

    source: str
    """A name of CLOUDS."""
    database: Path
    rules: Callable[[], CompiledRules]
    """Those of all sources, as they are now."""
    cluster: Callable[[], Cluster]
    clock: Clock
    kept_file: KeptFile | None = None
    """Where the database outlives this process's disk, if it has to."""
    unpacking: Callable[[], Unpacking] = watched_unpacking
    """How much files may hold, for each scan."""
    rules_s: float = RULES_S
    """Seconds that the organisation's rules may take of one scan."""
    _seen: dict[str, dict[str, str]] = field(default_factory=dict)
    """The marks of files by log and name, as the database has them."""
    _digest: str | None = None
    """Of the rules it was last opened with; None: it has to be opened to know anything."""
    _open: _Open | None = None
    _failed: tuple[RuleFailed, ...] = ()
    """Those that the last scan of something new told of: they are told until one runs them well."""
    _is_news: bool = False

    def scan(self, logs: list[WatchedLog]) -> Scanned:
        """Scan what is new in these. Raises ScannerUnavailableError; what was new then is so the next time too."""
        try:
            return self._scan(logs)
        except Exception as error:
            self._forget()
            if not _is_outside(error):
                raise
            raise ScannerUnavailableError(_words(error), _next_step(error)) from error

    def kept(self) -> None:
        """Note that the firings of the last scan are kept, and close the database. Raises ScannerUnavailableError."""
        if self._open is None:
            return
        try:
            self._open.engine.told()
            self._open.engine.prune()
            self.close()
            if self.kept_file is not None and self._is_news:
                self.kept_file.keep()
            self._is_news = False
        except Exception as error:
            self._forget()
            if not _is_outside(error):
                raise
            raise ScannerUnavailableError(_words(error), _next_step(error)) from error

    def close(self) -> None:
        """Close the database."""
        if self._open is not None:
            self._open.connection.close()
        self._open = None

    def _forget(self) -> None:
        """Begin the next scan from what is kept."""
        self.close()
        self._digest, self._is_news = None, False
        if self.kept_file is not None:
            self.kept_file.drop()

    def _scan(self, logs: list[WatchedLog]) -> Scanned:
        rules = self.rules()
        if self._digest != rules.digest:
            self._opened(rules)
        with ExitStack() as stack:
            brought, told = self._brought(logs, stack)
            events = aside = 0
            if any(one.files or one.gone or one.too_large for _, one in brought):
                events, aside, told = self._take(brought, rules, told)
        if self._open is None:
            return Scanned(firings=(), events_read=0, set_aside=0, through=None, failed=self._failed, logs=told)
        found = self._open.engine.scan(self.clock.now())
        self._failed = tuple(self._open.rulebook.failed(found.failed))
        self._is_news = self._is_news or bool(found.firings)
        return Scanned(
            firings=tuple(self._open.rulebook.hits(found.firings)),
            events_read=events,
            set_aside=aside,
            through=found.through,
            failed=self._failed,
            late=found.late,
            logs=told,
        )

    def _brought(
        self, logs: list[WatchedLog], stack: ExitStack
    ) -> tuple[list[tuple[str, Brought]], tuple[LogScanned, ...]]:
        """Return what is new in each log, and how each of them did."""
        brought, told = [], []
        for log in logs:
            try:
                one = stack.enter_context(log.bring(self._seen.get(log.log, {})))
            except Exception as error:
                if not _is_outside(error):
                    raise
                told.append(LogScanned(self.source, log.log, _words(error), _next_step(error)))
            else:
                brought.append((log.log, one))
                told.append(LogScanned(self.source, log.log, waiting=one.waiting))
        return brought, tuple(told)

    def _take(
        self, brought: list[tuple[str, Brought]], rules: CompiledRules, told: tuple[LogScanned, ...]
    ) -> tuple[int, int, tuple[LogScanned, ...]]:
        """Bring files into the database, and what follows from them.

        Return how many events, and lines or files set aside, and how the logs did.
        """
        from nightingale_findings.sources.batches import forget, load_batch  # noqa: PLC0415 - loads DuckDB

        held = self._opened(rules)
        files = [file for _, one in brought for file in one.files]
        large = [file for _, one in brought for file in one.too_large]
        unpacking = self.unpacking()
        loaded, batch = load_batch(
            held.connection, self.source, files, staging=self._staging, unpacking=unpacking, left_out=large
        )
        forget(held.connection, {log: one.gone for log, one in brought})
        self._derive(held, batch)
        self._is_news = True
        for line in loaded.set_aside:
            _LOG.warning("something of a cloud's log was set aside: %s", line.why, extra={"source": self.source})
        for log, one in brought:
            marks = {name: mark for name, mark in self._seen.get(log, {}).items() if name not in one.gone}
            read = (file for file in (*one.files, *one.too_large) if file.path not in unpacking.left)
            self._seen[log] = marks | {file.name: file.mark for file in read}
        over = dict(unpacking.over) | dict.fromkeys((one.path for one in large), _TOO_LARGE)
        for why in over.values():
            _LOG.warning("a file of a cloud's log was left out: it %s", why, extra={"source": self.source})
        after = tuple(_with_files(one, [*files, *large], unpacking.left, over) for one in told)
        return loaded.events, loaded.set_aside_count + len(large), after

    @property
    def _staging(self) -> Path:
        """The only folder that DuckDB reaches beside its own files."""
        return self.database.with_suffix(".staging")

    def _opened(self, rules: CompiledRules) -> _Open:
        """Return the open database with the engine of these rules, and know the files it has seen."""
        if self._open is not None and self._digest == rules.digest:
            return self._open
        from nightingale_findings.engine import Bounds, Incremental  # noqa: PLC0415 - loads DuckDB
        from nightingale_findings.producers.derived import create_tables as create_derived  # noqa: PLC0415 - same
        from nightingale_findings.sources.batches import create_tables, seen  # noqa: PLC0415 - same
        from nightingale_findings.sources.clouds import CLOUDS  # noqa: PLC0415 - same
        from nightingale_findings.sources.own_tables import DERIVED  # noqa: PLC0415 - same

        self.close()
        if self.kept_file is not None:
            self.kept_file.fetch()
        source = CLOUDS[self.source].SOURCE

        def make_tables(connection: duckdb.DuckDBPyConnection) -> None:
            create_derived(connection)
            create_tables(connection, source)

        connection = opened_and_locked(self.database, self._staging, make_tables)
        try:
            sources = (source, DERIVED) if self.source == _TRAIL else (source,)
            rulebook = Rulebook(rules, {one.name for one in sources})
            engine = Incremental(connection, rulebook.rules, sources, bounds=Bounds(connection, all_s=self.rules_s))
            self._seen, self._digest = seen(connection), rules.digest
        except BaseException:
            connection.close()
            raise
        self._open = _Open(connection, engine, rulebook)
        return self._open

    def _derive(self, held: _Open, batch: int) -> None:
        """Write what a rule over CloudTrail's events cannot say: a decoy key of a dataset was used."""
        if self.source != _TRAIL:
            return
        from nightingale_findings.producers import decoys  # noqa: PLC0415 - loads DuckDB

        keys = sorted({key for one in self.cluster().datasets.values() for key in one.honeypots.keys})
        held.connection.execute("DELETE FROM nightingale_decoy_keys")
        if keys:
            held.connection.executemany("INSERT INTO nightingale_decoy_keys VALUES (?)", [(key,) for key in keys])
            decoys.produce(held.connection, batch)


def _with_files(
    told: LogScanned, files: list[LogFile], left: AbstractSet[Path], over: Mapping[Path, str]
) -> LogScanned:
    """Return how a log did, with its files that wait and those that hold more than they may."""
    mine = [file for file in files if file.log == told.log]
    return replace(
        told,
        waiting=told.waiting + sum(file.path in left for file in mine),
        left_out=tuple(f"{file.name}: it {over[file.path]}" for file in mine if file.path in over),
    )


@dataclass
class _Open:
    """What is there while the database is open."""

    connection: duckdb.DuckDBPyConnection
    engine: Incremental
    rulebook: Rulebook


def _is_outside(error: Exception) -> bool:
    """Return whether it is the world's fault and may be gone next time."""
    import duckdb  # noqa: PLC0415 - whoever never scans does not load it

    return isinstance(error, OvertakenError | OSError | duckdb.Error) or is_aws_error(error)


_AGAIN = "It is tried again at each scan."


def _words(error: Exception) -> str:
    if isinstance(error, OvertakenError):
        return f"{error}: two scans run at once, the next one goes on from it"
    if isinstance(error, PermissionError):
        return f"{error.filename} may not be read by the platform's account"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'a file'}"
    return words_of(error, "it could not be read") if is_aws_error(error) else first_line(error)


def _next_step(error: Exception) -> str:
    """Return what somebody has to do; AWS's errors have it in their words."""
    if isinstance(error, PermissionError):
        return f"Let it read the folder, with all folders below. {_AGAIN}"
    if isinstance(error, FileNotFoundError) and not error.strerror:
        return f"Make the folder, or take it out of findings.logs of the cluster file. {_AGAIN}"
    return "" if is_aws_error(error) else _AGAIN
