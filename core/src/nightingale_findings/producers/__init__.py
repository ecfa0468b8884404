"""Producers: what no rule over single events can say, written as derived events that rules match.

Each looks at the rows of batches that it has not seen, keeps what it must remember in tables of its own in the same
connection, and dates what it finds by the event that made it true. Cut the log into loads as one likes: the same is
found. An event that comes after others of a later time counts from when it comes, and takes nothing back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nightingale_findings.producers import chain, decoys, hours, outflow, reading, repeats, silence
from nightingale_findings.producers.derived import create_tables, seen, unseen

if TYPE_CHECKING:
    import duckdb

_PRODUCERS = (
    ("reading", reading.produce),
    ("hours", hours.produce),
    ("outflow", outflow.produce),
    ("silence", silence.produce),
    ("repeats", repeats.produce),
)


def produce(connection: duckdb.DuckDBPyConnection, root: Path | str | None = None) -> int:
    """Write what is to be derived from what is new; return how many derived events that is.

    `root` is the folder of the audit log, whose chains are then checked too. All of it or, when it raises, nothing.
    Raises duckdb.Error, OSError.
    """
    create_tables(connection)
    before = _count(connection)
    connection.execute("BEGIN")
    try:
        batch = unseen(connection)
        for name, producer in _PRODUCERS:
            after = seen(connection, name, batch)
            if after < batch:
                producer(connection, after, batch)
        decoys.produce(connection, batch)
        if root is not None:
            chain.produce(connection, Path(root), batch)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return _count(connection) - before


def _count(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT count(*) FROM nightingale_told").fetchone()
    return int(row[0]) if row else 0
