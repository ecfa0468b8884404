"""Fakes of the ports, real classes all: `from doubles import FixedClock, FakeBuilder`."""

from doubles.audit import MemoryAuditLog
from doubles.builder import FakeBuilder
from doubles.clocks import FixedClock, StepBackClock
from doubles.ids import CountingIds
from doubles.machines import FakeMachines
from doubles.prober import FakeProber
from doubles.signatures import FakeSignatures
from doubles.stores import FailingStore, LaggingStore

__all__ = [
    "CountingIds",
    "FailingStore",
    "FakeBuilder",
    "FakeMachines",
    "FakeProber",
    "FakeSignatures",
    "FixedClock",
    "LaggingStore",
    "MemoryAuditLog",
    "StepBackClock",
]
