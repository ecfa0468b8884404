"""The organisation's rules in the store: uploaded in parts, whole or not at all, removed when nothing names them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from doubles.platforms import FakePlatform
from nightingale.contract.rules import (
    MOST_PART_BYTES,
    CompiledRule,
    Correlation,
    RulesPartIn,
    parts_of,
    set_digest,
)
from nightingale.contract.schemas import ClusterIn, FindingsIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.services import records
from nightingale.services.catalog import query_all


def rule(number: int, **changes: Any) -> CompiledRule:
    given = {"id": f"id-{number:04d}", "name": f"rule_{number:04d}", "title": "Ours", "level": "high", "where": "TRUE"}
    return CompiledRule(**(given | {"source": "reads", "author": "The hospital"} | changes))


RULES = (
    *(rule(number, description="x" * 9_000) for number in range(40)),
    rule(
        99,
        where=None,
        correlation=Correlation(kind="event_count", rules=("id-0000",), span_s=60, conditions=((">", 0.5),)),
    ),
)


def bodies(rules: tuple[CompiledRule, ...] = RULES) -> list[dict[str, Any]]:
    parts = parts_of(rules)
    return [
        msgspec.to_builtins(RulesPartIn(digest=set_digest(rules), part=number, parts=len(parts), rules=part))
        for number, part in enumerate(parts, 1)
    ]


def upload(platform: FakePlatform, rules: tuple[CompiledRule, ...] = RULES) -> str:
    for body in bodies(rules):
        answer = platform.ask("upload_rules", "hedy", None, body)
    assert answer["is_whole"]
    return set_digest(rules)


def naming(platform: FakePlatform, digest: str | None, *folders: str) -> ClusterIn:
    return msgspec.structs.replace(platform.cluster, findings=FindingsIn(rules=folders, rules_digest=digest))


def apply(platform: FakePlatform, cluster: ClusterIn) -> Any:
    body = {"cluster": msgspec.to_builtins(cluster), "base": platform.ask("get_cluster", "hedy")["revision"]}
    return platform.handle("apply_cluster", "hedy", None, msgspec.json.decode(msgspec.json.encode(body)))


def held(platform: FakePlatform) -> set[str]:
    return {item.key.sort for item in query_all(platform.store, records.RULE_SETS)}


def test_parts_in_any_order_make_a_set_that_reads_back_as_it_was() -> None:
    platform = FakePlatform()
    first, *others = bodies()
    assert len(others) >= 1
    for body in (*others, others[-1]):
        answer = platform.ask("upload_rules", "hedy", None, body)
    assert (answer["is_whole"], answer["missing"]) == (False, [1])
    digest = set_digest(RULES)
    assert platform.services.rules.load(digest) is None
    assert platform.ask("upload_rules", "hedy", None, first) == {"digest": digest, "is_whole": True, "missing": []}
    assert platform.services.rules.load(digest) == RULES
    told = [one for one in platform.audit.events(PLATFORM_STREAM) if one.tag == AuditTag.RULES_UPLOADED.value]
    assert [(one.actor, one.detail) for one in told] == [("hedy", {"rules": "41", "digest": digest})]


def test_a_set_that_is_whole_is_never_changed() -> None:
    platform = FakePlatform()
    digest = upload(platform)
    other = bodies()[0] | {"rules": [msgspec.to_builtins(rule(7, where="FALSE"))]}
    assert platform.ask("upload_rules", "hedy", None, other)["is_whole"]
    assert platform.services.rules.load(digest) == RULES


def test_rules_that_are_not_those_of_the_digest_are_refused_and_may_be_uploaded_again() -> None:
    platform = FakePlatform()
    *first, last = bodies()
    for body in first:
        platform.ask("upload_rules", "hedy", None, body)
    forged = last | {"rules": [msgspec.to_builtins(rule(7, where="FALSE"))]}
    assert platform.refusal("upload_rules", "hedy", None, forged) == "invalid"
    assert held(platform) == set()
    assert list(query_all(platform.store, records.rule_parts(set_digest(RULES)))) == []
    upload(platform)


def test_a_rule_twice_a_part_of_none_and_a_part_too_large_are_refused() -> None:
    platform = FakePlatform()
    twice = (rule(1), rule(1, title="Another"))
    (body,) = bodies(twice)
    assert platform.refusal("upload_rules", "hedy", None, body) == "invalid"
    assert platform.refusal("upload_rules", "hedy", None, body | {"part": 2}) == "invalid"
    large = [msgspec.to_builtins(one) for one in RULES]
    assert platform.refusal("upload_rules", "hedy", None, body | {"rules": large}) == "invalid"
    with pytest.raises(ValueError, match="bytes compiled"):
        parts_of([rule(1, where="x" * MOST_PART_BYTES)])


@pytest.mark.parametrize(
    "odd",
    [
        {"where": "x" * 100_001},
        {"id": "a\nb"},
        {"fields": ["\x00"]},
        {"response": "explode"},
        {"level": "loud"},
        {"more": 1},
        {"correlation": {"kind": "event_count", "rules": ["a"], "span_s": 0}},
        {"correlation": {"kind": "sum(1)", "rules": ["a"], "span_s": 1}},
        {"correlation": {"kind": "event_count", "rules": ["a"], "span_s": 1, "conditions": [["OR 1=1", 1]]}},
    ],
)
def test_what_is_no_compiled_rule_is_refused_at_the_door(odd: dict[str, Any]) -> None:
    (body,) = bodies((rule(1),))
    body["rules"] = [msgspec.to_builtins(rule(1)) | odd]
    assert FakePlatform().refusal("upload_rules", "hedy", None, body) == "invalid"


def test_a_cluster_names_only_rules_that_are_held_and_shows_them_by_pages() -> None:
    platform = FakePlatform()
    digest = set_digest(RULES)
    error = platform.error(apply(platform, naming(platform, digest, "./sigma")))
    assert (error["code"], error["details"][0]["path"]) == ("invalid", "findings.rules_digest")
    upload(platform)
    assert platform.ask("list_rules", "hedy") == {"digest": "", "rules": [], "next_cursor": None}
    assert apply(platform, naming(platform, digest, "./sigma")).status == 200
    first = platform.ask("list_rules", "hedy", query={"limit": "40"})
    (last,) = platform.ask("list_rules", "hedy", query={"limit": "40", "cursor": first["next_cursor"]})["rules"]
    assert (len(first["rules"]), last["name"], last["author"]) == (40, "rule_0099", "The hospital")
    assert platform.ask("get_cluster", "hedy")["cluster"]["findings"]["rules"] == ["./sigma"]


def test_rules_without_their_digest_and_a_digest_without_rules_are_refused_with_what_to_do() -> None:
    platform = FakePlatform()
    error = platform.error(apply(platform, naming(platform, None, "./sigma")))
    assert "nightingale admin apply" in error["message"]
    assert platform.error(apply(platform, naming(platform, "0" * 64)))["code"] == "invalid"


def test_sets_that_no_cluster_names_go_at_a_later_apply_but_not_what_was_just_uploaded() -> None:
    platform = FakePlatform()
    old, new, next_one = (rule(1),), (rule(2),), (rule(3),)
    assert apply(platform, naming(platform, upload(platform, old), "./sigma")).status == 200
    platform.clock.advance(timedelta(hours=2))
    assert apply(platform, naming(platform, upload(platform, new), "./sigma")).status == 200
    assert held(platform) == {set_digest(old), set_digest(new)}  # a scan may still be under way with the old ones
    platform.clock.advance(timedelta(hours=2))
    upload(platform, next_one)
    assert apply(platform, msgspec.structs.replace(naming(platform, set_digest(new), "./rules"))).status == 200
    assert held(platform) == {set_digest(new), set_digest(next_one)}
    assert list(query_all(platform.store, records.rule_parts(set_digest(old)))) == []


def test_rules_that_are_lost_keep_nobody_from_changing_the_rest_of_the_cluster() -> None:
    platform = FakePlatform()
    digest = upload(platform)
    cluster = naming(platform, digest, "./sigma")
    assert apply(platform, cluster).status == 200
    platform.services.rules.shelf.remove(digest)
    fewer = tuple(person for person in cluster.people if person.name != "otto")
    projects = tuple(
        msgspec.structs.replace(one, members=tuple(member for member in one.members if member.person != "otto"))
        for one in cluster.projects
    )
    assert apply(platform, msgspec.structs.replace(cluster, people=fewer, projects=projects)).status == 200
