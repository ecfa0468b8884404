"""What a rule saw, for whoever tries one."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from doubles.finding_rules import READS, TRAIL, correlated, moment, reads_table, rule, ruled, wide_table
from nightingale_findings.engine import Engine, Explained, opened


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(threads=1) as connection:
        yield connection


def test_a_plain_rule_shows_the_values_it_asked_about_of_each_event(connection):
    wide_table(connection, ['{"user": {"type": "Root"}}', '{"user": {}}'])
    root = rule("root", "\"user.type\" = 'Root'", source="trail", fields=("user.type",))
    assert Engine(connection, ruled(root), [TRAIL]).explain("root") == [
        Explained("root", "e000", moment(0), is_match=True, fields={"user.type": "Root"}),
        Explained("root", "e001", moment(1), is_match=False, fields={"user.type": None}),
    ]


def test_a_correlation_shows_what_each_window_came_to_and_what_was_asked(connection):
    reads_table(connection, [("a", 0, "ada", "/a", 5), ("b", 10, "ada", "/b", 4), ("c", 100, "ada", "/c", 1)])
    rules = ruled(
        rule("every", "true", is_finding=False),
        correlated("bytes", "value_sum", [(">", 8), ("<=", 90.5)], field=("bytes",), group_by=("person",)),
    )
    rows = Engine(connection, rules, [READS]).explain("bytes")
    assert [(row.rule, row.is_match) for row in rows[:3]] == [("every", True)] * 3
    assert [(row.event_id, row.value, row.is_match) for row in rows[3:]] == [
        ("a", 5, False),
        ("b", 9, True),
        ("c", 1, False),
    ]
    assert {row.asked for row in rows[3:]} == {"value_sum of bytes > 8 and <= 90.5 within 60 s by person"}
    assert rows[3].fields == {"rule": "every", "person": "ada"}


def test_temporal_rules_say_how_many_came_together(connection):
    reads_table(connection, [("a", 0, "ada", "/a", 5), ("b", 10, "ada", "/b", 4)])
    rules = ruled(
        rule("a", "\"path\" = '/a'", fields=("path",)),
        rule("b", "\"path\" = '/b'", fields=("path",)),
        correlated("both", "temporal_ordered", rules=("a", "b")),
    )
    windows = [row for row in Engine(connection, rules, [READS]).explain("both") if row.rule == "both"]
    assert [(row.fields["rule"], row.value, row.is_match) for row in windows] == [("a", 1, False), ("b", 2, True)]
    assert windows[0].asked == "rules in this order >= 2 within 60 s"


def test_a_rule_that_is_not_there_or_fails_says_so(connection):
    reads_table(connection, [("a", 0, "ada", "/a", 5)])
    engine = Engine(connection, ruled(rule("bad", 'CAST("path" AS INTEGER) = 1', fields=("path",))), [READS])
    with pytest.raises(KeyError):
        engine.explain("none")
    with pytest.raises(duckdb.Error):
        engine.explain("bad")
