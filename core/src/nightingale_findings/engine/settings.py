"""DuckDB as the scan opens it: bounded in memory and threads, nothing fetched, nothing outside read while rules run."""

from __future__ import annotations

from pathlib import Path

import duckdb

from nightingale_findings.engine.sql import text

MEMORY = "700MiB"
"""What the database may hold; the process stays under 1 GiB with it."""


def opened(
    database: Path | None = None, *, memory: str = MEMORY, threads: int = 2, temp: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection to a database in a file, or in memory, that fetches no extension.

    What does not fit into `memory` goes to the folder `temp`, beside the file when none is named. Raises duckdb.Error
    when the file is no database or another process holds it.
    """
    folder = temp or (database.with_suffix(".tmp") if database else None)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "threads": threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "preserve_insertion_order": False,
    }
    if folder is not None:
        settings["temp_directory"] = str(folder)
    return duckdb.connect(str(database) if database else ":memory:", config=settings)


def locked(connection: duckdb.DuckDBPyConnection, *, staging: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return the connection, from now on unable to reach files or the network or to change its settings.

    Call it once what is to be scanned stands in tables: a rule's SQL then reaches those and nothing else. Whoever goes
    on loading names the folder, nobody else's, out of which that is done.
    """
    if staging is not None:
        connection.execute(f"SET allowed_directories = [{text(f'{staging}/')}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
