"""Every call to the store fails once in each way, somewhere in a whole life; nothing is lost, doubled or left over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults_dynamodb.faulty_store import AT_PORT, Fault, Kind
from faults_dynamodb.runs import AT_WIRE, WRITES, OnWire, all_at_once, drawn, every_call, in_memory, run
from faults_dynamodb.wire import Wire

_OF_EACH = 36
"""Each so manieth write meets a kind of fault here; the long run plays them all: `python -m faults_dynamodb --wire`."""

_OF_EACH_CALL = 3
"""Likewise of every call, in memory: `python -m faults_dynamodb --every`."""


@pytest.fixture(scope="module")
def calls() -> list[str]:
    """What a life without faults asks of the store, in order."""
    return run(in_memory, {}).store.calls


@pytest.fixture(scope="module")
def on_wire() -> Iterator[OnWire]:
    wire = Wire()
    yield OnWire(wire)
    wire.store.close()


def test_a_life_without_faults_asks_for_enough_to_be_worth_breaking(calls: list[str]) -> None:
    assert len(calls) > 200
    assert sum(name in WRITES for name in calls) > 30


def test_each_write_is_dropped_or_loses_its_reply(calls: list[str]) -> None:
    for position, plan in enumerate(every_call(calls, (Kind.DROPPED, Kind.LOST), only_writes=True)):
        if position % 4 in {0, 3}:  # one of the two each: both of each are among the slow ones
            assert run(in_memory, plan).store.met


def test_now_and_then_a_read_is_refused_or_late(calls: list[str]) -> None:
    kinds = (Kind.DROPPED, Kind.LATE_REPLY, Kind.LATE_REQUEST)
    for number in range(7, len(calls), 29):
        assert run(in_memory, {number: Fault(kinds[number % 3])}).store.met


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", AT_PORT)
def test_every_call_fails_in_each_way(calls: list[str], kind: Kind) -> None:
    first = list(AT_PORT).index(kind) % _OF_EACH_CALL  # another share of the calls for each kind
    for plan in list(every_call(calls, (kind,)))[first::_OF_EACH_CALL]:
        assert run(in_memory, plan).store.met


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_faults_by_seed(calls: list[str]) -> None:
    for seed in range(60):
        run(in_memory, drawn(seed, len(calls)))


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", AT_WIRE)
def test_the_adapter_hides_a_fault_of_every_call_that_passes(on_wire: OnWire, calls: list[str], kind: Kind) -> None:
    world = run(on_wire, all_at_once(calls, kind))
    assert len(world.store.met) == len(world.store.calls) >= len(calls)
    assert set(world.answers) <= {200, 201, 202}, "nobody noticed"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", AT_WIRE)
def test_writes_meet_each_fault_at_the_wire_until_the_adapter_gives_up(
    on_wire: OnWire, calls: list[str], kind: Kind
) -> None:
    first = list(AT_WIRE).index(kind)  # another share of the writes for each kind
    for plan in list(every_call(calls, (kind,), only_writes=True))[first::_OF_EACH]:
        assert run(on_wire, plan).store.met
