"""Wide logs: what a path finds in an event's JSON, through lists and odd names, and what no event can break."""

from __future__ import annotations

import json
from collections.abc import Iterator

import duckdb
import pytest

from doubles.finding_rules import TRAIL, correlated, rule, ruled, wide_table
from nightingale_findings.engine import Engine, locked, opened
from nightingale_findings.engine.relations import relation
from nightingale_findings.engine.sql import named


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(threads=1) as connection:
        yield connection


def taken(connection: duckdb.DuckDBPyConnection, field: str, *events: object) -> list[str | None]:
    wide_table(connection, [event if isinstance(event, str) else json.dumps(event) for event in events])
    events_of = relation(connection, TRAIL, [field])
    return [
        row[0]
        for row in connection.execute(f"SELECT {named(field)} FROM {events_of} ORDER BY event_id").fetchall()  # noqa: S608 - a quoted name
    ]


RULES = {"ipPermissions": {"items": [{"cidrIp": "10.0.0.0/8"}, {"cidrIp": "0.0.0.0/0"}, {"port": 1}, {"cidrIp": None}]}}


@pytest.mark.parametrize(
    ("field", "event", "expected"),
    [
        ("eventName", {"eventName": "GetObject"}, "GetObject"),
        ("userIdentity.type", {"userIdentity": {"type": "Root"}}, "Root"),
        ("userIdentity.type", {"userIdentity": "Root"}, None),
        ("userIdentity.type", {"userIdentity": {"type": None}}, None),
        ("a.b.c.d.e.f.g.h", {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}}, "1"),
        ("readOnly", {"readOnly": True}, "true"),
        ("size", {"size": 1.5}, "1.5"),
        ("list", {"list": ["a", {"b": 1}]}, '["a",{"b":1}]'),
        ("object", {"object": {"b": [1]}}, '{"b":[1]}'),
        ("empty", {"empty": ""}, ""),
        # A list on the way: the values of all elements, as a list.
        ("ipPermissions.items.cidrIp", RULES, '["10.0.0.0/8","0.0.0.0/0"]'),
        ("ipPermissions.items[].cidrIp", RULES, '["10.0.0.0/8","0.0.0.0/0"]'),
        ("ipPermissions.items{}.cidrIp", RULES, '["10.0.0.0/8","0.0.0.0/0"]'),
        ("ipPermissions.items[*].cidrIp", RULES, '["10.0.0.0/8","0.0.0.0/0"]'),
        ("ipPermissions.items.1.cidrIp", RULES, "0.0.0.0/0"),
        ("a.b", {"a": [{"b": 1}]}, "[1]"),
        ("a.b", {"a": [{"b": ["x", "y"]}, {"b": "z"}]}, '["z","x","y"]'),
        ("a.b.c", {"a": [{"b": [{"c": 1}]}, {"b": {"c": 2}}]}, "[2,1]"),
        ("a.b", {"a": [{"c": 1}]}, None),
        ("a.b", {"a": []}, None),
        # Names with dots in them, slashes, tildes, quotes, spaces and other letters.
        ("labels.compute.googleapis.com/name", {"labels": {"compute.googleapis.com/name": "vm"}}, "vm"),
        ("gcp.audit.method", {"gcp.audit.method": "list"}, "list"),
        ("gcp.audit.method", {"gcp": {"audit.method": "list"}}, "list"),
        ("a.b", {"a": {"b": "nested"}, "a.b": "flat"}, "nested"),
        ("a~b", {"a~b": "1"}, "1"),
        ("a~1b.c", {"a~1b": {"c": "1"}}, "1"),
        ('say "hello"', {'say "hello"': "1"}, "1"),
        ('x.say "hello"', {"x": {'say "hello"': "1"}}, "1"),
        ("it's", {"it's": "1"}, "1"),
        ("größe.日", {"größe": {"日": "1"}}, "1"),
        ("a..b", {"a": {"": {"b": "1"}}}, "1"),
        ("$.a", {"$": {"a": "1"}}, "1"),
        ("a[0]", {"a[0]": "1"}, "1"),
        ("*", {"*": "1"}, "1"),
    ],
)
def test_a_path_finds(connection, field, event, expected):
    assert taken(connection, field, event) == [expected]


def test_what_is_no_json_has_no_fields_and_harms_no_other_event(connection):
    deep = "[" * 100_000 + "]" * 100_000
    events = ["", "{", '{"a":', "null", "[1]", '"text"', deep, '{"a":' + deep + "}", '{"a":"\\u0000"}', '{"a": 1}']
    found = taken(connection, "a", *events)
    assert found[:6] == [None] * 6
    assert found[-2:] == ["\0", "1"]
    assert taken(connection, "a.b", *events)[-1] is None


def test_fields_that_differ_in_case_only_share_a_column(connection):
    wide_table(connection, ['{"UserName": "ada"}', '{"userName": "bo"}'])
    rules = ruled(
        rule("upper", "\"UserName\" = 'bo'", source="trail", fields=("UserName",)),
        rule("lower", "\"userName\" = 'ada'", source="trail", fields=("userName",)),
    )
    engine = Engine(connection, rules, [TRAIL])
    assert [(firing.rule, firing.event_ids) for firing in engine.run()] == [("lower", ("e000",)), ("upper", ("e001",))]


def test_correlations_of_wide_logs_group_by_paths(connection):
    raws = [json.dumps({"eventName": "GetSecretValue", "requestParameters": {"id": f"s{at}"}, "who": {"ip": ip}})
            for at, ip in enumerate(["1.1.1.1", "1.1.1.1", "2.2.2.2", "1.1.1.1"])]  # fmt: skip
    wide_table(connection, raws)
    rules = ruled(
        rule("get", "\"eventName\" = 'GetSecretValue'", source="trail", fields=("eventName",), is_finding=False),
        correlated(
            "mass", "value_count", [(">=", 3)], rules=("get",), field=("requestParameters.id",), group_by=("who.ip",),
            source="trail",
        ),
    )  # fmt: skip
    (firing,) = Engine(connection, rules, [TRAIL]).run()
    assert (dict(firing.group), firing.event_ids, firing.value) == ({"who.ip": "1.1.1.1"}, ("e000", "e001", "e003"), 3)


def test_shared_parts_of_conditions_are_not_looked_for_in_literals(connection):
    literal = 'lower("eventName") CASE WHEN x END'
    wide_table(connection, [json.dumps({"eventName": literal, 'CASE "x" END': "1"})])
    quoted = "'" + literal + "'"
    case = 'CASE WHEN starts_with("eventName", \'[\') THEN false ELSE lower("eventName") = lower(' + quoted + ") END"
    rules = ruled(
        rule("one", case, source="trail", fields=("eventName",)),
        rule("two", f'({case}) AND "CASE ""x"" END" = \'1\'', source="trail", fields=("eventName", 'CASE "x" END')),
        rule("three", f"NOT ({case})", source="trail", fields=("eventName",)),
        rule("four", f'"eventName" = {quoted}', source="trail", fields=("eventName",)),
    )
    engine = Engine(connection, rules, [TRAIL])
    assert [firing.rule for firing in engine.run()] == ["four", "one", "two"]
    assert engine.failed == ()


def test_a_rule_of_a_wide_log_that_fails_takes_no_other_along(connection):
    wide_table(connection, ['{"n": "x"}', '{"n": "3"}'])
    rules = ruled(
        rule("bad", 'CAST("n" AS INTEGER) = 3', source="trail", fields=("n",)),
        rule("good", 'TRY_CAST("n" AS INTEGER) = 3', source="trail", fields=("n",)),
    )
    engine = Engine(connection, rules, [TRAIL])
    assert [firing.rule for firing in engine.run()] == ["good"]
    assert [failed.rule for failed in engine.failed] == ["bad"]


def test_once_locked_a_rule_reads_nothing_but_the_tables(connection, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("token")
    wide_table(connection, ["{}"])
    locked(connection)
    rules = ruled(
        rule("reads", f"(SELECT count(*) FROM read_text('{secret}')) > 0", source="trail"),  # noqa: S608 - the rule that tries it
        rule("any", "true", source="trail"),
    )
    engine = Engine(connection, rules, [TRAIL])
    assert [firing.rule for firing in engine.run()] == ["any"]
    assert [failed.rule for failed in engine.failed] == ["reads"]
    with pytest.raises(duckdb.Error, match="locked"):
        connection.execute("SET enable_external_access = true")
