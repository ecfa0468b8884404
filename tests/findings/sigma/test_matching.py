"""Every modifier on every kind of dirty row: what DuckDB says of the rule's SQL is what brute force says."""

from __future__ import annotations

import json
from datetime import datetime

import duckdb
import pytest

from doubles.brute_sigma import BruteSigma
from nightingale_findings.logsource import FieldType, LogSource
from nightingale_findings.sigma import compile_rules

TEXTS = (
    *(None, "", " ", "abc", "ABC", "aBc", "abcd", "xabc", "xabcx", "ab", "a b c", "a%c", "a_c", "a*c", "a?c", "a!c"),
    *("a\\c", "a'c", "a''c", 'a"c', "a\nc", "a\tc", "abc\n", "\nabc", "a\0c", "a;c", "a--c", "a/*c*/", "a\\", "\\*"),
    *("5", "5.0", "05", " 5 ", "5e0", "-5", "6", "4.5", "abc5", "nan", "NaN", "Infinity", "-Infinity", "1e400", "0x5"),
    *("true", "TRUE", "True", "false", "null", "9007199254740993", "9007199254740992", "5,0", "+5", "5.", ".5"),
    *(
        "é",
        "É",
        "e\u0301",
        "ß",
        "ẞ",
        "SS",
        "ss",
        "İ",
        "i",
        "I",
        "\u0131",
        "\u03c2",
        "Σ",
        "\u03c3",
        "K",
        "k",
        "ǅ",
        "😀",
        "a😀c",
        "Ⅷ",
        "ⅷ",
    ),
    *(
        "[]",
        '["abc"]',
        '["x","ABC"]',
        "[null]",
        '[5,"6"]',
        '["a\\"c"]',
        '[{"k":"abc"}]',
        '{"k":"abc"}',
        '["a',
        "[true]",
    ),
    *(
        '{"k":"a\\"c"}',
        '[["abc"]]',
        "[abc]",
        "abc" * 1_000,
        "'; DROP TABLE t; --",
        "C:\\Windows\\abc",
        "a\\*c",
        "[5.0]",
    ),
    *("2026-01-01T03:00:00", "a\u2028c", "\ufeffabc", "a\r\nc"),
)
RULES: tuple[tuple[str, object], ...] = (
    *(
        ("", value)
        for value in ("abc", "a*c", "a?c", "*abc", "abc*", "*", "?", "", "a\\*c", "a\\?c", "a\\\\c", "\\*", "*b*")
    ),
    *(
        ("", value)
        for value in ("a%c", "a_c", "a!c", "a'c", 'a"c', "a\nc", "a\0c", "é", "ß", "ss", "i", "\u03c3", "k", "ⅷ", "??")
    ),
    *(
        ("", value)
        for value in ("'; DROP TABLE t; --", "a--c", "true", "5", "5.0", "nan", "[*", '*"k"*', "*\n*", "ǆ", "a\\")
    ),
    *(("", value) for value in (5, 0, -5, 4.5, 2**53 - 1, True, False, None)),
    *(
        ("", value)
        for value in (["abc", "x*"], ["abc", None], [5, "abc"], ["abc", "ab", "5"], [None], ["é", "k", True])
    ),
    *(
        (name, value)
        for name in ("contains", "startswith", "endswith")
        for value in ("b", "abc", "a?c", "%", "'", "é", "", "\\")
    ),
    *((name, ["a", "c"]) for name in ("contains", "contains|all", "startswith", "endswith|all", "all")),
    *(
        (name, value)
        for name in ("cased", "contains|cased", "startswith|cased")
        for value in ("abc", "aBc", "a*C", "é", "K", "a!c")
    ),
    *(
        ("re", value)
        for value in ("^abc$", "a.c", "b", "a'c", 'a"c', "^$", r"a\\c", r"^\d+$", "a|5", "[[:alpha:]]x")[:9]
    ),
    *((f"re|{flags}", "^a.c$") for flags in ("i", "m", "s", "i|m", "i|s", "m|s", "i|m|s")),
    *(("re|i", value) for value in ("ABC", "É")),
    *((sign, value) for sign in ("lt", "lte", "gt", "gte") for value in (5, 4.5, -1, 0)),
    *(("exists", value) for value in (True, False)),
    *(("neq", value) for value in ("abc", "a*", 5, ["abc", "5"])),
    ("base64", "abc"),
)
WIDE = LogSource(name="w", product="p", service="wide", table="t", fields=None)


def narrow(kind: FieldType) -> LogSource:
    return LogSource(name="n", product="p", service="narrow", table="t", fields={"cell": kind, "other": FieldType.TEXT})


def rule(source: LogSource, modifiers: str, value: object, condition: str) -> str:
    key = f"cell|{modifiers}" if modifiers else "cell"
    return json.dumps(
        {
            "title": "t",
            "logsource": {"product": source.product, "service": source.service},
            "detection": {"s": {key: value}, "condition": condition},
        }
    )


def found(source: LogSource, sql_type: str, cells, rules, condition: str):
    """For each rule whether it matched each cell, as DuckDB says: never null."""
    files = {f"r{n:04}.yml": rule(source, modifiers, value, condition) for n, (modifiers, value) in enumerate(rules)}
    compiled = compile_rules(files, [source]).rules
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"CREATE TABLE t (n INTEGER, cell {sql_type}, other VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?, NULL)", list(enumerate(cells)))
        wheres = ", ".join(one.where or "" for one in compiled)
        rows = connection.execute(f"SELECT {wheres} FROM t ORDER BY n").fetchall()  # noqa: S608 - what is tested
    return list(zip(*rows, strict=True))


def compare(source: LogSource, sql_type: str, cells, rules, *, is_json: bool = False) -> None:
    yes = found(source, sql_type, cells, rules, "s")
    no = found(source, sql_type, cells, rules, "not s")
    wrong = []
    for (modifiers, value), got, got_not in zip(rules, yes, no, strict=True):
        brute = BruteSigma(tuple(modifiers.split("|")), value if isinstance(value, list) else [value], is_json)
        for cell, here, not_here in zip(cells, got, got_not, strict=True):
            wanted = brute.matches(cell)
            if (here, not_here) != (wanted, not wanted):
                wrong.append((modifiers, value, str(cell)[:40], f"wanted {wanted}, got {here} and {not_here}"))
    assert not wrong, f"{len(wrong)}: {wrong[:20]}"


def test_text_of_a_wide_source_is_matched_as_brute_force_does():
    compare(WIDE, "VARCHAR", TEXTS, RULES, is_json=True)


@pytest.mark.slow
def test_text_of_a_narrow_source_is_no_list_whatever_it_looks_like():
    compare(narrow(FieldType.TEXT), "VARCHAR", TEXTS, RULES)


@pytest.mark.slow
def test_lists_match_by_any_of_their_elements():
    lists = [None, [], [None], *([text] for text in TEXTS), ["x", "abc"], ["ABC", None, "5"], ["a", "c"], ["ab", "bc"]]
    compare(narrow(FieldType.TEXTS), "VARCHAR[]", lists, RULES)


@pytest.mark.parametrize(
    ("kind", "sql_type", "cells"),
    [
        (FieldType.WHOLE, "BIGINT", [None, 0, 5, -5, 6, 4, 55, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
        (FieldType.NUMBER, "DOUBLE", [None, 0.5, 5.0, -5.0, 4.5, 55.25, 0.1]),
    ],
)
def test_numbers_are_compared_as_numbers_and_their_text_by_patterns(kind, sql_type, cells):
    of_numbers = [
        (m, v) for m, v in RULES if not any(isinstance(one, bool) for one in (v if isinstance(v, list) else [v]))
    ]
    of_numbers += [("exists", True), ("contains", "5"), ("startswith", "-")]
    compare(narrow(kind), sql_type, cells, of_numbers)


def test_numbers_that_are_none_are_in_no_comparison():
    cells = [float("nan"), float("inf"), float("-inf")]
    rules = [(sign, 5) for sign in ("lt", "lte", "gt", "gte")] + [("", 5)]
    assert found(narrow(FieldType.NUMBER), "DOUBLE", cells, rules, "s") == [(False, False, False)] * 5


def test_flags_are_compared_as_flags():
    rules = [("", v) for v in (True, False, None, "true", "FALSE", "abc", "t*", "*", [True, False])]
    rules += [("exists", True), ("re", "^true$"), ("contains", "al"), ("neq", True)]
    compare(narrow(FieldType.FLAG), "BOOLEAN", [None, True, False], rules)


def test_times_are_compared_as_times_and_their_text_by_patterns():
    cells = [None, datetime(2026, 1, 1, 3), datetime(2026, 1, 1, 3, 0, 1), datetime(1999, 12, 31, 23, 59)]  # noqa: DTZ001 - UTC, as the column has it
    rules: list[tuple[str, object]] = [
        ("", v) for v in ("2026-01-01T03:00:00", "2026-01-01 03:00:00", "2026*", "abc", None)
    ]
    rules += [("startswith", "2026-01-01T03"), ("re", "^1999-"), ("exists", False)]
    compare(narrow(FieldType.TIME), "TIMESTAMP", cells, rules)


def test_addresses_are_in_networks_as_python_has_it():
    texts = [
        None,
        "",
        "x",
        "10.0.0.1",
        "10.255.255.255",
        "11.0.0.0",
        "9.255.255.255",
        "010.0.0.1",
        "10.0.0",
        "10.0.0.256",
    ]
    texts += ["10.0.0.1 ", "10.0.0.1\n", "0.0.0.0", "255.255.255.255", "192.168.127.255", "192.168.128.0", "1.2.3.4.5"]  # noqa: S104 - addresses to match
    texts += [
        "::1",
        "::",
        "fe80::1",
        "FEBF::1",
        "fec0::1",
        "1:2:3:4:5:6:7::",
        "1::2::3",
        ":1::2",
        "::ffff:10.0.0.1",
        "g::1",
    ]
    texts += [
        "2001:db8::1",
        "2001:0DB8:0000:0000:0000:0000:0000:0001",
        "2001:db8:8000::",
        "::10.0.0.300",
        "12345::",
        ":::",
    ]
    texts += ['["10.0.0.1"]', '["x","fe80::1"]', "[10.0.0.1]", "1:2:3:4:5:6:7:8:", "1:2:3:4:5:6:1.2.3.4", "-1.0.0.0"]
    networks = [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "10.0.0.1/32",
        "192.168.0.0/17",
        "::/0",
        "fe80::/10",
        "::1/128",
        "2001:db8::/33",
    ]
    rules = [("cidr", network) for network in networks] + [("cidr", networks[:1] + networks[5:6])]
    compare(WIDE, "VARCHAR", texts, rules, is_json=True)
    compare(narrow(FieldType.TEXT), "VARCHAR", texts, rules)


@pytest.mark.parametrize("modifiers", ["fieldref", "fieldref|startswith", "fieldref|endswith", "fieldref|contains"])
def test_fields_are_compared_with_fields(modifiers):
    texts = (None, "", "abc", "ABC", "xabc", "abcx", "a%c", "a_c", "É", '["x","abc"]', "[")
    source = LogSource(name="w", product="p", service="wide", table="t", fields=None)
    (one,) = compile_rules({"r.yml": rule(source, modifiers, "other", "s")}, [source]).rules
    brute = BruteSigma(tuple(modifiers.split("|")), ["other"], is_json=True)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("CREATE TABLE t (cell VARCHAR, other VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(a, b) for a in texts for b in texts])
        rows = connection.execute(f"SELECT cell, other, {one.where} FROM t").fetchall()  # noqa: S608 - what is tested
    assert [row for row in rows if row[2] != brute.matches(row[0], row[1])] == []
    assert {row[2] for row in rows} == {True, False}
