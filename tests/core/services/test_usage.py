"""Usage: closed and open hours add up, pages hold the highest revisions, lists stay cheap."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.clocks import START, FixedClock
from doubles.clusters import apply_cluster, small_cluster
from doubles.lives import SIZES, Life, naive_quantities, steps, take
from doubles.stores import FailingStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import Plan, Reach
from nightingale.domain.access import Access, Principal
from nightingale.domain.billing import HOUR
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import EventName
from nightingale.services.catalog import CatalogService
from nightingale.services.metering import MeteringService
from nightingale.services.usage import UsageService

GIB = {"s": 5, "m": 20}
E = EventName
ACCESS = Access(Principal("ada"), "brain", Reach.ANY)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Platform:
    def __init__(self, store, clock):
        catalog = CatalogService(store, {}, clock)
        self.metering = MeteringService(store, catalog, clock)
        self.usage = UsageService(store, catalog, clock)


@pytest.fixture
def platform(store, clock):
    apply_cluster(store)
    return Platform(store, clock)


def test_open_hours_are_counted_live_and_closed_ones_from_their_records(store, clock, platform):
    Life(store=store).run(at(60))
    clock.set(at(5_400))
    before = platform.usage.usage(ACCESS, None)
    assert (before.total.compute_seconds, before.total.disk_gib_seconds) == (5_340, 27_000)
    assert platform.metering.run_once() == 1
    assert platform.usage.usage(ACCESS, "2026-11") == before
    assert (before.month, before.currency, before.plan, before.is_final) == ("2026-11", "EUR", Plan.PRIVATE, False)
    assert before.total.billed == before.total.list_cost == Decimal("0.014750") + Decimal("0.0075") + Decimal("0.00075")


def test_usage_is_grouped_by_instance_person_and_size(store, clock, platform):
    Life(store=store, instance_id="i-1", name="scan").run(at(0))
    Life(store=store, instance_id="i-2", name="train", owner="grace", size=SIZES[1]).run(at(0))
    Life(store=store, instance_id="i-3", name="other", project="heart").run(at(0))
    clock.set(at(4_000))
    found = platform.usage.usage(ACCESS, None)
    assert [(line.key, line.compute_seconds) for line in found.by_instance] == [("scan", 4_000), ("train", 4_000)]
    assert [(line.key, line.compute_seconds) for line in found.by_person] == [("ada", 4_000), ("grace", 4_000)]
    assert [line.key for line in found.by_size] == ["m/m/none/s", "s/s/none/s"]
    for groups in (found.by_instance, found.by_person, found.by_size):
        assert sum(line.list_cost for line in groups) == found.total.list_cost


def test_two_instances_of_the_same_name_are_told_apart_by_id(store, clock, platform):
    first = Life(store=store, instance_id="i-1")
    first.run(at(0))
    first.apply(E.DELETE, at(10))
    first.apply(E.BUILD_SUCCEEDED, at(10))
    Life(at(20), store=store, instance_id="i-2").run(at(20))
    clock.set(at(60))
    assert [line.key for line in platform.usage.usage(ACCESS, None).by_instance] == ["scan i-1", "scan i-2"]


def test_nonprofit_research_sees_the_list_cost_and_is_billed_nothing(store, clock, platform):
    Life(store=store, project="heart").run(at(0))
    clock.set(at(7_200))
    for _ in range(2):
        found = platform.usage.usage(Access(Principal("grace"), "heart", Reach.ANY), None)
        assert found.total.list_cost > 0
        assert found.total.billed == 0
        platform.metering.run_once()


def test_a_month_is_final_once_its_last_hour_is_closed(store, clock, platform):
    start = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    clock.set(start)
    life = Life(start, store=store)
    life.run(start)
    clock.set(start + HOUR)
    november = platform.usage.usage(ACCESS, "2026-11")
    assert (november.total.compute_seconds, november.is_final) == (1_800, False)
    assert platform.usage.usage(ACCESS, None).total.compute_seconds == 1_800
    platform.metering.run_once()
    closed = platform.usage.usage(ACCESS, "2026-11")
    assert (closed.total, closed.is_final) == (november.total, True)
    assert platform.usage.usage(ACCESS, "2026-12").is_final is False
    assert platform.usage.usage(ACCESS, "2026-10").total.compute_seconds == 0


@pytest.mark.parametrize(
    "month", ["2026-13", "2026", "", "0000-01", "2026-11-02", "9999-12", "\uff12\uff10\uff12\uff16-11"]
)
def test_a_month_that_is_none_is_refused(platform, month):
    with pytest.raises(RefusedError) as caught:
        platform.usage.usage(ACCESS, month)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_pages_hold_every_hour_once_in_its_highest_revision(store, clock, platform):
    lives = [Life(store=store, instance_id=f"i-{n}", name=f"scan-{n}") for n in range(3)]
    for life in lives:
        life.run(at(0))
    clock.set(at(3_630))
    platform.metering.run_once()
    lives[1].apply(E.CRASHED, at(3_635), last_good_at=at(3_590))
    clock.set(at(11_000))
    platform.metering.run_once()
    for limit in (1, 2, 3, 4, 500, None):
        rows, cursor = [], None
        while True:
            page = platform.usage.records(ACCESS, None, cursor, limit)
            assert len(page.records) <= max(limit or 100, 2)
            rows += page.records
            cursor = page.next_cursor
            if cursor is None:
                break
        assert len(rows) == 3 * 6 - 2
        assert [(row.hour, row.instance_id) for row in rows] == sorted((row.hour, row.instance_id) for row in rows)
        corrected = [row for row in rows if (row.instance_id, row.hour) == ("i-1", START)]
        assert [(row.kind, row.revision, row.quantity) for row in corrected] == [
            ("compute", 1, 3_590),
            ("disk", 1, 18_000),
        ]


@pytest.mark.parametrize("cursor", ["x", "2026-11-02T09", "2026-11-02T09#i-1", "2026-11-02T09|../x"])
def test_a_cursor_that_is_none_is_refused(platform, cursor):
    with pytest.raises(RefusedError) as caught:
        platform.usage.records(ACCESS, None, cursor, 10)
    assert caught.value.code is ErrorCode.BAD_REQUEST


class CountingStore(FailingStore):
    """Counts queries."""

    queries = 0

    def query(self, partition, **options):
        self.queries += 1
        return super().query(partition, **options)


def test_a_list_of_running_instances_reads_each_history_once(store, clock):
    apply_cluster(store)
    counting = CountingStore(store)
    usage = Platform(counting, clock).usage
    lives = [Life(store=store, instance_id=f"i-{n}", name=f"scan-{n}") for n in range(100)]
    for life in lives:
        life.run(at(0))
    for turn in range(1, 6):
        clock.set(at(turn * 1_800))
        assert {usage.spent(life.instance)[1] for life in lives} == {turn * 1_800}
        if turn == 1:
            counting.queries = 0
    assert counting.queries == 0
    lives[0].apply(E.STOP, clock.now())
    clock.advance(100)
    assert usage.spent(lives[0].instance)[1] == 9_000
    assert counting.queries == 1


def test_the_cost_so_far_is_kept_for_a_bounded_number_of_instances(store, clock):
    apply_cluster(store)
    counting = CountingStore(store)
    usage = UsageService(counting, CatalogService(store, {}, clock), clock, most_kept=3)
    lives = [Life(store=store, instance_id=f"i-{n}", name=f"scan-{n}") for n in range(5)]
    for life in lives:
        usage.spent(life.instance)
    counting.queries = 0
    for life in lives[2:]:
        usage.spent(life.instance)
    assert counting.queries == 0
    usage.spent(lives[0].instance)
    assert counting.queries == 1


def test_an_instance_that_cannot_be_priced_does_not_spoil_the_list(store, clock, platform):
    life = Life(store=store, project="gone")
    life.run(at(0))
    clock.set(at(100))
    money, seconds = platform.usage.spent(life.instance)
    assert (money.amount, seconds) == (0, 0)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_usage_records_and_cost_so_far_all_say_what_the_history_says(data):
    store, clock = SqliteStore(":memory:"), FixedClock()
    apply_cluster(store, small_cluster())
    platform = Platform(store, clock)
    life = Life(store=store)
    for step in data.draw(steps(most=12)):
        clock.advance(step[0])
        take(life, step, clock.now())
        if data.draw(st.booleans()):
            platform.metering.run_once()
        if data.draw(st.booleans()):
            platform.usage.spent(life.instance)
    clock.advance(3_630)
    platform.metering.run_once()
    clock.advance(data.draw(st.integers(0, 3_000)))
    naive: Counter[str] = Counter()
    for hour in naive_quantities(life.history, clock.now(), GIB).values():
        for (kind, _), quantity in hour.items():
            naive[kind] += quantity
    found = platform.usage.usage(ACCESS, None)
    assert (found.total.compute_seconds, found.total.disk_gib_seconds) == (naive["compute"], naive["disk"])
    money, seconds = platform.usage.spent(life.instance)
    assert (money.amount, seconds) == (found.total.list_cost, naive["compute"])
    store.close()
