"""Who watches which shard: never nobody for long, and no quarrel."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_lambda.invoking import Invoking
from chalicelib import container
from doubles import FixedClock
from doubles.loops import run_apart
from doubles.platforms import FakePlatform
from doubles.stores import FailingStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.ports.store import Item, StoreUnavailableError
from nightingale.services.leases import LEASE, Leases, lease_key
from nightingale.services.records import SHARDS

ALL = frozenset(range(SHARDS))
EVEN = frozenset(range(0, SHARDS, 2))
ODD = ALL - EVEN


def beat(clock: FixedClock, *watchers: Leases, seconds: int = 1) -> None:
    """Let these watchers live for so many seconds, one beat each."""
    for _ in range(seconds):
        for watcher in watchers:
            watcher.keep()
        clock.advance(1)


def test_two_watchers_take_what_is_theirs_by_right(store: SqliteStore, clock: FixedClock) -> None:
    first, second = Leases(store, clock, "w-1", EVEN), Leases(store, clock, "w-2", ODD)
    beat(clock, first, second, seconds=60)
    assert (first.held, second.held) == (EVEN, ODD)


def test_one_watcher_takes_everything_after_a_courtesy(store: SqliteStore, clock: FixedClock) -> None:
    alone = Leases(store, clock, "w-1", EVEN)
    beat(clock, alone)
    assert alone.held == EVEN
    beat(clock, alone, seconds=4)
    assert alone.held == ALL


@pytest.mark.parametrize("lived", range(1, 8))
def test_the_shards_of_a_dead_watcher_are_taken_over_within_ten_seconds(
    store: SqliteStore, clock: FixedClock, lived: int
) -> None:
    dead, alive = Leases(store, clock, "w-1", EVEN), Leases(store, clock, "w-2", ODD)
    beat(clock, dead, alive, seconds=lived)
    died_at = clock.now() - timedelta(seconds=1)  # its last beat
    while alive.held != ALL:
        beat(clock, alive)
        assert clock.now() - died_at <= timedelta(seconds=10)


def test_a_watcher_that_was_overtaken_holds_no_longer_what_it_thinks(store: SqliteStore, clock: FixedClock) -> None:
    paused, other = Leases(store, clock, "w-1", EVEN), Leases(store, clock, "w-2", ODD)
    beat(clock, paused, other, seconds=3)
    beat(clock, other, seconds=20)
    assert other.held == ALL
    paused.keep()
    assert paused.held == frozenset()
    assert other.held == ALL


def test_what_is_given_back_is_free_at_once(store: SqliteStore, clock: FixedClock) -> None:
    old = Leases(store, clock, "w-1", EVEN)
    beat(clock, old, seconds=2)
    old.release()
    assert old.held == frozenset()
    new = Leases(store, clock, "w-3", EVEN)
    new.keep()
    assert new.held >= EVEN


def test_two_invocations_of_one_watcher_share_no_shard(store: SqliteStore, clock: FixedClock) -> None:
    early, late = Leases(store, clock, "w-1", EVEN), Leases(store, clock, "w-2", EVEN)
    for _ in range(30):
        beat(clock, early, late)
        assert early.held & late.held == frozenset()
    assert early.held | late.held == ALL


def test_a_lease_from_a_clock_that_was_wrong_is_no_lease(store: SqliteStore, clock: FixedClock) -> None:
    wrong = clock.now() + timedelta(hours=1)
    store.put(Item(lease_key(0), {"holder": "w-9", "until": wrong.isoformat()}))
    watcher = Leases(store, clock, "w-1", ALL)
    watcher.keep()
    assert 0 in watcher.held


def test_while_the_store_is_away_a_watcher_lets_go_of_what_ran_out(clock: FixedClock) -> None:
    store = FailingStore(SqliteStore(":memory:"))
    watcher = Leases(store, clock, "w-1", ALL)
    watcher.keep()
    store.is_away = True
    clock.advance(LEASE)
    with pytest.raises(StoreUnavailableError):
        watcher.keep()
    assert watcher.held == frozenset()
    store.is_away = False
    watcher.keep()
    assert watcher.held == ALL


def test_a_lost_answer_costs_a_lease_for_a_moment_only(clock: FixedClock) -> None:
    store = FailingStore(SqliteStore(":memory:"))
    watcher = Leases(store, clock, "w-1", ALL)
    store.fail_writes(1, is_written=True)
    with pytest.raises(StoreUnavailableError):
        watcher.keep()
    beat(clock, watcher, seconds=6)
    assert watcher.held == ALL


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=12), st.integers(0, 2**16))
def test_no_shard_has_two_watchers_and_none_is_without_one_for_long(turns: list[tuple[int, bool]], seed: int) -> None:
    """Watchers die and come back as others; who lives beats once a second, in any order."""
    store, clock, order = SqliteStore(":memory:"), FixedClock(), Random(seed)  # noqa: S311 - a test's own order
    rights = (EVEN, ODD, ALL)
    alive = {0: Leases(store, clock, "w-0-0", EVEN), 1: Leases(store, clock, "w-1-0", ODD)}
    held_at = dict.fromkeys(ALL, clock.now())
    for number, (who, is_death) in enumerate(turns, start=1):
        if is_death:
            alive.pop(who, None)
        else:
            alive.setdefault(who, Leases(store, clock, f"w-{who}-{number}", rights[who]))
        for _ in range(order.randint(1, 15)):
            living = list(alive.values())
            order.shuffle(living)
            for watcher in living:
                watcher.keep()
            held = [shard for watcher in living for shard in watcher.held]
            assert len(held) == len(set(held)), "two watchers probe one shard"
            held_at |= dict.fromkeys(held if living else ALL, clock.now())
            assert clock.now() - min(held_at.values()) <= timedelta(seconds=10)
            clock.advance(1)


def test_servers_of_a_dead_watcher_s_shards_are_probed_again_within_ten_seconds() -> None:
    platform = FakePlatform()
    for number in range(12):
        platform.launch(f"scan-{number}")
    run_apart(platform.settle())
    lambdas = Invoking(platform)
    dead = Leases(platform.store, platform.clock, "w-dead", ALL)
    dead.keep()
    assert dead.held == ALL
    platform.prober.probed.clear()
    seen_after: dict[str, float] = {}

    def look() -> None:
        for address in platform.prober.probed:
            seen_after.setdefault(address, lambdas.pace.monotonic())

    for second in range(15):
        lambdas.pace.at(second, look)
    lambdas.invoke("watch_first")
    container.use_nothing()
    assert len(seen_after) == 12
    assert max(seen_after.values()) <= 10
