"""Scanning what is new: the same as one run over everything, whatever came when, whenever it crashed."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.finding_rules import READS, correlated, moment, reads_table, rule, ruled
from doubles.thoroughness import THOROUGHNESS
from nightingale_findings.compiled import CompiledRules
from nightingale_findings.engine import Engine, Incremental, opened
from nightingale_findings.firing import Firing

LATER = moment(10_000_000)
SPAN = 60

RULES = ruled(
    rule("every", "true", is_finding=False),
    rule("decoy", "coalesce(\"path\" = '/a', false)", fields=("path",), episode_s=90),
    rule("b", "coalesce(\"path\" = '/b', false)", fields=("path",), is_finding=False),
    correlated("many", "event_count", [(">=", 3)], group_by=("person",), episode_s=1),
    correlated("distinct", "value_count", [(">", 1)], field=("path",), group_by=("person",), span_s=45),
    correlated("bytes", "value_sum", [(">=", 7)], field=("bytes",), group_by=(), episode_s=100),
    correlated("few", "event_count", [("<", 2)], group_by=("person",), episode_s=1),
    correlated("middle", "value_median", [(">", 2), ("<=", 5)], field=("bytes",), group_by=("person",)),
    correlated("order", "temporal_ordered", rules=("decoy", "b"), group_by=("person",), episode_s=1),
)

events = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 8).map(lambda n: n * SPAN / 2), st.integers(0, 500)),
        st.sampled_from(("ada", "bo", None)),
        st.sampled_from(("/a", "/b", None)),
        st.one_of(st.none(), st.integers(0, 9)),
    ),
    max_size=20,
)


@pytest.fixture(scope="module")
def connection():
    with opened(threads=1) as connection:
        yield connection


def emptied(connection: duckdb.DuckDBPyConnection) -> None:
    for (table,) in connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall():
        connection.execute(f"DROP TABLE {table}")
    reads_table(connection)
    connection.execute("ALTER TABLE nightingale_reads ADD COLUMN batch BIGINT")


def loaded(connection: duckdb.DuckDBPyConnection, batch: int, rows) -> None:
    values = [
        (i, moment(at).replace(tzinfo=None), who, "i-1", "p-1", path, size, batch) for i, at, who, path, size in rows
    ]
    if values:
        connection.executemany("INSERT INTO nightingale_reads VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)", values)


GROUPED = {one.id: one.correlation.group_by if one.correlation else ("person",) for one in RULES.rules}


def merged(told: list[Firing], news: tuple[Firing, ...]) -> list[Firing]:
    """Take firings as whoever keeps them does: a longer one takes the place of what it grew from."""
    for new in news:
        told = [old for old in told if not is_same(old, new)]
        told.append(new)
    return told


def is_same(old: Firing, new: Firing) -> bool:
    """Whether these are one episode: of a group, which a firing that is not grouped by person has whoever it names."""
    if old.rule != new.rule or old.group != new.group:
        return False
    is_group = "person" not in GROUPED[new.rule] or old.person == new.person
    return is_group and old.last_seen >= new.first_seen and old.first_seen <= new.last_seen


def in_order(firings) -> list[Firing]:
    return sorted(firings, key=lambda f: (f.rule, f.person or "", f.first_seen))


relaxed = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
thorough = settings(relaxed, max_examples=40 * THOROUGHNESS)
cuts = st.lists(st.integers(0, 20), max_size=4)


def check_splits(connection, rows, cuts, late) -> None:
    ordered = [(f"e{place:02}", *row) for place, row in enumerate(sorted(rows, key=lambda row: row[0]))]
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS], late=timedelta(seconds=late))
    told: list[Firing] = []
    edges = sorted({0, len(ordered), *(cut for cut in cuts if cut < len(ordered))})
    for batch, (begin, end) in enumerate(pairwise(edges), 1):
        loaded(connection, batch, ordered[begin:end])
        scan = incremental.scan(LATER)
        assert (scan.events, scan.late, scan.failed) == (end - begin, 0, ())
        told = merged(told, scan.firings)
        incremental.told()
        incremental.prune(timedelta())
    known = set(map(repr, incremental.episodes()))
    emptied(connection)
    loaded(connection, 1, ordered)
    whole = Engine(connection, RULES, [READS]).run()
    # What asks for few may be taken back when more comes at the same instant; what was told of it stays told.
    asks_for_more = ("decoy", "many", "distinct", "bytes", "order")
    assert in_order(f for f in told if f.rule in asks_for_more) == in_order(f for f in whole if f.rule in asks_for_more)
    assert {repr(firing) for firing in whole if firing.last_seen >= moment(ordered[-1][1] - late)} <= known
    assert known <= set(map(repr, whole))


@relaxed
@given(events, cuts, st.sampled_from((0, 30)))
def test_events_in_order_give_the_same_however_they_are_cut(connection, rows, cuts, late):
    check_splits(connection, rows, cuts, late) if rows else None


@pytest.mark.slow
@pytest.mark.timeout(900)
@thorough
@given(events, cuts, st.sampled_from((0, 30, 1000)))
def test_many_more_events_in_order_give_the_same(connection, rows, cuts, late):
    check_splits(connection, rows, cuts, late) if rows else None


@settings(relaxed, max_examples=2)
@given(st.permutations(range(5)), st.lists(st.integers(0, 150), min_size=5, max_size=5))
def test_events_of_one_batch_each_in_any_order_give_the_same(connection, order, times):
    check_order(connection, order, times)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(relaxed, max_examples=14 * THOROUGHNESS)
@given(st.permutations(range(8)), st.lists(st.integers(0, 300), min_size=8, max_size=8))
def test_events_in_any_order_that_are_not_too_late_give_the_same(connection, order, times):
    check_order(connection, order, times)


def check_order(connection, order, times) -> None:
    rows = [(f"e{place}", at, "ada", "/a" if at % 2 else "/b", 1 + at % 5) for place, at in enumerate(times)]
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS], late=timedelta(seconds=300))
    for batch, place in enumerate(order, 1):
        loaded(connection, batch, [rows[place]])
        assert incremental.scan(LATER).late == 0
    assert in_order(incremental.episodes()) == in_order(Engine(connection, RULES, [READS]).run())


def test_an_event_that_is_too_late_is_counted_and_scanned_with_its_like_alone(connection):
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS], late=timedelta(seconds=100))
    loaded(connection, 1, [("old", 0, "ada", "/x", 1), ("new", 1000, "ada", "/x", 1)])
    incremental.scan(LATER)
    incremental.told()
    loaded(connection, 2, [("one", 1, "ada", "/a", 1), ("two", 2, "ada", "/x", 1)])
    scan = incremental.scan(LATER)
    assert (scan.events, scan.late) == (2, 2)
    # Three reads lie within a minute now, but two of them are too late to be counted with the one that came in time.
    assert [firing.event_ids for firing in scan.firings if firing.rule == "decoy"] == [("one",)]
    assert "many" not in {firing.rule for firing in scan.firings}
    loaded(connection, 3, [(f"more{at}", at, "ada", "/x", 1) for at in (3, 4, 5)])
    late = incremental.scan(LATER)
    assert [firing.event_ids for firing in late.firings if firing.rule == "many"] == [("more3", "more4", "more5")]


def test_an_event_from_the_future_does_not_make_those_of_today_late(connection):
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS], late=timedelta(seconds=100))
    loaded(connection, 1, [("a", 0, "ada", "/a", 1), ("future", 9_000_000, "ada", "/a", 1)])
    assert incremental.scan(moment(10)).through == moment(0)
    loaded(connection, 2, [("b", 20, "ada", "/a", 1)])
    scan = incremental.scan(moment(30))
    assert (scan.late, scan.through) == (0, moment(20))


def test_firings_come_again_until_they_are_told_and_then_only_when_they_grow(connection):
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS])
    loaded(connection, 1, [("a", 0, "ada", "/a", 1)])
    assert "decoy" in {firing.rule for firing in incremental.scan(LATER).firings}
    again = Incremental(connection, RULES, [READS])  # the process ended before it said that it had told
    assert "decoy" in {firing.rule for firing in again.scan(LATER).firings}
    again.told()
    assert Incremental(connection, RULES, [READS]).scan(LATER).firings == ()
    loaded(connection, 2, [("b", 5, "ada", "/a", 1)])
    grown = {firing.rule: firing for firing in Incremental(connection, RULES, [READS]).scan(LATER).firings}
    assert (grown["decoy"].event_ids, grown["decoy"].event_count) == (("a", "b"), 2)


def test_a_scan_that_breaks_off_has_not_happened(connection):
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS])
    loaded(connection, 1, [("a", 0, "ada", "/a", 1)])
    connection.execute(
        "ALTER TABLE nightingale_scan RENAME COLUMN through TO away"
    )  # the last step of a scan will fail
    with pytest.raises(duckdb.Error):
        incremental.scan(LATER)
    connection.execute("ALTER TABLE nightingale_scan RENAME COLUMN away TO through")
    scan = incremental.scan(LATER)
    assert scan.events == 1
    assert [firing.event_count for firing in scan.firings if firing.rule == "decoy"] == [1]


def test_an_event_that_comes_twice_counts_once(connection):
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS])
    for batch in (1, 2):
        loaded(connection, batch, [("a", 0, "ada", "/a", 9), ("b", 1, "ada", "/a", 1)])
        incremental.scan(LATER)
    assert in_order(incremental.episodes()) == in_order(Engine(connection, RULES, [READS]).run())
    found = {firing.rule: firing.event_count for firing in incremental.episodes()}
    assert (found["decoy"], found["bytes"], "many" in found) == (2, 2, False)


def test_other_rules_are_run_over_all_that_there_is(connection):
    emptied(connection)
    loaded(connection, 1, [("a", 0, "ada", "/a", 1)])
    Incremental(connection, RULES, [READS]).scan(LATER)
    others = CompiledRules(digest="others", rules=(rule("all_reads", "true"),))
    assert [firing.rule for firing in Incremental(connection, others, [READS]).scan(LATER).firings] == ["all_reads"]


def test_events_that_no_later_scan_needs_are_removed(connection):
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS], late=timedelta(minutes=1))
    incremental.prune()  # nothing was scanned yet
    for hour in range(5):
        loaded(connection, hour + 1, [(f"{hour}-{n}", hour * 7200 + n, "ada", "/a", 1) for n in range(20)])
        incremental.scan(LATER)
        incremental.prune()
    left = connection.execute('SELECT count(*), min("at") FROM nightingale_reads').fetchone()
    assert left == (20, moment(4 * 7200).replace(tzinfo=None))
    loaded(connection, 6, [("unscanned", 0, "ada", "/a", 1)])
    incremental.prune(timedelta())
    assert connection.execute("SELECT count(*) FROM nightingale_reads WHERE event_id = 'unscanned'").fetchone() == (1,)


def test_what_is_kept_does_not_grow_with_what_was_told(connection):
    emptied(connection)
    incremental = Incremental(connection, RULES, [READS], late=timedelta(minutes=1))
    for hour in range(5):
        loaded(connection, hour + 1, [(f"{hour}-{n}", hour * 7200 + n, "ada", "/a", 1) for n in range(20)])
        incremental.scan(LATER)
        incremental.told()
    (hits,) = connection.execute("SELECT count(DISTINCT event_id) FROM nightingale_scan_hits").fetchone()
    assert hits <= 20
    assert len(incremental.episodes()) <= 2 * len(RULES.rules)
    assert incremental.needed_since() == moment(4 * 7200 + 19 - 60 - 2 * SPAN)
