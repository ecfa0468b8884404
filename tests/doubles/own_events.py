"""Our own audit log for tests: real records in real files, and rows of the tables that they become."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent
from nightingale_findings.sources.own_tables import create_tables, next_batch

T0 = datetime(2026, 11, 2, 10, tzinfo=UTC)
SCAN = "i-k3m9x0q2ab"
CHANNEL = "c-0000000001"


def at(seconds: float) -> datetime:
    """Return a time so many seconds after the beginning."""
    return T0 + timedelta(seconds=seconds)


class OwnLog:
    """An audit log in a folder, written as the platform writes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = FileAuditLog(root)
        self.reads = 0

    def launch(self, *, tier: int = 1, seconds: float = 0) -> None:
        detail = {"project": "brain", "name": "scan", "tier": str(tier)}
        self.fact(SCAN, "instance:launch:accepted", seconds, actor="grace", subject=SCAN, detail=detail)

    def read(self, path: str, seconds: float = 0, **detail: str) -> None:
        self.reads += 1
        usual = {
            "number": str(self.reads),
            "dataset": "ct",
            "version": "1",
            "path": path,
            "bytes": "100",
            "size": "400",
        }
        exact = {"exactness": "page-granular ranges asked for, by reader", "program": "/opt/bin/python3"}
        self.fact(f"reads-{SCAN}", "dataset:read:recorded", seconds, detail={**usual, **exact, **detail})

    def carried(self, tag: str, received: int, seconds: float = 0) -> None:
        detail = {"sent": "10", "received": str(received)}
        self.fact(SCAN, tag, seconds, subject=CHANNEL, detail=detail)

    def denied(self, seconds: float = 0, **detail: str) -> None:
        full = {"operation": "apply_cluster", "project": "", "client": "192.0.2.7", **detail}
        self.fact(PLATFORM_STREAM, "operation:call:denied", seconds, subject="apply_cluster", detail=full)

    def fact(
        self,
        stream: str,
        tag: str,
        seconds: float = 0,
        *,
        actor: str = "grace",
        subject: str = SCAN,
        detail: Mapping[str, str] | None = None,
    ) -> None:
        self.log.append(AuditEvent(stream, at(seconds), tag, actor, subject, dict(detail or {})))

    def file(self, stream: str) -> Path:
        return min((self.root / stream).glob("*.jsonl"))


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Return what a query gives, as dicts."""
    found = connection.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def insert(connection: duckdb.DuckDBPyConnection, source: str, *events: Mapping[str, Any]) -> None:
    """Put events into a source's table as one batch."""
    create_tables(connection)
    batch = next_batch(connection)
    full = [{"batch": batch, **{name: _plain(value) for name, value in event.items()}} for event in events]
    for names in {tuple(event) for event in full}:  # one statement for all of one shape
        alike = [event for event in full if tuple(event) == names]
        target = ", ".join(f'"{name}"' for name in names)
        lists = ", ".join("unnest(?)" for _ in names)
        connection.execute(
            f"INSERT INTO nightingale_{source} ({target}) SELECT {lists}",
            [[event[name] for event in alike] for name in names],
        )


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
