"""Fixtures for every test: a clock that stands still, ids that count, an audit log and a store in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from doubles import CountingIds, FixedClock, MemoryAuditLog
from nightingale.adapters.sqlite import SqliteStore

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

gc.disable()  # nothing that is loaded while tests are collected is garbage


def pytest_collection_finish() -> None:
    """Leave all that is loaded by now out of the collector's rounds: each full one took half a second of a test's."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def ids() -> CountingIds:
    return CountingIds()


@pytest.fixture
def audit_log() -> MemoryAuditLog:
    return MemoryAuditLog()


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    """An empty store in memory, the real adapter; threads may share it."""
    made = SqliteStore(":memory:")
    yield made
    made.close()
