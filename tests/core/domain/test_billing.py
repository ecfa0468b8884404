"""The arithmetic against a naive sum that looks at every second, and its edges one by one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.clocks import START
from doubles.lives import SIZES, Life, Quantities, naive_quantities, steps, take
from nightingale.contract.schemas import Size
from nightingale.contract.vocabulary import Plan
from nightingale.domain.billing import (
    HOUR,
    Interval,
    LineKind,
    UnitPrice,
    ceil_hour,
    compute_intervals,
    cost_of,
    disk_intervals,
    floor_hour,
    lines_for_hour,
    seconds_by_hour,
    split_by_hour,
)
from nightingale.domain.history import EventName

GIB = {"s": 5, "m": 20}
E = EventName


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def running(seconds: int = 0, size: Size | None = None) -> Life:
    life = Life(size=size)
    life.run(at(seconds))
    return life


def spans(intervals: tuple[Interval, ...]) -> list[tuple[int, int]]:
    return [(int((i.start - START).total_seconds()), int((i.end - START).total_seconds())) for i in intervals]


def quantities(life: Life, until: datetime) -> Quantities:
    hours = seconds_by_hour(life.history, floor_hour(life.history[0].at), until)
    return {
        hour: Counter(
            {
                (kind.value, size): length * (GIB[size.disk] if kind is LineKind.DISK else 1)
                for (kind, size), length in found.items()
            }
        )
        for hour, found in hours.items()
    }


@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from(
        [START, datetime(2026, 11, 30, 22, 59, 58, tzinfo=UTC), datetime(2026, 12, 31, 23, 0, 1, tzinfo=UTC)]
    ),
    happenings=steps(),
    more=st.integers(0, 8_000),
)
def test_any_life_bills_the_seconds_that_a_second_by_second_sum_bills(start, happenings, more):
    life, now = Life(start), start
    for step in happenings:
        now += timedelta(seconds=step[0])
        take(life, step, now)
    until = now + timedelta(seconds=more)
    assert quantities(life, until) == naive_quantities(life.history, until, GIB)


@settings(max_examples=60, deadline=None)
@given(happenings=steps(), cut=st.integers(0, 30_000))
def test_hours_up_to_a_cut_and_after_it_add_up_to_the_whole(happenings, cut):
    life, now = Life(), START
    for step in happenings:
        now += timedelta(seconds=step[0])
        take(life, step, now)
    edge, end = floor_hour(at(cut)), ceil_hour(at(40_000))
    whole = seconds_by_hour(life.history, START, end)
    assert seconds_by_hour(life.history, START, edge) | seconds_by_hour(life.history, edge, end) == whole


def test_compute_ends_when_stop_is_accepted_and_not_when_it_is_done():
    life = running()
    life.apply(E.STOP, at(100))
    life.apply(E.BUILD_SUCCEEDED, at(130))
    assert spans(compute_intervals(life.history, at(5_000))) == [(0, 100)]


def test_a_crash_ends_compute_at_the_last_good_probe():
    life = running()
    life.apply(E.CRASHED, at(3_605), last_good_at=at(3_598))
    assert spans(compute_intervals(life.history, at(9_000))) == [(0, 3_598)]


def test_a_crash_before_the_first_good_probe_bills_nothing():
    life = running(50)
    life.apply(E.CRASHED, at(55), last_good_at=at(10))
    assert compute_intervals(life.history, at(9_000)) == ()


def test_starting_again_opens_a_new_interval():
    life = running()
    life.apply(E.STOP, at(10))
    life.apply(E.BUILD_SUCCEEDED, at(20))
    life.apply(E.START, at(30))
    life.run(at(40))
    assert spans(compute_intervals(life.history, at(60))) == [(0, 10), (40, 60)]


def test_being_unreachable_and_coming_back_does_not_cut_the_interval():
    life = running()
    life.apply(E.WENT_UNREACHABLE, at(10))
    life.apply(E.CAME_BACK, at(15))
    life.apply(E.EXTEND, at(20))
    assert spans(compute_intervals(life.history, at(60))) == [(0, 60)]


def test_events_in_the_same_second_bill_nothing():
    life = running()
    life.apply(E.DELETE, at(0))
    life.apply(E.BUILD_SUCCEEDED, at(0))
    assert compute_intervals(life.history, at(60)) == ()
    assert disk_intervals(life.history, at(60)) == ()


def test_a_resize_bills_each_disk_from_the_moment_it_was_asked_for():
    life = running()
    life.apply(E.RESIZE, at(60), size=SIZES[2])
    life.apply(E.BUILD_SUCCEEDED, at(70))
    life.apply(E.BECAME_READY, at(80))
    assert [(i.size.disk, i.seconds) for i in disk_intervals(life.history, at(100)) if i.seconds > 20] == [("s", 60)]
    by_hour = seconds_by_hour(life.history, START, at(100))
    assert by_hour == {
        START: Counter(
            {
                (LineKind.COMPUTE, SIZES[0]): 60,
                (LineKind.COMPUTE, SIZES[2]): 20,
                (LineKind.DISK, SIZES[0]): 60,
                (LineKind.DISK, SIZES[2]): 40,
            }
        )
    }


def test_disk_bills_until_the_deletion_is_done():
    life = running()
    life.apply(E.DELETE, at(100))
    life.apply(E.BUILD_SUCCEEDED, at(130))
    assert sum(i.seconds for i in disk_intervals(life.history, at(9_000))) == 130


def test_an_hour_without_any_edge_is_billed_whole():
    life = running()
    hours = seconds_by_hour(life.history, START + HOUR, START + 2 * HOUR)
    assert hours == {START + HOUR: Counter({(LineKind.COMPUTE, SIZES[0]): 3600, (LineKind.DISK, SIZES[0]): 3600})}


def test_an_interval_over_a_month_edge_is_cut_at_it():
    start = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    pieces = split_by_hour([Interval(start, start + timedelta(seconds=3), SIZES[0])])
    assert [(f"{hour:%m-%dT%H}", piece.seconds) for hour, piece in pieces] == [("11-30T23", 1), ("12-01T00", 2)]


@given(
    quantity=st.integers(0, 10**9),
    price=st.decimals(min_value=0, max_value=1000, places=10, allow_nan=False, allow_infinity=False),
)
def test_a_cost_is_exact_and_rounded_once_half_to_even(quantity, price):
    exact = Fraction(price) * quantity / 3600
    # Fraction rounds half to even as well.
    assert Fraction(cost_of(quantity, price)) == Fraction(round(exact * 10**6), 10**6)


@pytest.mark.parametrize(("quantity", "cost"), [(1, "0.000000"), (3, "0.000002"), (5, "0.000002"), (7, "0.000004")])
def test_a_half_of_the_last_place_goes_to_the_even_neighbour(quantity, cost):
    # 0.0018 / 3600 = half a millionth
    assert cost_of(quantity, Decimal("0.0018")) == Decimal(cost)


def test_the_nonprofit_plan_shows_the_list_cost_and_bills_nothing():
    seconds = {(LineKind.DISK, SIZES[0]): 7200, (LineKind.COMPUTE, SIZES[0]): 3600}
    prices = {LineKind.COMPUTE: UnitPrice(Decimal(2)), LineKind.DISK: UnitPrice(Decimal("0.5"), 5)}
    free = lines_for_hour(seconds, Plan.NONPROFIT, lambda kind, _: prices[kind])
    paid = lines_for_hour(seconds, Plan.PRIVATE, lambda kind, _: prices[kind])
    assert [(line.kind, line.quantity, line.list_cost, line.billed) for line in free] == [
        (LineKind.COMPUTE, 3600, Decimal(2), Decimal(0)),
        (LineKind.DISK, 36_000, Decimal(5), Decimal(0)),
    ]
    assert [line.billed for line in paid] == [Decimal(2), Decimal(5)]
