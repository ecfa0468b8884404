"""A cloud's log, load by load: files that are new or grew, into the table that scans of what is new look at.

Beside the events lie the marks of the files that were read (`nightingale_seen`). A file whose mark changed is read
again, whole: an event that stands in the table is not taken twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightingale_findings.logsource import LogSource
from nightingale_findings.sources.clouds import CLOUDS
from nightingale_findings.sources.own_tables import BATCH, next_batch
from nightingale_findings.sources.reading import Unpacking
from nightingale_findings.sources.set_aside import Loaded

if TYPE_CHECKING:
    import duckdb

_SEEN = "nightingale_seen (log VARCHAR, name VARCHAR, mark VARCHAR, PRIMARY KEY (log, name))"


@dataclass(frozen=True)
class LogFile:
    """One file of a log, here on the disk to be read."""

    log: str
    """The folder or bucket that the cluster file names."""
    name: str
    """The file's name in it."""
    mark: str
    """What changes when its content does: an ETag, or size and time."""
    path: Path


def create_tables(connection: duckdb.DuckDBPyConnection, source: LogSource) -> None:
    """Make the source's table, with a column for the load, and the marks, where they are not there yet.

    `nightingale_batches` is of `own_tables`.
    """
    columns = ", ".join(f'"{name}" {kind.value}' for name, kind in source.columns.items())
    connection.execute(f'CREATE TABLE IF NOT EXISTS "{source.table}" ({columns}, {BATCH} BIGINT)')
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_SEEN}")


def seen(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return the marks of the files that were read, by log and name."""
    found: dict[str, dict[str, str]] = {}
    for log, name, mark in connection.execute("SELECT log, name, mark FROM nightingale_seen").fetchall():
        found.setdefault(log, {})[name] = mark
    return found


def load_batch(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    files: Sequence[LogFile],
    *,
    staging: Path | None = None,
    unpacking: Unpacking | None = None,
    left_out: Sequence[LogFile] = (),
) -> tuple[Loaded, int]:
    """Bring these files of a source of CLOUDS into its table as one batch; return what came, and the batch's number.

    All of it, but for files that `unpacking` left for the next batch, or, when it raises, nothing. DuckDB itself reads
    files in the folder `staging` only. Files that are `left_out` are marked as read. Raises duckdb.Error, OSError.
    """
    cloud = CLOUDS[source]
    connection.execute("BEGIN")
    try:
        batch = next_batch(connection)
        loaded = cloud.load(connection, [file.path for file in files], staging=staging, unpacking=unpacking)
        connection.execute(
            f'UPDATE "{cloud.SOURCE.table}" SET {BATCH} = $batch WHERE {BATCH} IS NULL',  # noqa: S608 - names of ours
            {"batch": batch},
        )
        left = unpacking.left if unpacking is not None else set()
        marks = [(file.log, file.name, file.mark) for file in (*files, *left_out) if file.path not in left]
        if marks:
            connection.executemany("INSERT OR REPLACE INTO nightingale_seen VALUES (?, ?, ?)", marks)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return loaded, batch


def forget(connection: duckdb.DuckDBPyConnection, gone: Mapping[str, Iterable[str]]) -> None:
    """Remove the marks of files that are no longer there, by log."""
    rows = [(log, name) for log, names in gone.items() for name in names]
    if rows:
        connection.executemany("DELETE FROM nightingale_seen WHERE log = ? AND name = ?", rows)
