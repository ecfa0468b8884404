"""The tables of our own logs: what a rule may name, and what a source, a producer and their caller keep beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightingale_findings.logsource import FieldType as T
from nightingale_findings.logsource import LogSource

if TYPE_CHECKING:
    import duckdb

READS = LogSource(
    name="reads",
    product="nightingale",
    service="reads",
    table="nightingale_reads",
    fields={
        "dataset": T.TEXT,
        "version": T.TEXT,
        "path": T.TEXT,
        "folder": T.TEXT,
        "file": T.TEXT,
        "bytes": T.WHOLE,
        "size": T.WHOLE,
        "is_whole_file": T.FLAG,
        "sha256": T.TEXT,
        "program": T.TEXT,
        "program_name": T.TEXT,
        "is_inherited": T.FLAG,
        "tier": T.WHOLE,
        "is_honeypot": T.FLAG,
    },
)
"""One row for each opened file of a dataset, or part of what was asked for from it."""

GATEWAY = LogSource(
    name="gateway",
    product="nightingale",
    service="gateway",
    table="nightingale_gateway",
    fields={
        "action": T.TEXT,
        "outcome": T.TEXT,
        "channel": T.TEXT,
        "bytes_in": T.WHOLE,
        "bytes_out": T.WHOLE,
        "total_in": T.WHOLE,
        "total_out": T.WHOLE,
        "seconds": T.WHOLE,
        "client": T.TEXT,
        "key": T.TEXT,
        "target": T.TEXT,
        "reason": T.TEXT,
        "is_decoy_key": T.FLAG,
    },
)
"""What the SSH gateway granted, refused and carried. Bytes are those since the fact before of the same channel."""

JUPYTER = LogSource(
    name="jupyter",
    product="nightingale",
    service="jupyter",
    table="nightingale_jupyter",
    fields={
        "action": T.TEXT,
        "outcome": T.TEXT,
        "path": T.TEXT,
        "file_name": T.TEXT,
        "bytes": T.WHOLE,
        "reason": T.TEXT,
        "tier": T.WHOLE,
    },
)
"""What left through Jupyter, or was refused; and its openings."""

API = LogSource(
    name="api",
    product="nightingale",
    service="api",
    table="nightingale_api",
    fields={
        "operation": T.TEXT,
        "outcome": T.TEXT,
        "actor": T.TEXT,
        "subject": T.TEXT,
        "tag": T.TEXT,
        "reason": T.TEXT,
        "client": T.TEXT,
        "key": T.TEXT,
        "door": T.TEXT,
        "is_decoy_key": T.FLAG,
    },
)
"""Every other fact: logins, commands, refusals, packages, the cluster file, what observers say of themselves."""

DERIVED = LogSource(
    name="derived",
    product="nightingale",
    service="derived",
    table="nightingale_derived",
    fields={
        "kind": T.TEXT,
        "dataset": T.TEXT,
        "subject": T.TEXT,
        "value": T.NUMBER,
        "baseline": T.NUMBER,
        "note": T.TEXT,
    },
)
"""What producers found that no rule over single events can say."""

OWN = (READS, GATEWAY, JUPYTER, API, DERIVED)

BATCH = "batch"
"""A column of every table beside its fields: the load that brought the row, from 1, rising."""

_KEPT = (
    # of the caller: who is meant by an instance, what may be read, which files and keys are decoys, where people live
    "nightingale_instances (instance VARCHAR PRIMARY KEY, project VARCHAR, owner VARCHAR, tier BIGINT)",
    "nightingale_grants (project VARCHAR, dataset VARCHAR, since TIMESTAMP, until TIMESTAMP)",
    "nightingale_honeypots (dataset VARCHAR, path VARCHAR)",
    "nightingale_decoy_keys (key VARCHAR PRIMARY KEY)",
    "nightingale_projects (project VARCHAR PRIMARY KEY, time_zone VARCHAR)",
    # of the source: how far each file was read, what each channel had carried by its last fact
    "nightingale_files (path VARCHAR PRIMARY KEY, read_to BIGINT, lines BIGINT)",
    "nightingale_channels (channel VARCHAR PRIMARY KEY, bytes_in BIGINT, bytes_out BIGINT)",
    "nightingale_batches (batch BIGINT PRIMARY KEY)",
)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of our own logs, and those that are kept beside them, where they are not there yet."""
    for source in OWN:
        fields = "".join(f', "{name}" {kind.value}' for name, kind in (source.fields or {}).items())
        connection.execute(
            f'CREATE TABLE IF NOT EXISTS {source.table} (event_id VARCHAR NOT NULL, "at" TIMESTAMP NOT NULL, '
            f"person VARCHAR, instance VARCHAR, project VARCHAR{fields}, {BATCH} BIGINT)"
        )
    for table in _KEPT:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")


def next_batch(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the load that begins now."""
    row = connection.execute(
        "INSERT INTO nightingale_batches SELECT coalesce(max(batch), 0) + 1 FROM nightingale_batches RETURNING batch"
    ).fetchone()
    if row is None:  # RETURNING always answers; this is for the type
        raise RuntimeError
    return int(row[0])
