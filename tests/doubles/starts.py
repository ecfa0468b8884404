"""Starts and logs of machines as the store keeps them, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from nightingale.domain.machine import MachineStart
from nightingale.domain.server_log import ServerLog


@dataclass
class MemoryStarts:
    """Starts as the store keeps them, in memory; counts how often it is asked."""

    kept: dict[str, MachineStart] = field(default_factory=dict)
    admitted: list[tuple[str, str, datetime]] = field(default_factory=list)
    asked: int = 0

    def find(self, instance_id: str) -> MachineStart | None:
        self.asked += 1
        return self.kept.get(instance_id)

    def admit(self, instance_id: str, code_hash: str, expires_at: datetime) -> None:
        self.admitted.append((instance_id, code_hash, expires_at))


@dataclass
class MemoryLogs:
    """Logs as the store keeps them, in memory; counts who looked."""

    kept: dict[str, ServerLog] = field(default_factory=dict)
    looks: int = 0

    def find(self, instance_id: str) -> ServerLog | None:
        return self.kept.get(instance_id)

    def look(self, instance_id: str) -> ServerLog | None:
        self.looks += 1
        return self.find(instance_id)
