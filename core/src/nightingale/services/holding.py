"""Sees to it that machines follow the quarantine of their instances: until they do, and that they still do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightingale.ports.clock import Clock
from nightingale.services.known_instances import KnownInstances
from nightingale.services.quarantine import QuarantineService

_EVERY = timedelta(seconds=10)
"""How often a machine that follows is told again, in case something woke it."""


@dataclass
class Holding:
    """What one watcher remembers of it."""

    quarantine: QuarantineService
    clock: Clock
    known: KnownInstances
    _told_at: dict[str, datetime] = field(default_factory=dict)

    def beat(self) -> None:
        """Tell machines again that do not follow yet, and now and then the others. Raises StoreUnavailableError."""
        now, before = self.clock.now(), self._told_at
        self._told_at = {}
        for instance in self.known.all():
            held = instance.quarantine
            if held is None or (held.settled_at is not None and not held.is_held):
                continue
            told_at = before.get(instance.id)
            is_due = told_at is None or not timedelta(0) <= now - told_at < _EVERY
            self._told_at[instance.id] = now if is_due or told_at is None else told_at
            if is_due or held.settled_at is None:
                self.known.remember(self.quarantine.settle(instance))
