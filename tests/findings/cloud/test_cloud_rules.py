"""The rules over cloud logs: each matches its examples and not the others, and leaves ordinary administration alone."""

import json
import re
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from doubles.ordinary_cloud import ACCOUNT, ordinary_week
from nightingale_findings import rules as rules_room
from nightingale_findings.compiled import CompiledRules
from nightingale_findings.engine import Engine, opened
from nightingale_findings.rules import shipped
from nightingale_findings.scanning import rules_of
from nightingale_findings.sources.clouds import CLOUDS

RULES = Path(rules_room.__file__).parent
FOLDERS = {"cloudtrail": "aws", "azure_activity": "azure", "gcp_audit": "gcp"}
TIMES = {"cloudtrail": "eventTime", "azure_activity": "time", "gcp_audit": "timestamp"}
IDS = {"cloudtrail": "eventID", "azure_activity": "eventDataId", "gcp_audit": "insertId"}
BUCKETS_APART = 3
"""Days between two cases: further than any window or episode."""


def cases_of(source: str) -> list[tuple[str, str, list[dict[str, Any]]]]:
    found = []
    for file in sorted((RULES / FOLDERS[source]).glob("*.examples.json")):
        examples = json.loads(file.read_text(encoding="utf-8"))
        assert examples.keys() == {"match", "no_match"}, file
        assert examples["match"], file
        assert examples["no_match"], file
        for kind in ("match", "no_match"):
            found += [(file.name.partition(".")[0], kind, case) for case in examples[kind]]
    return found


def apart(source: str, number: int, case: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a case on days of its own, so that all of them are judged in one run."""
    day = (date(2020, 1, 1) + timedelta(days=BUCKETS_APART * number)).isoformat()
    time, own = TIMES[source], IDS[source]
    return [
        {**one, time: day + one[time][10:], own: f"case{number}/{one.get(own, place)}"}
        for place, one in enumerate(case)
    ]


def fired(source: str, events: list[dict[str, Any]], rules: CompiledRules) -> dict[int, set[str]]:
    """Return the rules that fired in each case."""
    connection = opened()
    loaded = CLOUDS[source].load_events(connection, events)
    assert (loaded.events, loaded.set_aside_count) == (len(events), 0), loaded.set_aside
    engine = Engine(connection, rules, [CLOUDS[source].SOURCE])
    found: dict[int, set[str]] = {}
    for firing in engine.run():
        for event_id in firing.event_ids:
            number = int(re.search(r"case(\d+)/", event_id)[1])  # type: ignore[index] # every id here has one
            found.setdefault(number, set()).add(engine.rules[firing.rule].name)
    assert engine.failed == ()
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("source", FOLDERS)
def test_every_rule_matches_its_examples_and_none_of_the_others(source: str) -> None:
    cases = cases_of(source)
    events = [one for number, (_, _, case) in enumerate(cases) for one in apart(source, number, case)]
    found = fired(source, events, rules_of(source, (shipped(),)))
    wrong = [
        (name, kind, case[0]) for number, (name, kind, case) in enumerate(cases)
        if (name in found.get(number, ())) != (kind == "match")
    ]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_every_rule_has_examples_and_every_example_a_rule(folder: str) -> None:
    names = {file.stem for file in (RULES / folder).glob("*.yml")}
    assert names == {file.name.partition(".")[0] for file in (RULES / folder).glob("*.examples.json")}


def test_rules_say_what_they_mean_which_technique_and_what_to_do_first() -> None:
    told = [rule for source in FOLDERS for rule in rules_of(source, (shipped(),)).rules if rule.is_finding]
    assert Counter(rule.source for rule in told).keys() == FOLDERS.keys()
    for rule in told:
        assert rule.techniques, rule.name
        assert rule.description, rule.name
        assert rule.next_step, rule.name
    assert sum(rule.source == "cloudtrail" for rule in told) >= 57


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_week_of_ordinary_administration_is_quiet() -> None:
    week = ordinary_week(seed=7)
    assert len(week) > 50_000
    assert {event["recipientAccountId"] for event in week} == {ACCOUNT}
    connection = opened()
    CLOUDS["cloudtrail"].load_events(connection, week)
    engine = Engine(connection, rules_of("cloudtrail", (shipped(),)), [CLOUDS["cloudtrail"].SOURCE])
    found = Counter((engine.rules[one.rule].level, engine.rules[one.rule].name) for one in engine.run())
    levels = Counter({level: 0 for level, _ in found})
    for (level, _), count in found.items():
        levels[level] += count
    assert levels["critical"] + levels["high"] <= 1, found
    assert levels["medium"] <= 5, found
    assert levels["low"] <= 60, found
