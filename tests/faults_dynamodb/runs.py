"""Runs: one clean one to count the calls, then one for each call and each kind of fault, and runs with many faults.

`python -m faults_dynamodb --help` (with `tests` on the path) plays the long ones.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from faults_dynamodb.faulty_store import AT_PORT, LATE, Fault, FaultyStore, Kind
from faults_dynamodb.journey import World, play_through
from faults_dynamodb.oracle import check
from faults_dynamodb.wire import Wire
from nightingale.adapters.sqlite import SqliteStore

WRITES = frozenset({"put", "delete", "transact"})
AT_WIRE = tuple(kind for kind in Kind if kind not in LATE)
_MOST_FAULTS = 12

MakeStore = Callable[[], FaultyStore]
Plan = Mapping[int, Fault]


def in_memory() -> FaultyStore:
    """Return a faulty store that is quick; its faults are what a caller of any store sees."""
    return FaultyStore(SqliteStore(":memory:"))


@dataclass(frozen=True)
class OnWire:
    """Makes faulty stores of the real adapter on one DynamoDB, emptied for each."""

    wire: Wire

    def __call__(self) -> FaultyStore:
        self.wire.reset()
        return FaultyStore(self.wire.store, self.wire.breaking)


def run(make: MakeStore, plan: Plan) -> World:
    """Play the journey with these faults and check what is left. Raises AssertionError with the plan beside it."""
    world = World(make())
    try:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # leaves the test framework's loop alone
            runner.run(play_through(world, plan))
        check(world)
    except BaseException as error:
        error.add_note(f"faults: {dict(plan)}; met: {world.store.met}; commands: {world.commands}")
        raise
    return world


def every_call(calls: Sequence[str], kinds: Sequence[Kind] = AT_PORT, *, only_writes: bool = False) -> Iterator[Plan]:
    """Yield a plan for each call and kind: that call fails in that way for as long as it is tried."""
    for number, name in enumerate(calls, start=1):
        if name in WRITES or not only_writes:
            for kind in kinds:
                yield {number: Fault(kind)}


def all_at_once(calls: Sequence[str], kind: Kind) -> Plan:
    """Return the plan in which the first attempt of every call meets the fault, which then passes.

    Retries after a lost answer make no further calls of the store, so one run plays them all.
    """
    return {number: Fault(kind, lasts=False) for number in range(1, 2 * len(calls))}


def drawn(seed: int, length: int, kinds: Sequence[Kind] = tuple(Kind)) -> Plan:
    """Return a plan of one to a dozen faults by this seed, some of them in a row, as an outage has them."""
    dice = random.Random(seed)  # noqa: S311 - a seed, so that a run can be had again
    plan: dict[int, Fault] = {}
    for _ in range(dice.randint(1, _MOST_FAULTS)):
        first, kind = dice.randint(1, length), dice.choice(kinds)
        for number in range(first, first + dice.choice((1, 1, 1, 2, 3, 8))):
            plan[number] = Fault(kind, lasts=dice.random() < 0.8)
    return plan
