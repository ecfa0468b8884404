"""Modifiers that rewrite a value, and what is asked of a row as a whole: examples, in both directions."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import pytest

from findings.sigma.asked import NARROW, WIDE, hits
from nightingale_findings.sigma import compile_rules


def texts(*values):
    return [{"f": value} for value in values]


def test_base64offset_finds_a_text_wherever_it_stands_in_what_was_encoded():
    encoded = [base64.b64encode(b"x" * n + b"secret/key" + b"y" * m).decode() for n in range(4) for m in range(4)]
    assert hits({"f|base64offset|contains": "secret/key"}, texts(*encoded)) == [True] * 16
    assert hits({"f|base64offset|contains": "secret/key"}, texts("secret/key", None, "", "c2VjcmV0")) == [False] * 4


def test_wide_is_two_bytes_a_letter_and_goes_with_base64():
    encoded = base64.b64encode("abc".encode("utf-16le")).decode()
    assert hits({"f|wide|base64": "abc"}, texts(encoded, base64.b64encode(b"abc").decode())) == [True, False]
    assert hits({"f|wide|contains": "ab"}, texts("xa\0b\0", "ab")) == [True, False]


def test_utf16_has_a_mark_before_it():
    assert hits({"f|utf16|base64": "abc"}, texts(base64.b64encode("\ufeffabc".encode("utf-16le")).decode())) == [True]
    assert hits({"f|utf16be|base64": "abc"}, texts(base64.b64encode("abc".encode("utf-16be")).decode())) == [True]


def test_windash_finds_each_way_of_writing_a_dash():
    rows = texts("x -enc y", "x /enc y", "x \u2013enc y", "x \u2014enc y", "x \u2015enc y", "x +enc y", "x-enc")
    assert hits({"f|windash|contains": " -enc"}, rows) == [True] * 5 + [False] * 2


def test_all_asks_for_every_value_and_each_may_be_in_another_element():
    rows = texts('["Allow","arn:aws:s3:::a"]', '["Allow"]', "Allow arn:aws", None)
    assert hits({"f|contains|all": ["allow", "arn:aws"]}, rows) == [True, False, True, False]


def test_placeholders_are_filled_with_what_was_given():
    rows = texts("alice", "bob", "svc-1", "%admins%", "al*ce")
    given = {"admins": ["alice", "al*ce"], "services": ["svc-"]}
    assert hits({"f|expand": "%admins%"}, rows, placeholders=given) == [True, False, False, False, True]
    assert hits({"f|expand|startswith": "%services%"}, rows, placeholders=given) == [False, False, True, False, False]
    assert hits({"f|expand|cased": "%admins%"}, texts("alice", "Alice"), placeholders=given) == [True, False]
    assert hits({"f|re|expand": "^%admins%$"}, rows, placeholders=given) == [True, False, False, False, True]


def test_parts_of_a_time_are_compared_as_numbers():
    rows = [{"at": datetime(2026, 1, 1, hour, 30)} for hour in (3, 19, 20, 23)] + [{}]  # noqa: DTZ001 - UTC, as the column has it
    assert hits({"at|hour": 3}, rows) == [True, False, False, False, False]
    assert hits({"at|hour|gte": 20}, rows, NARROW) == [False, False, True, True, False]
    assert hits({"at|minute": 30, "at|day": 1, "at|week": 1, "at|month": 1, "at|year": 2026}, rows) == [True] * 4 + [
        False
    ]
    both = {"s": {"at|hour|gte": 20}, "t": {"at|hour|lt": 6}, "condition": "not (s or t)"}
    assert hits(both, rows) == [False, True, False, False, True]


def test_a_list_field_passes_a_whole_row_and_null_asks_for_the_list_itself():
    rows: list[dict[str, Any]] = [{"folders": None}, {"folders": []}, {"folders": ["a", None]}, {"folders": ["B"]}]
    assert hits({"folders": None}, rows, NARROW) == [True, False, False, False]
    assert hits({"folders": ["b", None]}, rows, NARROW) == [True, False, False, True]
    assert hits({"folders|exists": True}, rows, NARROW) == [False, True, True, True]


def test_a_text_that_is_no_number_harms_no_other_row_of_a_numeric_field():
    rows: list[dict[str, Any]] = [{"bytes": 5}, {"bytes": None}, {"bytes": 6}]
    assert hits({"bytes": ["abc", 5]}, rows, NARROW) == [True, False, False]
    assert hits({"bytes": ["abc", "6"]}, rows, NARROW) == [False, False, True]
    assert hits({"s": {"bytes": "abc"}, "condition": "not s"}, rows, NARROW) == [True, True, True]


def test_true_of_a_rule_is_true_of_json_and_its_text():
    assert hits({"f": True}, texts("true", "True", "false", "1", None)) == [True, True, False, False, False]
    assert hits({"f": "true"}, texts("true", "false")) == [True, False]
    assert hits({"is_honeypot": True}, [{"is_honeypot": True}, {"is_honeypot": False}, {}], NARROW) == [
        True,
        False,
        False,
    ]


def test_quotes_of_json_inside_of_json_are_found():
    policy = '{"policyDocument":"{\\"Effect\\":\\"Allow\\"}"}'
    wanted = {"f|contains|all": ['"Effect"', '"Allow"']}
    assert hits(wanted, texts(policy, '{"Effect":"Allow"}', '{"Effect":"Deny"}')) == [True, True, False]


def test_a_word_without_a_field_is_looked_for_in_the_whole_event_of_a_wide_source():
    detection = {"keywords": ["Microsoft.Compute/snapshots/write", "*LISTKEYS*"], "condition": "keywords"}
    rows = [
        {"raw": '{"op":"MICROSOFT.COMPUTE/SNAPSHOTS/WRITE"}'},
        {"raw": '{"op":"Microsoft.Compute\\/snapshots\\/write"}'},
        {"raw": '{"a":{"b":["x/listKeys/action"]}}'},
        {"raw": '{"op":"Microsoft.Compute/snapshots/read"}'},
        {},
    ]
    assert hits(detection, rows) == [True, True, True, False, False]
    assert hits({**detection, "condition": "not keywords"}, rows) == [False, False, False, True, True]


CONDITIONS = {
    "1 of sel_*": [True, True, False, False],
    "all of sel_*": [False, True, False, False],
    "1 of them": [True, True, True, False],
    "any of them": [True, True, True, False],
    "all of them": [False, False, False, False],
    "sel_a and not sel_b": [True, False, False, False],
    "not (sel_a or other)": [False, False, False, True],
    "not 1 of sel_*": [False, False, True, True],
    "(sel_a and (sel_b or other)) or (other and not (sel_a and sel_b))": [False, True, True, False],
    "not not sel_a": [True, True, False, False],
    "sel_a or other and sel_b": [True, True, False, False],
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_mean_what_they_say(condition):
    detection = {"sel_a": {"f": "a"}, "sel_b": {"g": "b"}, "other": {"f": "o"}, "condition": condition}
    rows = [{"f": "a"}, {"f": "a", "g": "b"}, {"f": "o"}, {}]
    assert hits(detection, rows) == CONDITIONS[condition]


def test_several_conditions_are_any_of_them():
    detection = {"a": {"f": "a"}, "b": {"f": "b"}, "condition": ["a", "b"]}
    assert hits(detection, texts("a", "b", "c")) == [True, True, False]


def test_a_list_of_maps_is_any_of_them_and_a_map_is_all_of_it():
    detection = {"s": [{"f": "a", "g": "b"}, {"f": "c"}], "condition": "s"}
    assert hits(detection, [{"f": "a"}, {"f": "a", "g": "b"}, {"f": "c"}]) == [False, True, True]


def test_yes_and_no_are_words_of_the_log_and_no_flags():
    text = "title: t\nlogsource: {product: aws}\ndetection:\n  s: {additionalEventData.MFAUsed: No}\n  condition: s\n"
    (one,) = compile_rules({"r.yml": text}, [WIDE]).rules
    assert "= 'no'" in (one.where or "")
