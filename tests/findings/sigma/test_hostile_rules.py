"""Whatever stands in a rule is data: wildcards mean what Sigma says, and no text becomes structure of the SQL."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.brute_sigma import BruteSigma
from findings.sigma.asked import WIDE, rule
from nightingale_findings.compiled import RuleRefusedError
from nightingale_findings.sigma import compile_rules

LETTERS = st.text(st.sampled_from("aAb*?\\%_!'\"[]\n\0é^$.|();-/{}"), max_size=8)
MODIFIERS = st.sampled_from(["", "contains", "startswith", "endswith", "cased", "contains|cased", "neq"])
HOSTILE = (
    "'; DROP TABLE t; --",
    "' OR 1=1 --",
    "''",
    "\\'; SELECT 1; --",
    "/* */ ' /*",
    "a' || (SELECT 'x') || '",
    '"; DROP TABLE t; --',
    "$$; DROP TABLE t; $$",
    "E'\\'",
    "%' ESCAPE '!' OR TRUE --",
    "{0}{query}{{}}%s%(x)s",
    "\0'; DROP TABLE t; --",
    "\u2019; \uff07",
    "chr(39)",
    "x\n-- '\n' OR TRUE",
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def connected():
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE TABLE t (f VARCHAR)")
    return connection


CONNECTION = connected()


def where(key, value, condition="s", **more):
    return compile_rules({"r.yml": rule({"s": {key: value}, "condition": condition}, **more)}, [WIDE]).rules[0].where


@QUICK
@given(LETTERS, LETTERS, MODIFIERS)
def test_wildcards_and_escapes_mean_what_sigma_says(value, cell, modifiers):
    key = f"f|{modifiers}" if modifiers else "f"
    got = CONNECTION.execute(f"SELECT {where(key, value)} FROM (SELECT ?::VARCHAR AS f)", [cell]).fetchone()  # noqa: S608 - what is tested
    assert got == (BruteSigma(tuple(modifiers.split("|")), [value], is_json=True).matches(cell),)


@QUICK
@given(LETTERS, MODIFIERS)
def test_a_text_matches_itself_once_it_is_escaped(text, modifiers):
    escaped = text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
    for key in [f"f|{modifiers}" if modifiers else "f"]:
        got = CONNECTION.execute(f"SELECT {where(key, escaped)} FROM (SELECT ?::VARCHAR AS f)", [text]).fetchone()  # noqa: S608 - what is tested
        assert got == (modifiers != "neq",), (key, text)


def structure(sql: str) -> list[str]:
    """What kinds of expression DuckDB's own parser sees, in order, without what is in literals and names."""
    statement = f"SELECT {sql} FROM t"  # noqa: S608 - what is tested
    parsed = CONNECTION.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    assert parsed is not None
    assert '"error":false' in parsed[0]
    assert parsed[0].count('"SELECT_NODE"') == 1
    return re.findall(r'"(?:class|function_name)":"[^"]*","(?:type|schema)":"[^"]*"', parsed[0])


def harmless(text: str) -> str:
    """The text with letters only, but for what rightly adds to the SQL: JSON's quotes, zero bytes, foreign letters."""
    return "".join(letter if letter in '"\0' else "a" if letter.isascii() else "é" for letter in text)


@pytest.mark.parametrize("key", ["f", "f|contains", "f|endswith", "f|cased", "f|contains|cased", "f|neq"])
def test_no_value_changes_the_structure_of_the_sql(key):
    for text in HOSTILE:
        value = text.replace("*", "\\*").replace("?", "\\?")
        expected = structure(where(key, harmless(text)))
        assert structure(where(key, value)) == expected, text
        assert structure(where(key, [value, "b"])) == structure(where(key, [harmless(text), "b"])), text


def test_no_pattern_and_no_field_changes_the_structure_of_the_sql():
    for text in HOSTILE:
        if "\0" not in text:
            assert structure(where("f|re", re.escape(text))) == structure(where("f|re", "a")), text
            assert structure(where("f|fieldref", text.replace("*", "\\*"))) == structure(where("f|fieldref", "a")), text
            if "|" not in text:
                assert structure(where(text, "a")) == structure(where("f", "a")), text


def test_regular_expressions_keep_their_quotes():
    for pattern in ("a'b", "it''s", "'; DROP TABLE t; --", '"x"', r"\'", "a\\\\'", "'$", "''"):
        for cell in ("a'b", "it''s", '"x"', "'"):
            sql = where("f|re", pattern)
            got = CONNECTION.execute(f"SELECT {sql} FROM (SELECT ?::VARCHAR AS f)", [cell]).fetchone()  # noqa: S608 - what is tested
            assert got == (re.search(pattern, cell) is not None,), (pattern, cell)


def test_a_field_with_quotes_in_its_name_is_a_column_of_that_name():
    for name in ('a"b', "a'b", '"; DROP TABLE t; --', "a b", "a;b", "--", "/*", "select", "a.b"):
        sql = where(name, "x")
        quoted = '"' + name.replace('"', '""') + '"'
        assert CONNECTION.execute(f"SELECT {sql} FROM (SELECT 'x' AS {quoted})").fetchone() == (True,)  # noqa: S608 - what is tested


def test_titles_and_names_never_reach_the_sql():
    for text in HOSTILE:
        made = where("f", "x", title=text, description=text, author=text)
        assert made == where("f", "x")


@pytest.mark.parametrize(
    ("key", "value"), [("f", "\ud800"), ("a\0b", "x"), ("nightingale_element", "x"), ("f|re", "a\0")]
)
def test_what_no_sql_can_hold_is_refused(key, value):
    with pytest.raises(RuleRefusedError) as refused:
        where(key, value)
    assert refused.value.next_step
