"""What cannot be run as it is written is refused by name when rules are loaded, with what to do instead."""

from __future__ import annotations

from typing import Any

import pytest

from findings.sigma.asked import NARROW, WIDE, rule
from nightingale_findings.compiled import RuleRefusedError
from nightingale_findings.logsource import LogSource
from nightingale_findings.sigma import check_rules, compile_rules

SOURCES = (NARROW, WIDE, LogSource(name="s3_access", product="aws", service="s3access", table="s3", fields=None))

VALUES: dict[str, tuple[Any, LogSource, str]] = {
    "look-ahead": ({"f|re": "a(?=b)"}, WIDE, "look-around"),
    "look-behind": ({"f|re": "(?<!a)b"}, WIDE, "look-around"),
    "backreference": ({"f|re": r"(a)\1"}, WIDE, "a backreference"),
    "named backreference": ({"f|re": "(?P<x>a)(?P=x)"}, WIDE, "a backreference"),
    "atomic group": ({"f|re": "(?>a)b"}, WIDE, "an atomic group"),
    "possessive": ({"f|re": "a++b"}, WIDE, "a possessive quantifier"),
    "group DuckDB cannot read": ({"f|re": "(?<x>a)"}, WIDE, "(?<name>"),
    "broken pattern": ({"f|re": "("}, WIDE, "is invalid"),
    "unknown modifier": ({"f|sounds": "a"}, WIDE, "Unknown modifier 'sounds'"),
    "unknown field": ({"pth": "a"}, NARROW, "reads has no field 'pth'"),
    "our own column's name": ({"Person": "a"}, WIDE, "Nightingale's own columns"),
    "the whole event as a field": ({"raw": "a"}, WIDE, "Nightingale's own columns"),
    "placeholder not given": ({"f|expand": "%admins%"}, WIDE, "%admins%"),
    "no network": ({"f|cidr": "10.0.0.1/8"}, WIDE, "host bits"),
    "network of a number": ({"bytes|cidr": "10.0.0.0/8"}, NARROW, "whole number"),
    "flag of a number": ({"bytes": True}, NARROW, "'bytes' is a whole number"),
    "number of a flag": ({"is_honeypot": 1}, NARROW, "'is_honeypot' is true or false"),
    "number of a time": ({"closed_at|gt": 5}, NARROW, "'closed_at' is a time"),
    "number too large": ({"f": 2**53}, WIDE, "too large to be exact"),
    "comparison with a text": ({"f|gt": "abc"}, WIDE, "incompatible"),
    "hour of a text": ({"eventTime|hour": 3}, WIDE, "part of a time"),
    "list referred to": ({"path|fieldref": "folders"}, NARROW, "list of texts"),
    "empty list": ({"f": []}, WIDE, "empty list of values"),
    "word in a source without one text": ("word", NARROW, "not searched as one text"),
    "word that JSON writes in several ways": ('a "word"', WIDE, "without a field"),
    "pattern without a field": ("a*b", WIDE, "without a field"),
    "flag without a field": (True, WIDE, "without a field"),
    "a date": ({"f": [[1]]}, WIDE, "Unsupported type"),
}
KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "timeframe": ({"detection": {"s": {"f": "a"}, "condition": "s", "timeframe": "5m"}}, "timeframe"),
    "aggregation": ({"detection": {"s": {"f": "a"}, "condition": "s | count() by f > 5"}}, "aggregation"),
    "near": ({"detection": {"s": {"f": "a"}, "condition": "s | near s"}}, "aggregation"),
    "two of them": ({"detection": {"s": {"f": "a"}, "condition": "2 of them"}}, "Expected"),
    "no such search": ({"detection": {"s": {"f": "a"}, "condition": "t"}}, "'t' not defined"),
    "no search fits": ({"detection": {"s": {"f": "a"}, "condition": "1 of x*"}}, "doesn't match any"),
    "no condition": ({"detection": {"s": {"f": "a"}}}, "at least one condition"),
    "no detection": ({"detection": None}, "detection"),
    "empty search": ({"detection": {"s": {}, "condition": "s"}}, "'s' is empty"),
    "collection": ({"action": "global"}, "action"),
    "filter": ({"filter": {"rules": "any"}}, "filter"),
    "window": ({"window": "tumbling"}, "window"),
    "misspelt level": ({"lvel": "high"}, "'lvel'"),
    "misspelt detection": ({"detecton": {}, "detection": None}, "detection"),
    "unknown level": ({"level": "grave"}, "grave"),
    "another taxonomy": ({"taxonomy": "ecs"}, "'ecs'"),
    "a map of tags": ({"tags": [{"attack": "t1530"}]}, "`tags` is neither"),
    "unknown product": ({"logsource": {"product": "okta", "service": "okta"}}, "product: okta, service: okta"),
    "ambiguous product": ({"logsource": {"product": "aws"}}, "several sources"),
    "unknown category": ({"logsource": {"product": "aws", "category": "x"}}, "category: x"),
    "unknown key of logsource": ({"logsource": {"product": "aws", "servce": "cloudtrail"}}, "'servce'"),
    "unknown response": ({"custom": {"nightingale": {"response": "shoot"}}}, "'shoot'"),
    "unknown key of ours": ({"custom": {"nightingale": {"respond": "notify"}}}, "'respond'"),
    "unreadable episode": ({"custom": {"nightingale": {"episode": "1 hour"}}}, "'1 hour'"),
    "id that is none": ({"id": "one"}, "UUID"),
    "title that is none": ({"title": 5}, "title"),
}
FILES = {
    "no YAML": ("title: [", "not YAML"),
    "nothing": ("", "no rule"),
    "a list": ("- a\n- b\n", "no mapping"),
    "a key twice": ("title: a\ntitle: b\n", "Duplicate key"),
    "no such date": ("title: a\ndate: 2026-13-45\n", "not YAML"),
    "deep": ("a: " + "[" * 5000, "not YAML"),
    "long": ("#" * (1 << 20) + "\n", "longer than"),
    "aliases": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
        "aliases",
    ),
    "an object of Python": ("title: !!python/object/apply:os.system [ls]\n", "not YAML"),
}


def refusal(files) -> RuleRefusedError:
    with pytest.raises(RuleRefusedError) as refused:
        compile_rules(files, SOURCES)
    return refused.value


@pytest.mark.parametrize("case", VALUES)
def test_a_value_that_cannot_be_matched_is_refused(case):
    search, source, why = VALUES[case]
    error = refusal({"r.yml": rule({"s": search, "condition": "s"}, source)})
    assert error.rule == "r.yml"
    assert why in error.why
    assert error.next_step


@pytest.mark.parametrize("case", KEYS)
def test_a_key_that_would_change_the_meaning_is_refused(case):
    keys, why = KEYS[case]
    content = {"detection": {"s": {"f": "a"}, "condition": "s"}, **keys}
    logsource = {"logsource": keys["logsource"]} if "logsource" in keys else {}
    content.pop("logsource", None)
    error = refusal({"r.yml": rule(content.pop("detection"), WIDE, **content, **logsource)})
    assert why in error.why
    assert error.next_step


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_rule_is_refused(case):
    text, why = FILES[case]
    error = refusal({"r.yml": text})
    assert (error.rule, why in error.why, bool(error.next_step)) == ("r.yml", True, True), error.why


def test_a_near_name_is_offered():
    error = refusal({"r.yml": rule({"s": {"pth": "a"}, "condition": "s"}, NARROW)})
    assert error.next_step == "did you mean 'path'?"


def test_all_refusals_of_a_set_are_told_and_the_others_are_taken():
    good = {"s": {"f": "a"}, "condition": "s"}
    files = {
        "a.yml": rule(good),
        "b.yml": rule({"s": {"f|re": "(?=a)"}, "condition": "s"}),
        "c.yml": rule(good, name="one") + "\n---\n" + rule(good, name="two", window="x") + "\n---\n" + rule(good),
        "d.yml": "title: [",
    }
    compiled, refused = check_rules(files, SOURCES)
    assert [one.name for one in compiled.rules] == ["a", "c-3", "one"]
    assert [one.rule for one in refused] == ["b.yml", "c.yml (two)", "d.yml"]


def test_two_rules_of_one_name_or_id_are_refused():
    same = "0f1f3f62-6ff3-4a0b-9b6f-1c2a0a4bb111"
    good = {"s": {"f": "a"}, "condition": "s"}
    for key, value in (("name", "same"), ("id", same)):
        said: dict[str, Any] = {key: value}
        files = {"a.yml": rule(good, **said), "b.yml": rule(good, **said)}
        compiled, refused = check_rules(files, SOURCES)
        assert [one.name for one in compiled.rules] == ["same" if key == "name" else "a"]
        assert [(one.rule, value in one.why) for one in refused] == [("b.yml", True)]


def test_keys_that_mean_nothing_to_matching_are_let_through():
    good = {"s": {"f": "a"}, "condition": "s"}
    more: dict[str, Any] = {
        "references": ["x"],
        "related": [],
        "simulation": [{"type": "x"}],
        "regression_tests_path": "x",
        "ruletype": "Sigma",
    }
    assert compile_rules({"r.yml": rule(good, **more)}, SOURCES).rules[0].name == "r"
