"""Facts to put into an audit log."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from doubles import FixedClock
from nightingale.ports.audit_log import AuditEvent, AuditLog

STREAM = "i-k3m9x0q2ab"


def event(at: datetime, number: int = 0, stream: str = STREAM) -> AuditEvent:
    return AuditEvent(stream, at, "instance:stop:accepted", "ada", "i-1", {"n": str(number), "why": "Müller \n \u2028"})


def fill(log: AuditLog, clock: FixedClock, count: int, step_s: float = 0) -> None:
    for number in range(count):
        log.append(event(clock.now(), number))
        clock.advance(step_s)


def records(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))
