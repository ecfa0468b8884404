"""Metering: whatever runs meet, fail or come late, the records add up to the history."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.clocks import START, FixedClock
from doubles.clusters import apply_cluster, rate, small_cluster
from doubles.lives import Life, Quantities, naive_quantities, steps, take
from doubles.stores import FailingStore, LaggingStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.vocabulary import Plan
from nightingale.domain.billing import HOUR, LineKind, UsageRecord
from nightingale.domain.history import EventName
from nightingale.ports.store import Store, StoreUnavailableError
from nightingale.services import records
from nightingale.services.catalog import CatalogService, query_all
from nightingale.services.metering import MeteringService

GIB = {"s": 5, "m": 20}
E = EventName


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def metering(store: Store, clock: FixedClock) -> MeteringService:
    return MeteringService(store, CatalogService(store, {}, clock), clock)


def all_records(store: Store, project: str = "brain") -> list[UsageRecord]:
    months = ("2026-11", "2026-12")
    items = [item for month in months for item in query_all(store, records.usage_partition(project, month))]
    return [records.decode(item, UsageRecord) for item in items]


def highest(store: Store) -> list[UsageRecord]:
    found: dict[tuple[str, datetime], UsageRecord] = {}
    for record in all_records(store):
        found[record.instance_id, record.hour] = record
    return list(found.values())


def recorded(store: Store, instance_id: str) -> Quantities:
    hours: Quantities = {}
    for record in highest(store):
        if record.instance_id == instance_id and record.lines:
            hours[record.hour] = Counter({(line.kind.value, line.size): line.quantity for line in record.lines})
    return hours


@pytest.fixture
def job(store: SqliteStore, clock: FixedClock) -> MeteringService:
    apply_cluster(store)
    return metering(store, clock)


def test_an_hour_is_written_once_the_watermark_has_passed(store, clock, job):
    Life(store=store).run(at(10))
    clock.set(at(3_629))
    assert job.run_once() == 0
    clock.set(at(3_630))
    assert job.run_once() == 1
    (record,) = all_records(store)
    assert (record.hour, record.revision, record.plan, record.currency) == (START, 0, Plan.PRIVATE, "EUR")
    assert [(line.kind, line.quantity, line.price_per_hour) for line in record.lines] == [
        (LineKind.COMPUTE, 3_590, Decimal("0.015")),
        (LineKind.DISK, 18_000, Decimal("0.0001")),
    ]
    assert [line.billed for line in record.lines] == [Decimal("0.014958"), Decimal("0.0005")]


def test_running_again_writes_nothing_more(store, clock, job):
    Life(store=store).run(at(10))
    clock.set(at(9_000))
    assert job.run_once() == 2
    assert job.run_once() == 0
    assert metering(store, clock).run_once() == 0


def test_an_ended_instance_is_closed_at_once_and_leaves_the_index(store, clock, job):
    life = Life(store=store)
    life.run(at(10))
    life.apply(E.DELETE, at(100))
    life.apply(E.BUILD_SUCCEEDED, at(110))
    clock.set(at(120))
    assert job.run_once() == 1
    assert recorded(store, life.instance.id) == naive_quantities(life.history, at(9_000), GIB)
    item = store.get(records.instance_key("brain", life.instance.id, is_ended=True))
    assert item is not None
    assert records.INDEX1 not in item.indexes
    clock.advance(HOUR)
    assert job.run_once() == 0


def test_a_crash_learned_late_corrects_the_closed_hour_with_a_new_revision(store, clock, job):
    life = Life(store=store)
    life.run(at(0))
    clock.set(at(3_630))
    job.run_once()
    life.apply(E.CRASHED, at(3_635), last_good_at=at(3_595))
    clock.set(at(3_640))
    assert job.run_once() == 1
    assert [(record.revision, record.lines[0].seconds) for record in all_records(store)] == [(0, 3_600), (1, 3_595)]
    assert job.run_once() == 0


def test_a_correction_moves_seconds_and_keeps_the_prices_and_plan_of_its_record(store, clock, job):
    life = Life(store=store)
    life.run(at(0))
    clock.set(at(3_630))
    job.run_once()
    dearer = (rate("2026-01-01", cpu={"s": "9", "m": "9"}), rate("2026-01-01", place="aws", cpu={"xl": "1"}))
    cluster = small_cluster(rates=dearer)
    free = tuple(type(p)(name=p.name, members=p.members, datasets=p.datasets) for p in cluster.projects)
    apply_cluster(store, small_cluster(rates=dearer, projects=free))
    life.apply(E.CRASHED, at(3_635), last_good_at=at(3_595))
    clock.set(at(7_300))
    job.run_once()
    corrected = next(record for record in highest(store) if record.hour == START)
    assert (corrected.revision, corrected.plan) == (1, Plan.PRIVATE)
    assert corrected.lines[0].price_per_hour == Decimal("0.015")


def test_hours_written_after_an_end_that_came_very_late_are_taken_back(store, clock, job):
    life = Life(store=store)
    life.run(at(0))
    clock.set(at(4 * 3_600))
    job.run_once()
    life.apply(E.DELETE, at(4_000))
    life.apply(E.BUILD_SUCCEEDED, at(4_001))
    job.run_once()
    assert recorded(store, life.instance.id) == naive_quantities(life.history, at(20_000), GIB)
    assert [record.lines for record in highest(store) if record.hour == START + 2 * HOUR] == [()]


def test_a_new_rate_prices_hours_from_its_day_on(store, clock, job):
    Life(at(14 * 3_600), store=store).run(at(14 * 3_600))
    clock.set(at(17 * 3_600 + 60))
    job.run_once()
    prices = {f"{record.hour:%dT%H}": record.lines[0].price_per_hour for record in all_records(store)}
    assert prices == {"02T23": Decimal("0.015"), "03T00": Decimal("0.025"), "03T01": Decimal("0.025")}


def test_a_month_without_metering_is_written_in_one_late_run(store, clock, job):
    life = Life(store=store)
    life.run(at(0))
    clock.advance(timedelta(days=29))
    assert job.run_once() == 29 * 24 - 1
    clock.advance(60)
    assert job.run_once() == 1
    assert sum(sum(hour.values()) for hour in recorded(store, life.instance.id).values()) == 29 * 86_400 * 6


def test_a_long_run_cut_short_goes_on_where_it_stopped(store, clock):
    apply_cluster(store)
    life = Life(store=store)
    life.run(at(0))
    failing = SecondFailsStore(store)
    clock.advance(timedelta(days=10, seconds=60))
    job = metering(failing, clock)
    with pytest.raises(StoreUnavailableError):
        job.run_once()
    assert job.run_once() == 240 - 2 * 98
    whole = Counter({("compute", life.instance.size): 3_600, ("disk", life.instance.size): 18_000})
    assert recorded(store, life.instance.id) == {START + n * HOUR: whole for n in range(240)}


def test_an_instance_without_a_price_stays_open_and_the_others_are_written(store, clock, job, caplog):
    Life(store=store, instance_id="i-1", project="gone").run(at(0))
    Life(store=store, instance_id="i-2").run(at(0))
    clock.set(at(4_000))
    with caplog.at_level(logging.ERROR):
        assert job.run_once() == 1
    assert "i-1" in caplog.text
    assert "no project gone" in caplog.text


def test_an_index_that_lags_loses_no_hour(store, clock):
    lagging = LaggingStore(store)
    apply_cluster(lagging)
    job = metering(lagging, clock)
    life = Life(store=lagging)
    life.run(at(0))
    clock.set(at(4_000))
    assert job.run_once() == 0
    lagging.catch_up()
    assert job.run_once() == 1
    life.apply(E.DELETE, at(4_100))
    life.apply(E.BUILD_SUCCEEDED, at(4_110))
    clock.set(at(8_000))
    job.run_once()
    lagging.catch_up()
    job.run_once()
    lagging.catch_up()
    assert job.run_once() == 0
    assert recorded(store, life.instance.id) == naive_quantities(life.history, at(9_000), GIB)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_workers_that_meet_fail_and_come_late_leave_the_sum_of_the_history(data):
    store = SqliteStore(":memory:")
    apply_cluster(store)
    clock = FixedClock()
    failing = FailingStore(store)
    workers = [metering(failing, clock) for _ in range(3)]
    lives = [Life(store=store, instance_id=f"i-{n}", name=f"scan-{n}") for n in range(2)]
    for step in data.draw(steps(most=16, longest_gap=9_000)):
        clock.advance(step[0])
        # An entry may be written some seconds after its time: the watermark does not always cover it.
        late = data.draw(st.integers(0, 50))
        take(data.draw(st.sampled_from(lives)), step, clock.now() - timedelta(seconds=late))
        for worker in data.draw(st.lists(st.sampled_from(workers), max_size=3)):
            if data.draw(st.booleans()):
                failing.fail_writes(data.draw(st.integers(0, 2)), is_written=data.draw(st.booleans()))
            try:
                worker.run_once()
            except StoreUnavailableError:
                continue
    failing.fail_writes(0)
    clock.advance(data.draw(st.integers(0, 9_000)))
    end = (clock.now() + HOUR).replace(minute=0, second=0)
    clock.set(end + timedelta(seconds=60))
    for worker in workers:
        worker.run_once()
    for life in lives:
        assert recorded(store, life.instance.id) == naive_quantities(life.history, end, GIB)
    revisions = Counter((record.instance_id, record.hour, record.revision) for record in all_records(store))
    assert max(revisions.values(), default=1) == 1
    store.close()


class SecondFailsStore(FailingStore):
    """Loses the answer of the second transaction, which was written."""

    calls = 0

    def transact(self, writes):
        self.calls += 1
        if self.calls == 2:
            self.fail_writes(1, is_written=True)
        super().transact(writes)


class MeetingStore(FailingStore):
    """Lets another worker run at the worst moment: after this one has read, before it writes."""

    meeting: Any = None

    def transact(self, writes):
        meet, self.meeting = self.meeting, None
        if meet is not None:
            meet()
        super().transact(writes)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_worker_overtaken_between_reading_and_writing_bills_nothing_twice_and_nothing_old(data):
    store = SqliteStore(":memory:")
    apply_cluster(store)
    clock = FixedClock()
    meeting = MeetingStore(store)
    slow, quick = metering(meeting, clock), metering(store, clock)
    life = Life(store=store)
    for step in data.draw(steps(most=12, longest_gap=9_000)):
        clock.advance(step[0])
        take(life, step, clock.now())
        following = data.draw(steps(most=2, longest_gap=60))

        def overtake(following=following):
            for other in following:
                take(life, other, clock.now())
            quick.run_once()

        meeting.meeting = overtake if data.draw(st.booleans()) else None
        slow.run_once()
    end = (clock.now() + HOUR).replace(minute=0, second=0)
    clock.set(end + timedelta(seconds=60))
    quick.run_once()
    assert recorded(store, life.instance.id) == naive_quantities(life.history, end, GIB)
    store.close()


def test_a_worker_overtaken_by_the_end_of_the_instance_writes_no_hour_after_it(store, clock, job):
    life = Life(store=store)
    life.run(at(0))
    clock.set(at(2 * 3_600 + 60))
    job.run_once()
    meeting = MeetingStore(store)

    def end_late():
        life.apply(E.DELETE, at(5_400))
        life.apply(E.BUILD_SUCCEEDED, at(5_400))
        job.run_once()

    meeting.meeting = end_late
    clock.set(at(3 * 3_600 + 60))
    metering(meeting, clock).run_once()
    assert recorded(store, life.instance.id) == naive_quantities(life.history, at(20_000), GIB)
