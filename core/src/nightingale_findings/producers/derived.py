"""What producers share: which rows are new to them, and writing a derived event once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightingale_findings.sources import own_tables

if TYPE_CHECKING:
    import duckdb

_BYTES_A_DAY = "person VARCHAR, project VARCHAR, day DATE, bytes HUGEINT, PRIMARY KEY (person, project, day)"
_CHAINS = "stream VARCHAR PRIMARY KEY, path VARCHAR, read_to BIGINT, seq BIGINT, hash VARCHAR, last_at TIMESTAMP"
_TABLES = (
    "nightingale_told (event_id VARCHAR PRIMARY KEY)",
    "nightingale_producers (name VARCHAR PRIMARY KEY, batch BIGINT)",
    "nightingale_first_uses (person VARCHAR, dataset VARCHAR, at_ TIMESTAMP, PRIMARY KEY (person, dataset))",
    f"nightingale_read_days ({_BYTES_A_DAY})",
    f"nightingale_out_days ({_BYTES_A_DAY})",
    "nightingale_hours (person VARCHAR, hour TIMESTAMP, is_at_work BOOLEAN, PRIMARY KEY (person, hour))",
    "nightingale_starts (instance VARCHAR, at_ TIMESTAMP, tier BIGINT, PRIMARY KEY (instance, at_))",
    "nightingale_signs (instance VARCHAR, hour TIMESTAMP, at_ TIMESTAMP, PRIMARY KEY (instance, hour))",
    "nightingale_closed_hours (hour TIMESTAMP PRIMARY KEY)",
    f"nightingale_chains ({_CHAINS})",
    "nightingale_chain_files (path VARCHAR PRIMARY KEY, size BIGINT, changed_ns BIGINT)",
)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of the sources and of the producers where they are not there yet."""
    own_tables.create_tables(connection)
    for table in _TABLES:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")


def unseen(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the newest batch."""
    row = connection.execute("SELECT coalesce(max(batch), 0) FROM nightingale_batches").fetchone()
    return int(row[0]) if row else 0


def seen(connection: duckdb.DuckDBPyConnection, name: str, batch: int) -> int:
    """Return the last batch that a producer saw before, and note that it sees up to `batch` now."""
    row = connection.execute("SELECT batch FROM nightingale_producers WHERE name = ?", [name]).fetchone()
    after = int(row[0]) if row else 0
    if after != batch:
        connection.execute("INSERT OR REPLACE INTO nightingale_producers VALUES (?, ?)", [name, batch])
    return after


def tell(connection: duckdb.DuckDBPyConnection, select: str, parameters: dict[str, object]) -> None:
    """Write what `select` gives, by name, as derived events; one that was told before is not told again.

    Its columns are some of a derived event's; `$batch` is among the parameters.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE own_found AS {select}", parameters)
    connection.execute("DELETE FROM own_found WHERE event_id IN (SELECT event_id FROM nightingale_told)")
    connection.execute("INSERT INTO nightingale_derived BY NAME SELECT * FROM own_found")
    connection.execute("INSERT INTO nightingale_told SELECT event_id FROM own_found")
