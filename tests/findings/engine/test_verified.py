"""Rules from outside: every condition that our dialect writes passes, and nothing that reaches beyond a condition."""

from __future__ import annotations

import pytest

from nightingale_findings.compiled import CompiledRule, Correlation
from nightingale_findings.engine import locked, opened
from nightingale_findings.engine.shared import layered, shared
from nightingale_findings.engine.verified import NotOursError, check_where, verified
from nightingale_findings.rules import shipped
from nightingale_findings.sigma import compile_rules
from nightingale_findings.sources.clouds import CLOUDS
from nightingale_findings.sources.own_tables import OWN

SOURCES = (*OWN, *(cloud.SOURCE for cloud in CLOUDS.values()))
CONNECTION = locked(opened(threads=1))

HOSTILE = {
    "a file": "contains(read_text('/etc/passwd'), 'root')",
    "a table function": "\"path\" IN (SELECT content FROM read_text('/etc/passwd'))",
    "a subquery": "EXISTS (SELECT 1)",
    "a scalar subquery": "(SELECT 1) = 1",
    "the environment": "getenv('HOME') = 'x'",
    "a setting": "current_setting('home_directory') = 'x'",
    "a variable": "getvariable('x') = 'y'",
    "a second statement": "TRUE); COPY reads TO '/tmp/x'; SELECT (TRUE",
    "a copy": "TRUE) ; COPY (SELECT 1) TO '/tmp/x' ; --",
    "a pragma": "TRUE; PRAGMA database_list",
    "a line's comment": "TRUE -- ",
    "a comment": "TRUE /* x */",
    "a bracket that closes ours": "TRUE) OR (TRUE",
    "a bracket of another kind": "len([TRUE)] > 0",
    "a bracket that stays open": "(TRUE",
    "a list of two": "TRUE, TRUE",
    "an escaped string": "\"path\" = E'\\'' OR TRUE",
    "a string in dollars": '"path" = $$x$$',
    "a parameter": '"path" = $1',
    "an arrow": "len(list_filter([\"path\"], g -> g = 'x')) > 0",
    "another parameter's name": "len(list_filter([\"path\"], lambda evil: evil = 'x')) > 0",
    "a lambda alone": "lambda g: g",
    "a window": "count(*) OVER () > 1",
    "every column": "COLUMNS(*) IS NULL",
    "a star": "*",
    "a method": "\"path\".lower() = 'x'",
    "a schema": "main.lower(\"path\") = 'x'",
    "a quoted function": "\"read_text\"('/etc/passwd') = 'x'",
    "another type": "CAST(\"path\" AS JSON) = 'x'",
    "a named argument": "lower(g := \"path\") = 'x'",
    "a column of another table": '"nightingale_grants"."person" = \'x\'',
    "a column that it does not name": "\"program\" = 'x'",
    "small letters": "case when TRUE then TRUE else FALSE end",
    "a zero byte": "\"path\" = 'x\0'",
    "a line break": "TRUE\n",
    "growth": "repeat('x', 1000000000) = \"path\"",
    "hidden growth": 'repeat(\'0:\', 1000000000 - len("path")) = "path"',
    "padding": "lpad(\"path\", 1000000000, '0') = 'x'",
    "nothing": "",
    "depth": "(" * 3000 + "TRUE" + ")" * 3000,
    "depth without brackets": "NOT " * 20_000 + "TRUE",
}

EVERY_MODIFIER = """
title: Every modifier that the dialect knows
id: 5f1f1c0c-3b0f-4a71-9d42-1f0a5a3f7f20
logsource: {product: aws, service: cloudtrail}
detection:
  a: {f|contains: [one, "it's"], g|cased: Two, h|startswith: 'a%b_c!', i: 'x*y?z', j|re: '^a.*"b"$'}
  b: {k|cidr: [10.0.0.0/9, '2001:db8::/33'], l|gte: 5, m|lt: 2.5, n: null, o|exists: true, p|fieldref: q}
  c: {r|contains|all: [x, "y\\"z"], s|windash|contains: ' -a', t|base64offset|contains: secret, at|hour|gte: 22}
  e: {u: true}
  d: [loose, 'wor/ds']
  condition: a or not b or (c and d and e)
"""


@pytest.mark.parametrize("where", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_more_than_a_condition_of_the_dialect_is_refused(where: str) -> None:
    with pytest.raises(NotOursError):
        check_where(CONNECTION, where, ("path",))


def test_every_kind_of_condition_that_the_dialect_writes_passes() -> None:
    (rule,) = compile_rules({"all.yml": EVERY_MODIFIER}, SOURCES).rules
    looked = verified([rule], SOURCES)
    assert (looked.rules, looked.failed) == ((rule,), ())


@pytest.mark.slow
def test_every_shipped_rule_passes() -> None:
    rules = shipped().rules
    looked = verified(rules, SOURCES)
    assert looked.failed == ()
    assert {rule.id for rule in looked.rules} == {rule.id for rule in rules}


def rule(**changes: object) -> CompiledRule:
    given = {"id": "one", "name": "one", "title": "One", "level": "low", "source": "reads", "where": "TRUE"}
    return CompiledRule(**(given | changes))  # type: ignore[arg-type]  # what is tested


def why_not(*rules: CompiledRule) -> dict[str, str]:
    return dict(verified(rules, SOURCES).failed)


def correlated(**changes: object) -> CompiledRule:
    given = {"kind": "event_count", "rules": ("one",), "span_s": 60, "conditions": ((">=", 2.0),)} | changes
    correlation = Correlation(**given)  # type: ignore[arg-type]  # what is tested
    return rule(id="two", name="two", where=None, correlation=correlation)


def test_a_rule_of_no_source_or_of_two_kinds_is_not_run() -> None:
    assert "no source 'lost'" in why_not(rule(source="lost"))["one"]
    assert "either" in why_not(rule(where=None))["one"]


def test_a_rule_that_fails_by_itself_takes_no_other_along() -> None:
    bad = rule(where="regexp_matches(\"path\", '(')", fields=("path",))
    looked = verified([bad, rule(id="good", name="good")], SOURCES)
    assert [one.name for one in looked.rules] == ["good"]
    assert "missing" in dict(looked.failed)["one"]


@pytest.mark.slow
def test_a_condition_that_takes_for_ever_without_any_event_is_not_run_and_takes_no_other_along() -> None:
    letters = "string_split('" + ",".join("a" * 9_000) + "', ',')"
    inner = f"len(list_filter({letters}, lambda whole: whole <> g)) > 5"
    endless = f"len(list_filter({letters}, lambda g: len(list_filter({letters}, lambda plain: {inner})) > 5)) > 0"
    looked = verified([rule(where=endless, fields=()), rule(id="good", name="good")], SOURCES)
    assert [one.name for one in looked.rules] == ["good"]
    assert dict(looked.failed)["one"] == "asked about no event at all, it took more than 2 s"


def test_quotes_in_a_correlation_s_fields_are_part_of_their_names() -> None:
    evil = '"; DROP TABLE nightingale_reads; --'
    assert why_not(rule(), correlated(group_by=(evil,), aliases={evil: {"one": evil}})) == {}
    assert why_not(rule(source="cloudtrail"), correlated(field=(evil,), kind="value_count")) == {}


def test_a_correlation_counts_only_rules_over_events_that_are_run() -> None:
    assert "counts 'one'" in why_not(correlated())["two"]
    assert "counts 'one'" in why_not(rule(where="getenv('x') = 'y'"), correlated())["two"]
    assert verified([correlated()], SOURCES, [rule()]).failed == ()


@pytest.mark.parametrize("name", ["m0", "c 3", "L 1", "tick", "nightingale_x"])
def test_a_field_of_a_cloud_s_log_takes_no_name_of_the_engine_s_own_columns(name: str) -> None:
    assert "engine's own" in why_not(rule(source="cloudtrail", fields=(name,)))["one"]


def test_a_shared_part_inside_a_literal_stays_text() -> None:
    case = 'CASE WHEN "a" = \'"\' THEN TRUE ELSE FALSE END'
    within = f"\"b\" = 'z{case.replace(chr(39), chr(39) * 2)}'"
    read, layers = shared([case, case, within])
    assert read == ['"c 0"', '"c 0"', within]
    connection = opened(threads=1)
    relation = layered("(SELECT '\"' AS a, 'z' AS b)", layers)
    assert connection.execute(f"SELECT {', '.join(read)} FROM {relation}").fetchall() == [(True, True, False)]  # noqa: S608 - what is tested
    connection.close()
