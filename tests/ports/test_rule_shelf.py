"""Sets of rules lie alike in both stores, with the largest parts that may be uploaded."""

from __future__ import annotations

from datetime import timedelta

import pytest

from doubles.clocks import FixedClock
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.rules import MOST_PART_BYTES, CompiledRule, Correlation, parts_of, rule_bytes, set_digest
from nightingale.ports.store import ABSENT, Store
from nightingale.services.rule_shelf import KEPT_FOR, RuleSet, RuleShelf


def rules() -> tuple[CompiledRule, ...]:
    """Return a set whose first part is as large as can be, all of it signs that JSON inside of JSON writes twice."""
    large = CompiledRule(id="large", name="large", title="", level="low", source="reads", where='"' * 40_000)
    more = (MOST_PART_BYTES - 1 - len(rule_bytes(large))) // 2
    assert more > 40_000
    large = CompiledRule(id="large", name="large", title="", level="low", source="reads", where='"' * (40_000 + more))
    over = Correlation(kind="event_count", rules=("large",), span_s=60, conditions=((">=", 0.5),))
    return large, CompiledRule(id="over", name="over", title="", level="low", source="reads", correlation=over)


def play(store: Store) -> None:
    clock = FixedClock()
    shelf, given = RuleShelf(store, clock), rules()
    digest, parts = set_digest(given), parts_of(given)
    assert len(parts) == 2
    version = shelf.note(RuleSet(digest, 2, clock.now()), ABSENT)
    for number, part in enumerate(parts, 1):
        shelf.put_part(digest, number, part)
    assert shelf.load(digest) is None
    shelf.note(RuleSet(digest, 2, clock.now(), is_whole=True), version)
    assert shelf.load(digest) == given
    shelf.tidy({None})
    assert shelf.holds(digest)
    clock.advance(KEPT_FOR + timedelta(seconds=1))
    shelf.tidy({digest})
    assert shelf.holds(digest)
    shelf.tidy({None, "0" * 64})
    assert not shelf.holds(digest)
    assert shelf.parts(digest) == {}


def test_a_set_of_rules_in_sqlite() -> None:
    store = SqliteStore(":memory:")
    play(store)
    store.close()


@pytest.mark.slow
def test_a_set_of_rules_in_dynamodb(dynamo: DynamoStore) -> None:
    play(dynamo)
