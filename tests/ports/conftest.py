"""Fixtures of several suites. The suites are imported, not collected: their asserts are to explain themselves too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.dynamo_server import fresh_store, running
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.file_audit_log import FileAuditLog

pytest.register_assert_rewrite("ports.store_suite", "ports.store_machine")


@pytest.fixture
def log(tmp_path: Path) -> FileAuditLog:
    return FileAuditLog(tmp_path / "audit")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of audit_facts.STREAM in `log`."""
    return tmp_path / "audit" / "i-k3m9x0q2ab"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a sqlite store may be made."""
    return tmp_path / "nightingale.db"


@pytest.fixture(scope="module")
def dynamo_endpoint() -> Iterator[str]:
    """The URL of DynamoDB's double, in a process of its own for this module."""
    with running() as url:
        yield url


@pytest.fixture
def dynamo(dynamo_endpoint: str) -> Iterator[DynamoStore]:
    """An empty table's store."""
    store = fresh_store(dynamo_endpoint)
    yield store
    store.close()
