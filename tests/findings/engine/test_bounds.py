"""What an organisation's rules may cost: one over its bound is set aside and known, and harms no other rule."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from doubles.finding_rules import READS, TRAIL, correlated, moment, reads_table, rule, ruled, wide_table
from nightingale_findings.compiled import CompiledRule, CompiledRules
from nightingale_findings.engine import Bounds, FailedRule, Incremental, locked, opened
from nightingale_findings.engine.bounds import OverBoundError
from nightingale_findings.engine.state import RESTS

pytestmark = pytest.mark.slow  # what never ends is waited for until its bound

ENDLESS = "(SELECT count(*) FROM range(1000000000000) AS r(i) WHERE i % 7 = 3) > 0"
HUNGRY = "(SELECT len(string_agg(i::VARCHAR || repeat('x', 1000), '')) FROM range(3000000) AS r(i)) > 0"
NOW = moment(100_000)
A = "coalesce(\"path\" = '/a', false)"


def own(name: str, where: str | None = None, **more: object) -> CompiledRule:
    return rule(name, where, origin="organisation", author="Clinic", **more)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(threads=1, memory="300MiB") as connection:
        reads_table(connection)
        connection.execute("ALTER TABLE nightingale_reads ADD COLUMN batch BIGINT")
        yield connection


def read(connection: duckdb.DuckDBPyConnection, batch: int, path: str = "/a") -> None:
    at = moment(batch * 60).replace(tzinfo=None)
    row = [f"e-{batch}", at, "ada", "i-1", "p-1", path, 1, batch]
    connection.execute("INSERT INTO nightingale_reads VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)", row)


def scanner(connection: duckdb.DuckDBPyConnection, *rules: CompiledRule, each_s: float = 0.3) -> Incremental:
    return Incremental(connection, ruled(*rules), [READS], bounds=Bounds(connection, each_s=each_s))


def found(scan: Incremental, now: timedelta = timedelta()) -> tuple[list[str], dict[str, str]]:
    """Return the names of the rules that fired, and why others did not."""
    seen = scan.scan(NOW + now)
    scan.told()
    return sorted(one.rule for one in seen.firings), {one.rule: one.why for one in seen.failed}


def test_an_endless_rule_is_stopped_and_named_and_all_others_fire_once(connection: duckdb.DuckDBPyConnection) -> None:
    scan = scanner(
        connection,
        rule("shipped", A, fields=("path",)),
        own("before", A, fields=("path",)),
        own("endless", ENDLESS),
        own("later", A, fields=("path",)),
    )
    read(connection, 1)
    assert found(scan) == (["before", "later", "shipped"], {"endless": "it took more than 0.3 s"})
    assert [one.event_count for one in scan.episodes()] == [1, 1, 1]


def test_a_rule_that_wants_all_memory_is_set_aside_and_the_database_goes_on(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    scan = scanner(connection, rule("shipped", A, fields=("path",)), own("hungry", HUNGRY), each_s=60)
    read(connection, 1)
    assert found(scan) == (["shipped"], {"hungry": "it needs more memory than the scan has"})
    read(connection, 2)
    assert found(scan)[0] == ["shipped"]


def test_a_rule_that_was_stopped_is_told_meanwhile_and_run_again_after_its_rest(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    scan = scanner(connection, own("endless", ENDLESS), own("good", A, fields=("path",)))
    read(connection, 1)
    found(scan)
    assert found(scan)[1] == {"endless": "it took more than 0.3 s"}  # nothing is new: it is told all the same
    scan = scanner(connection, own("endless", A, fields=("path",)), own("good", A, fields=("path",)))
    read(connection, 2)  # another process with the same database: it rests there too
    assert found(scan) == (["good"], {"endless": "it took more than 0.3 s"})
    read(connection, 3)
    (resting,) = scan.scan(NOW).failed
    assert resting == FailedRule("endless", "it took more than 0.3 s", is_over=True, rests_until=NOW + RESTS)
    read(connection, 4)
    assert found(scan, RESTS) == (["endless", "good"], {})


def test_rules_whose_turn_did_not_come_do_not_rest(connection: duckdb.DuckDBPyConnection) -> None:
    rules = [own(f"endless-{number}", ENDLESS) for number in range(3)]
    bounds = Bounds(connection, each_s=0.2, all_s=0.5)
    scan = Incremental(connection, ruled(*rules, own("last", A, fields=("path",))), [READS], bounds=bounds)
    read(connection, 1)
    failed = {one.rule: one for one in scan.scan(NOW).failed}
    assert failed["endless-0"].is_over
    assert not failed["last"].had_turn
    assert "before it took the 0.5 s" in failed["last"].why
    for batch in (2, 3):
        read(connection, batch)
        firings = [one.rule for one in scan.scan(NOW).firings]
    assert firings == ["last"]


def test_an_endless_correlation_leaves_what_was_known_of_its_groups(connection: duckdb.DuckDBPyConnection) -> None:
    every = own("every", A, fields=("path",), is_finding=False)
    many = correlated("many", "event_count", [(">=", 2)], group_by=("person",), span_s=3600)
    mine = CompiledRule(**{name: getattr(many, name) for name in many.__struct_fields__} | {"origin": "organisation"})
    for batch in (1, 2):
        read(connection, batch)
    assert found(scanner(connection, every, mine, each_s=60))[0] == ["many"]
    read(connection, 3)
    slow = own("every", f"{A} AND {ENDLESS}", fields=("path",), is_finding=False)
    scan = scanner(connection, slow, mine)
    firings, failed = found(scan)
    assert (firings, failed) == ([], {"many": "it took more than 0.3 s"})
    assert [(one.rule, one.event_count) for one in scan.episodes()] == [("many", 2)]


def test_rules_over_a_wide_log_are_bounded_one_by_one() -> None:
    with opened(threads=1) as connection:
        wide_table(connection, ['{"eventName": "A"}'])
        connection.execute("ALTER TABLE trail ADD COLUMN batch BIGINT DEFAULT 1")
        matches = "coalesce(lower(\"eventName\") = 'a', false)"
        rules = ruled(
            rule("shipped", matches, fields=("eventName",), source="trail"),
            own("good", matches, fields=("eventName",), source="trail"),
            own("endless", ENDLESS, source="trail"),
        )
        scan = Incremental(connection, rules, [TRAIL], bounds=Bounds(connection, each_s=0.5))
        assert found(scan) == (["good", "shipped"], {"endless": "it took more than 0.5 s"})


def test_what_runs_after_a_bounded_statement_is_never_interrupted(connection: duckdb.DuckDBPyConnection) -> None:
    bounds = Bounds(connection, each_s=0.001, all_s=60)
    before = threading.active_count()
    stopped = 0
    for _ in range(200):
        try:
            bounds.alone(lambda: connection.execute("SELECT sum(i) FROM range(20000) AS r(i)").fetchall())
        except OverBoundError:
            stopped += 1
        assert connection.execute("SELECT count(*) FROM range(1000)").fetchone() == (1000,)
    assert threading.active_count() == before


def test_somebody_elses_interruption_ends_the_scan(connection: duckdb.DuckDBPyConnection) -> None:
    bounds = Bounds(connection, each_s=60)
    other = threading.Timer(0.2, connection.interrupt)
    other.start()
    with pytest.raises(duckdb.InterruptException):
        bounds.alone(lambda: connection.execute(f"SELECT {ENDLESS}"))
    other.join()


def test_what_rests_is_forgotten_with_other_rules(tmp_path: Path) -> None:
    with opened(tmp_path / "scan.db", threads=1) as connection:
        reads_table(connection)
        connection.execute("ALTER TABLE nightingale_reads ADD COLUMN batch BIGINT")
        read(connection, 1)
        assert found(scanner(connection, own("one", ENDLESS)))[1]
        mended = CompiledRules(digest="mended", rules=(own("one", A, fields=("path",)),))
        scan = Incremental(connection, mended, [READS], bounds=Bounds(connection))
        assert found(scan) == (["one"], {})


def test_a_database_in_which_a_rule_was_stopped_is_opened_again_at_once(tmp_path: Path) -> None:
    for batch in (1, 2):
        # DuckDB gives the same database again, locked as it is, while anything still holds the one before.
        connection = opened(tmp_path / "scan.db", threads=1)
        if batch == 1:
            reads_table(connection)
            connection.execute("ALTER TABLE nightingale_reads ADD COLUMN batch BIGINT")
        locked(connection, staging=tmp_path)
        read(connection, batch)
        scan = scanner(connection, own("endless", ENDLESS))
        assert found(scan) == ([], {"endless": "it took more than 0.3 s"})
        del scan
        connection.close()
