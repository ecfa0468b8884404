"""Correlations: read into what the engine runs, or refused by name."""

from __future__ import annotations

import pytest

from findings.sigma.asked import NARROW, WIDE, rule
from nightingale_findings.compiled import RuleRefusedError
from nightingale_findings.logsource import LogSource
from nightingale_findings.sigma import check_rules, compile_rules

ID = "0f1f3f62-6ff3-4a0b-9b6f-1c2a0a4bb111"
GCP = LogSource(
    name="gcp_audit",
    product="gcp",
    service="gcp.audit",
    table="gcp",
    fields=None,
    aliases={"gcp.audit.who": "protoPayload.authenticationInfo.principalEmail"},
)
SOURCES = (NARROW, WIDE, GCP)
READ = rule({"s": {"path|contains": "x"}, "condition": "s"}, NARROW, name="a_read", id=ID)
CALL = rule({"s": {"eventName": "GetObject"}, "condition": "s"}, WIDE, name="a_call")
GOOGLE = rule({"s": {"protoPayload.methodName": "x"}, "condition": "s"}, GCP, name="a_google_call")


def correlation(**block) -> str:
    keys = {key.replace("_", "-") if key == "group_by" else key: value for key, value in block.items()}
    lines = [f"  {key}: {value}" for key, value in keys.items()]
    return "title: Correlated\nname: correlated\nlevel: high\ncorrelation:\n" + "\n".join(lines) + "\n"


def compiled(**block):
    text = "\n---\n".join((READ, CALL, GOOGLE, correlation(**block)))
    return {one.name: one for one in compile_rules({"set.yml": text}, SOURCES).rules}


KINDS = {
    "event_count": ({"condition": "{gte: 10}"}, (), ((">=", 10.0),)),
    "value_count": ({"condition": "{gt: 5, field: path}"}, ("path",), ((">", 5.0),)),
    "value_sum": ({"condition": "{gt: 1.5, lte: 9, field: bytes}"}, ("bytes",), ((">", 1.5), ("<=", 9.0))),
    "value_avg": ({"condition": "{lt: 5, field: bytes}"}, ("bytes",), (("<", 5.0),)),
    "value_median": ({"condition": "{eq: 5, field: seconds}"}, ("seconds",), (("=", 5.0),)),
    "value_percentile": ({"condition": "{neq: 5, field: bytes, percentile: 99.5}"}, ("bytes",), (("!=", 5.0),)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_counting_is_read(kind):
    more, field, conditions = KINDS[kind]
    rules = compiled(type=kind, rules="a_read", group_by="[person]", timespan="15m", **more)
    made = rules["correlated"].correlation
    assert (made.kind, made.rules, made.span_s, made.field, made.conditions) == (kind, (ID,), 900, field, conditions)
    assert made.group_by == ("person",)
    assert made.percentile == (99.5 if kind == "value_percentile" else None)
    assert (rules["correlated"].where, rules["correlated"].source, rules["correlated"].level) == (None, "reads", "high")


def test_a_rule_has_the_fields_that_correlations_over_it_need():
    rules = compiled(
        type="value_count",
        rules="[a_call]",
        group_by="[sourceIPAddress, person]",
        timespan="1h",
        condition="{gte: 3, field: requestParameters.key}",
    )
    assert rules["a_call"].fields == ("eventName", "requestParameters.key", "sourceIPAddress")


def test_several_values_together_are_counted():
    rules = compiled(type="value_count", rules="[a_read]", timespan="1h", condition="{gte: 3, field: [path, person]}")
    assert rules["correlated"].correlation.field == ("path", "person")


@pytest.mark.parametrize("kind", ["temporal", "temporal_ordered"])
def test_temporal_ones_ask_for_every_rule_in_the_order_named(kind):
    rules = compiled(type=kind, rules="[a_call, a_read]", group_by="[person]", timespan="1d")
    made = rules["correlated"].correlation
    assert (made.rules, made.conditions, made.span_s) == (("a_call", ID), (), 86400)
    assert rules["correlated"].source == "cloudtrail"


def test_a_rule_is_named_by_its_id_too():
    made = compiled(type="temporal", rules=f"[a_call, {ID.upper()}]", timespan="1d")["correlated"].correlation
    assert made.rules == ("a_call", ID)


def test_counted_rules_are_no_findings_unless_asked_for():
    counting = {"type": "event_count", "rules": "[a_read]", "timespan": "1h", "condition": "{gte: 3}"}
    assert [compiled(**counting)[name].is_finding for name in ("a_read", "a_call", "correlated")] == [False, True, True]
    assert compiled(**counting, generate="true")["a_read"].is_finding


def test_an_alias_is_the_field_that_each_rule_means():
    rules = compiled(
        type="temporal",
        rules="[a_call, a_read]",
        group_by="[who]",
        timespan="1h",
        aliases="{who: {a_call: userIdentity.arn, a_read: person}}",
    )
    assert rules["correlated"].correlation.aliases == {"who": {"a_call": "userIdentity.arn", ID: "person"}}
    assert rules["a_call"].fields == ("eventName", "userIdentity.arn")


def test_a_name_from_elsewhere_becomes_an_alias():
    rules = compiled(
        type="event_count", rules="[a_google_call]", group_by="[gcp.audit.who]", timespan="1h", condition="{gte: 3}"
    )
    meant = "protoPayload.authenticationInfo.principalEmail"
    assert rules["correlated"].correlation.aliases == {"gcp.audit.who": {"a_google_call": meant}}
    assert meant in rules["a_google_call"].fields


COUNT = {"type": "event_count", "rules": "[a_read]", "timespan": "1h", "condition": "{gte: 3}"}
SUM = {**COUNT, "type": "value_sum"}
TEMPORAL = {"type": "temporal", "rules": "[a_read, a_call]", "timespan": "1h"}
REFUSED = {
    "extended condition": ({**TEMPORAL, "condition": "a_read and not a_call"}, "extended condition"),
    "extended condition alone": (
        {"type": "temporal", "timespan": "1h", "condition": "a_read and a_call"},
        "names no rules",
    ),
    "some of the rules": ({**TEMPORAL, "condition": "{gte: 1}"}, "asks for every rule"),
    "over a correlation": ({**COUNT, "rules": "[correlated]"}, "a correlation over one"),
    "no such rule": ({**COUNT, "rules": "[nobody]"}, "there is no rule 'nobody'"),
    "a rule twice": ({**TEMPORAL, "rules": f"[a_read, {ID}]"}, "stands twice"),
    "window": ({**COUNT, "window": "tumbling"}, "'window'"),
    "unknown key": ({**COUNT, "groupby": "[person]"}, "'groupby'"),
    "unknown type": ({**COUNT, "type": "value_max"}, "value_max"),
    "no timespan": ({key: COUNT[key] for key in ("type", "rules", "condition")}, "without timespan"),
    "unreadable timespan": ({**COUNT, "timespan": "an hour"}, "an hour"),
    "no condition": ({key: COUNT[key] for key in ("type", "rules", "timespan")}, "without condition"),
    "condition of text": ({**COUNT, "condition": "{gte: many}"}, "many"),
    "condition of a flag": ({**COUNT, "condition": "{gte: true}"}, "not a number"),
    "unknown comparison": ({**COUNT, "condition": "{atleast: 3}"}, "condition"),
    "field of a count": ({**COUNT, "condition": "{gte: 3, field: path}"}, "has no `field`"),
    "no field": (SUM, "without field reference"),
    "two fields": ({**SUM, "condition": "{gte: 3, field: [bytes, seconds]}"}, "several fields"),
    "sum of flags": ({**SUM, "condition": "{gte: 3, field: is_honeypot}"}, "BOOLEAN"),
    "unknown field": ({**SUM, "condition": "{gte: 3, field: byts}"}, "no field 'byts'"),
    "unknown group": ({**COUNT, "group_by": "[persn]"}, "no field 'persn'"),
    "no percentile": ({**SUM, "type": "value_percentile", "condition": "{gte: 3, field: bytes}"}, "percentile"),
    "percentile of a sum": ({**SUM, "condition": "{gte: 3, field: bytes, percentile: 5}"}, "percentile"),
    "percentile 101": (
        {**SUM, "type": "value_percentile", "condition": "{gte: 3, field: bytes, percentile: 101}"},
        "100",
    ),
    "alias of another rule": ({**TEMPORAL, "aliases": "{who: {nobody: person}}"}, "none of `rules`"),
    "alias of one rule only": (
        {**TEMPORAL, "group_by": "[who]", "aliases": "{who: {a_read: person}}"},
        "says nothing of",
    ),
    "generate of text": ({**COUNT, "generate": "yes"}, "boolean"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_engine_does_not_run_is_refused(case):
    block, why = REFUSED[case]
    text = "\n---\n".join((READ, CALL, correlation(**block)))
    rules, refused = check_rules({"set.yml": text}, SOURCES)
    assert [one.rule for one in refused] == ["set.yml (correlated)"]
    assert why in refused[0].why, refused[0].why
    assert refused[0].next_step
    assert all(one.is_finding for one in rules.rules)


def test_a_correlation_over_a_refused_rule_says_so():
    bad = rule({"s": {"path|re": "(?=a)"}, "condition": "s"}, NARROW, name="a_read")
    _, refused = check_rules({"set.yml": bad + "\n---\n" + correlation(**COUNT)}, SOURCES)
    assert [one.rule for one in refused] == ["set.yml (a_read)", "set.yml (correlated)"]
    assert "was refused" in refused[1].why


def test_rules_of_other_files_are_counted_too():
    rules = compile_rules({"a.yml": correlation(**COUNT), "z.yml": READ}, SOURCES).rules
    assert [(one.name, one.is_finding) for one in rules] == [("a_read", False), ("correlated", True)]


def test_a_file_may_not_be_both():
    both = READ[:-1] + ', "correlation": {"type": "event_count"}}'
    with pytest.raises(RuleRefusedError, match="both a detection and a correlation"):
        compile_rules({"r.yml": both}, SOURCES)
