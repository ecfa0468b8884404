"""What a watcher reads of a store that stands still, and what it never misses."""

from __future__ import annotations

import pytest

from doubles.clocks import StepBackClock
from doubles.platforms import FakePlatform
from doubles.stores import LaggingStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.ports.store import Page
from nightingale.services import records
from nightingale.services.known_instances import WHOLE_EVERY, KnownInstances


class CountingStore(SqliteStore):
    """Counts the items that index reads gave."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.read = 0

    def query_index(self, index: str, partition: str, **how: object) -> Page:
        page = super().query_index(index, partition, **how)  # type: ignore[arg-type] # handed on as it came
        self.read += len(page.items)
        return page


def known_of(platform: FakePlatform) -> KnownInstances:
    return KnownInstances(platform.store, platform.clock, tuple(range(records.SHARDS)))


def test_an_idle_store_is_asked_for_one_item_a_shard() -> None:
    store = CountingStore()
    platform = FakePlatform(store=store)
    for number in range(60):
        platform.launch(f"scan-{number}")
    platform.clock.advance(60)
    known = known_of(platform)
    assert known.refresh()
    assert store.read == len(known.all()) == 60
    platform.clock.advance(11)
    store.read = 0
    for _ in range(4):
        assert not known.refresh()
    assert store.read <= 4 * records.SHARDS
    platform.clock.advance(WHOLE_EVERY)
    assert known.refresh()


def test_a_few_changes_are_not_read_with_everything_else() -> None:
    store = CountingStore()
    platform = FakePlatform(store=store)
    for number in range(400):
        platform.launch(f"scan-{number}")
    platform.clock.advance(60)
    known = known_of(platform)
    known.refresh()
    platform.launch("new")
    store.read = 0
    assert not known.refresh()
    assert store.read <= records.SHARDS + 8
    assert len(known.all()) == 401


def test_what_others_launch_or_change_is_seen_at_the_next_look() -> None:
    platform = FakePlatform()
    known = known_of(platform)
    known.refresh()
    found = [platform.launch(f"scan-{number}").id for number in range(40)]
    assert not known.refresh()
    assert sorted(one.id for one in known.all()) == sorted(found)
    assert len(known.in_flight()) == 40


def test_an_index_that_shows_a_change_nine_seconds_late_hides_nothing() -> None:
    store = LaggingStore(SqliteStore(":memory:"))
    platform = FakePlatform(store=store)
    known = known_of(platform)
    known.refresh()
    launched = platform.launch()
    for _ in range(9):
        platform.clock.advance(1)
        assert not known.refresh()
        assert known.all() == ()
    store.catch_up()
    assert not known.refresh()
    assert [one.id for one in known.all()] == [launched.id]


@pytest.mark.parametrize("back", [3600, -3600])
def test_what_changes_after_the_clock_was_set_is_seen(back: int) -> None:
    clock = StepBackClock()
    platform = FakePlatform(clock=clock)
    known = known_of(platform)
    known.refresh()
    clock.step_back(back)
    launched = platform.launch()
    known.refresh()
    assert [one.id for one in known.all()] == [launched.id]


def test_what_was_stored_before_the_list_of_changes_was_kept_is_found_by_a_whole_reading() -> None:
    platform = FakePlatform()
    launched = platform.launch()
    item = platform.store.get(records.instance_key("brain", launched.id))
    assert item is not None
    only_first = {name: key for name, key in item.indexes.items() if name == records.INDEX1}
    platform.store.put(type(item)(item.key, item.document, only_first, item.version))
    known = known_of(platform)
    known.refresh()
    assert [one.id for one in known.all()] == [launched.id]


async def test_what_has_ended_is_known_no_longer_and_never_comes_back() -> None:
    platform = FakePlatform()
    await platform.run()
    known = known_of(platform)
    known.refresh()
    platform.ask("delete_instance", "grace", "scan")
    await platform.settle()
    (before,) = known.all()
    known.remember(platform.stored(before.id).instance)
    assert known.all() == known.in_flight() == ()
    known.refresh()
    assert known.all() == ()
