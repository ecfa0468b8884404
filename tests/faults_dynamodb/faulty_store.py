"""A store whose call number k goes wrong, in each way in which a call to DynamoDB can go wrong.

The calls are counted from 1 while `is_counting`. What goes wrong is said by a plan: call number -> fault. Two layers do
it: `at_the_port` in a word (any store, quick), `at_the_wire` by botocore's hooks below the real adapter, where a fault
may pass (the SDK and the adapter ask again) or last until they give up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from doubles.stores import WrappedStore
from nightingale.ports.store import Store, StoreUnavailableError

T = TypeVar("T")


class Kind(StrEnum):
    """What goes wrong with one call."""

    DROPPED = "dropped"  # the request never arrives
    REFUSED = "refused"  # the server answers 500 and does nothing
    THROTTLED = "throttled"  # ProvisionedThroughputExceeded: nothing is done
    LOST = "lost"  # it is done, and the reply never comes
    BROKEN = "broken"  # it is done, and the reply is a 500
    LATE_REQUEST = "late_request"  # others are at work for three seconds before it is done
    LATE_REPLY = "late_reply"  # it is done, and others are at work before the reply comes


IS_DONE = frozenset({Kind.LOST, Kind.BROKEN})
LATE = frozenset({Kind.LATE_REQUEST, Kind.LATE_REPLY})
AT_PORT = (Kind.DROPPED, Kind.LOST, Kind.LATE_REQUEST, Kind.LATE_REPLY)
"""What differs for the caller of a store."""


@dataclass(frozen=True)
class Fault:
    """`lasts`: it meets every attempt of the call, so that the caller is told that the store is away."""

    kind: Kind
    lasts: bool = True


class Breaking(Protocol):
    """Does a call with a fault."""

    def __call__(self, fault: Fault, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, or raise what the store raises then."""
        ...


def at_the_port(fault: Fault, ask: Callable[[], T]) -> T:
    """Break any store: what the caller sees once the adapter has given up."""
    if fault.kind in IS_DONE:
        ask()
    message = f"the store did not answer ({fault.kind.value})"
    raise StoreUnavailableError(message)


class FaultyStore(WrappedStore):
    """Wraps a store. `others` is what goes on elsewhere during a late call; its own calls neither count nor fail."""

    def __init__(self, inner: Store, breaking: Breaking = at_the_port) -> None:
        super().__init__(inner)
        self.plan: Mapping[int, Fault] = {}
        self.calls: list[str] = []
        """What was called while counting, in order."""
        self.met: list[tuple[int, str, Fault]] = []
        """The faults that happened: call number, method, fault."""
        self.others: Callable[[], None] = lambda: None
        self._breaking = breaking
        self._is_counting = False
        self._turn = threading.Lock()

    @contextmanager
    def counting(self, plan: Mapping[int, Fault]) -> Iterator[None]:
        """Count and break within the block."""
        self.plan, self._is_counting = plan, True
        try:
            yield
        finally:
            self._is_counting = False

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Let nothing count or fail within the block."""
        before, self._is_counting = self._is_counting, False
        try:
            yield
        finally:
            self._is_counting = before

    def _call(self, name: str, ask: Callable[[], T]) -> T:
        if not self._is_counting:
            return ask()
        with self._turn:
            self.calls.append(name)
            number = len(self.calls)
        fault = self.plan.get(number)
        if fault is None:
            return ask()
        self.met.append((number, name, fault))
        if fault.kind not in LATE:
            return self._breaking(fault, ask)
        if fault.kind is Kind.LATE_REQUEST:
            self._let_others_work()
            return ask()
        try:
            return ask()
        finally:
            self._let_others_work()

    def _let_others_work(self) -> None:
        with self.quietly():
            # In a thread of its own: the others run an event loop, and this call may stand inside one.
            thread = threading.Thread(target=self.others)
            thread.start()
            thread.join()
