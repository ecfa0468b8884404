"""Our rules over our own logs: each plays its examples, and says what a finding needs to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import nightingale_findings
from doubles.own_events import insert
from nightingale_findings.engine import Engine
from nightingale_findings.sigma import compile_rules
from nightingale_findings.sources.own_tables import OWN, create_tables

RULES = Path(nightingale_findings.__file__).parent / "rules/own"
FILES = sorted(RULES.glob("*.yml"))


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        create_tables(made)
        yield made


def play(connection: duckdb.DuckDBPyConnection, engine: Engine, case: list[dict[str, Any]]) -> int:
    for source in OWN:
        connection.execute(f"TRUNCATE {source.table}")
    for source in {event["source"] for event in case}:
        those = ({name: value for name, value in event.items() if name != "source"} for event in case)
        kept = (one for one, event in zip(those, case, strict=True) if event["source"] == source)
        insert(connection, source, *kept)
    found = engine.run()
    assert engine.failed == ()
    return len(found)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_rule_matches_what_it_says_and_nothing_else(connection, file):
    rules = compile_rules({file.name: file.read_text()}, OWN)
    engine = Engine(connection, rules, OWN)
    examples = json.loads(file.with_suffix(".examples.json").read_text())
    assert examples["match"]
    assert examples["no_match"]
    for case in examples["match"]:
        assert play(connection, engine, case) >= 1
    for case in examples["no_match"]:
        assert play(connection, engine, case) == 0


def test_every_finding_says_what_was_done_by_whose_technique_and_what_to_do_next():
    rules = compile_rules({file.name: file.read_text() for file in FILES}, OWN)
    told = [rule for rule in rules.rules if rule.is_finding]
    assert len(told) >= 20
    for rule in told:
        assert rule.techniques, rule.name
        assert rule.falsepositives, rule.name
        assert rule.next_step, rule.name
        assert len(rule.description) > 60, rule.name
    ids = [rule.id for rule in rules.rules]
    assert len(set(ids)) == len(ids)


def test_only_rules_of_what_left_or_of_decoys_act_by_themselves_beyond_telling():
    rules = compile_rules({file.name: file.read_text() for file in FILES}, OWN)
    acting = {rule.name for rule in rules.rules if rule.response in {"quarantine", "revoke"}}
    assert acting == {"honeypot_file", "honeypot_credential_gateway", "honeypot_credential_platform"}
