"""Plain rules: one pass, episodes, and what happens when one of them fails."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from doubles.finding_rules import READS, correlated, moment, reads_table, rule, ruled
from nightingale_findings.engine import Engine, opened
from nightingale_findings.engine.episodes import FEW
from nightingale_findings.firing import MOST_EVENTS


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(threads=1) as connection:
        yield connection


def test_matches_of_a_group_no_further_apart_than_the_episode_are_one_firing(connection):
    reads_table(
        connection,
        [
            ("b", 3600, "ada", "/d/decoy", 1),
            ("a", 0, "ada", "/d/decoy", 1),
            ("c", 7201, "ada", "/d/decoy", 1),
            ("d", 10, "bo", "/d/decoy", 1),
            ("e", 20, "ada", "/d/other", 1),
        ],
    )
    decoy = rule("decoy", "\"path\" = '/d/decoy'", fields=("path",))
    firings = Engine(connection, ruled(decoy), [READS]).run()
    assert [(f.person, f.first_seen, f.last_seen, f.event_ids) for f in firings] == [
        ("ada", moment(0), moment(3600), ("a", "b")),
        ("ada", moment(7201), moment(7201), ("c",)),
        ("bo", moment(10), moment(10), ("d",)),
    ]
    assert {(f.rule, f.instance, f.project, f.value) for f in firings} == {("decoy", "i-1", "p-1", None)}


def test_nobody_is_a_group_of_plain_rules_and_an_event_delivered_twice_counts_once(connection):
    reads_table(connection, [("a", 0, None, "/x", 1), ("a", 0, None, "/x", 1), ("b", 5, None, "/x", 1)])
    (firing,) = Engine(connection, ruled(rule("any", "true")), [READS]).run()
    assert (firing.person, firing.event_count, firing.event_ids) == (None, 2, ("a", "b"))


def test_a_firing_carries_the_first_and_the_last_events_and_counts_them_all(connection):
    reads_table(connection, [(f"e{at:04}", at, "ada", "/x", 1) for at in range(500)])
    (firing,) = Engine(connection, ruled(rule("any", "true")), [READS]).run()
    half = MOST_EVENTS // 2
    assert firing.event_count == 500
    assert firing.event_ids == tuple(f"e{at:04}" for at in (*range(half), *range(500 - half, 500)))


def test_events_of_one_instant_stand_in_the_order_of_their_ids(connection):
    reads_table(connection, [("c", 0, "ada", "/x", 1), ("a", 0, "ada", "/x", 1), ("b", 0, "ada", "/x", 1)])
    (firing,) = Engine(connection, ruled(rule("any", "true")), [READS]).run()
    assert firing.event_ids == ("a", "b", "c")


@pytest.mark.parametrize("count", [3, FEW, FEW + 1])
def test_a_rule_alone_answers_as_it_does_beside_others(connection, count):
    reads = [(f"e{at:04}", at * 7, ("ada", "bo", None)[at % 3], "/x", 1) for at in range(count)]
    reads_table(connection, [*reads, reads[0], ("other", 0, "ada", "/y", 1)])
    connection.execute(
        "INSERT INTO nightingale_reads SELECT * REPLACE ('timeless' AS event_id, NULL AS \"at\") FROM "
        "nightingale_reads LIMIT 1"
    )
    asked = rule("x", "\"path\" = '/x'", fields=("path",), episode_s=15)
    alone = Engine(connection, ruled(asked), [READS]).run()
    beside = Engine(connection, ruled(asked, rule("none", "\"path\" = '/z'", fields=("path",))), [READS]).run()
    assert alone == beside
    assert sum(firing.event_count for firing in alone) == count


def test_a_rule_alone_that_fails_is_named_and_finds_nothing(connection):
    reads_table(connection, [("a", 0, "ada", "/secret", 1)])
    engine = Engine(connection, ruled(rule("broken", 'CAST("path" AS INTEGER) > 3', fields=("path",))), [READS])
    assert engine.run() == ()
    (failed,) = engine.failed
    assert failed.rule == "broken"
    assert "secret" not in failed.why


def test_a_rule_that_fails_is_named_without_the_data_it_failed_on_and_the_others_go_on(connection):
    reads_table(connection, [("a", 0, "ada", "/secret", 1)])
    rules = ruled(
        rule("any", "true"),
        rule("broken", 'CAST("path" AS INTEGER) > 3', fields=("path",)),
        rule("strange", '"no such column" = 1'),
        rule("small", '"bytes" = 1', fields=("bytes",)),
        correlated("over_broken", "event_count", [(">=", 1)], rules=("broken",)),
    )
    engine = Engine(connection, rules, [READS])
    assert [firing.rule for firing in engine.run()] == ["any", "small"]
    assert sorted(failed.rule for failed in engine.failed) == ["broken", "over_broken", "strange"]
    assert "/secret" not in repr(engine.failed)
    assert "ConversionException" in next(failed.why for failed in engine.failed if failed.rule == "broken")


def test_a_field_that_the_table_has_not_is_null(connection):
    reads_table(connection, [("a", 0, "ada", "/x", 1)])
    absent = rule("absent", '"later.field" IS NULL', fields=("later.field",))
    assert len(Engine(connection, ruled(absent), [READS]).run()) == 1


def test_times_that_nobody_can_reckon_with_match_nothing(connection):
    reads_table(connection, [("a", 0, "ada", "/x", 1)])
    connection.execute("""
        INSERT INTO nightingale_reads(event_id, "at") VALUES ('inf', 'infinity'), ('none', NULL),
            ('far', '290000-01-01'), ('old', '0001-01-01')
    """)
    rules = ruled(rule("every", "true"), correlated("count", "event_count", [(">=", 1)]))
    firings = Engine(connection, rules, [READS]).run()
    assert [(firing.rule, firing.event_ids) for firing in firings] == [("count", ("a",)), ("every", ("a",))]
