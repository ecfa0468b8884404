"""Firings of rules as a scan hands them over, and a scanner that hands over what a test says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from nightingale.contract.findings import Severity
from nightingale.domain.errors import RefusedError
from nightingale.domain.finding import Hit, RuleFacts
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.notifier import NotDeliveredError, Notice
from nightingale.ports.scanner import LogScanned, RuleFailed, Scanned, ScannerUnavailableError

NINE = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)

HONEYPOT = RuleFacts(
    id="11111111-1111-4111-8111-111111111111",
    name="honeypot_touched",
    title="A decoy file was read",
    severity=Severity.CRITICAL,
    techniques=("T1530",),
    author="Nightingale",
    next_step="Ask the person, then look at what else they read.",
    episode_s=3600,
)
BULK = RuleFacts(
    id="22222222-2222-4222-8222-222222222222",
    name="bulk_enumeration",
    title="Very many files at once",
    severity=Severity.HIGH,
)


def hit(minute: float = 0, until: float | None = None, **changes: Any) -> Hit:
    """Return a firing of the honeypot rule for grace's `scan`, from a minute after nine until another."""
    first = NINE + timedelta(minutes=minute)
    last = first if until is None else NINE + timedelta(minutes=until)
    events = changes.pop("events", (f"reads-i-0000000001/{int(minute) + 1}",))
    facts: dict[str, Any] = {
        "rule": HONEYPOT,
        "person": "grace",
        "instance": "i-0000000001",
        "project": "brain",
        "first_seen": first,
        "last_seen": last,
        "event_count": len(events),
        "events": events,
    }
    return Hit(**facts | changes)


@dataclass
class FakeScanner:
    """Hands over `firings` at each scan, or fails with `trouble`."""

    firings: Sequence[Hit] = ()
    trouble: str = ""
    events_read: int = 1
    set_aside: int = 0
    scans: int = 0
    logs: tuple[LogScanned, ...] = ()
    failed: tuple[RuleFailed, ...] = ()

    def scan(self) -> Scanned:
        """Return the firings."""
        self.scans += 1
        if self.trouble:
            raise ScannerUnavailableError(self.trouble)
        through = max((one.last_seen for one in self.firings), default=None)
        return Scanned(tuple(self.firings), self.events_read, self.set_aside, through, self.failed, self.logs)

    def kept(self) -> None:
        """Hand the same firings over again all the same: a scan may."""


@dataclass
class FakeQuarantines:
    """Notes whom it was told to quarantine or to revoke; refuses or fails as told."""

    refusal: RefusedError | None = None
    trouble: str = ""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def quarantine(self, actor: str, project: str, instance: str, why: str, by_rule: str | None = None) -> object:
        """Note it."""
        self._fail()
        self.asked.append(("quarantine", actor, project, instance, why, by_rule or ""))
        return None

    def revoke_person(self, actor: str, person: str, why: str, by_rule: str | None = None) -> object:
        """Note it."""
        self._fail()
        self.asked.append(("revoke", actor, person, why, by_rule or ""))
        return None

    def _fail(self) -> None:
        if self.trouble:
            raise MachineUnavailableError(self.trouble)
        if self.refusal is not None:
            raise self.refusal


@dataclass
class FakeNotifier:
    """Keeps what it is sent; fails while it has `trouble`."""

    trouble: str = ""
    sent: list[tuple[str, Notice]] = field(default_factory=list)

    def send(self, channel: Any, notice: Notice) -> None:
        """Keep it."""
        if self.trouble:
            raise NotDeliveredError(self.trouble)
        self.sent.append((channel.name, notice))
