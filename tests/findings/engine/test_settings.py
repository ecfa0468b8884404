"""The database is bounded, and fetches nothing."""

from __future__ import annotations

import duckdb
import pytest

from doubles.finding_rules import READS, correlated, reads_table, rule, ruled
from nightingale_findings.engine import Engine, locked, opened


def test_nothing_is_fetched_and_memory_is_bounded(tmp_path):
    with opened(tmp_path / "events.duckdb", memory="300MiB", threads=1) as connection:
        settings = dict(connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())
        assert {settings[f"{what}_known_extensions"] for what in ("autoinstall", "autoload")} == {"false"}
        assert settings["allow_community_extensions"] == "false"
        assert (settings["memory_limit"], settings["threads"]) == ("300.0 MiB", "1")
        assert settings["temp_directory"] == str(tmp_path / "events.tmp")


def test_what_does_not_fit_goes_to_disk_also_when_locked(tmp_path):
    with opened(tmp_path / "events.duckdb", memory="40MiB", threads=1) as connection:
        locked(connection)
        connection.execute(
            "CREATE TEMP TABLE much AS SELECT i, md5(CAST(i AS VARCHAR)) AS text FROM range(1000000) r(i)"
        )
        assert connection.execute("SELECT count(DISTINCT text) FROM much").fetchone() == (1_000_000,)


def test_an_engine_runs_where_nothing_else_can_be_read(tmp_path):
    with opened(tmp_path / "events.duckdb", threads=1) as connection:
        reads_table(connection, [("a", 0, "ada", "/x", 1), ("b", 1, "ada", "/x", 1)])
        locked(connection)
        rules = ruled(rule("every", "true"), correlated("two", "event_count", [(">=", 2)], group_by=("person",)))
        assert [firing.rule for firing in Engine(connection, rules, [READS]).run()] == ["every", "two"]
        with pytest.raises(duckdb.Error):
            connection.execute(f"COPY nightingale_reads TO '{tmp_path / 'out.csv'}'")
