"""The prober: asks a Jupyter server whether it lives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class ProbeOutcome(StrEnum):
    """What a probe saw."""

    OK = "ok"
    REFUSED = "refused"  # nothing listens
    SILENT = "silent"  # something listens and does not answer in time
    ODD = "odd"  # it answers, and not like Jupyter


@dataclass(frozen=True)
class Activity:
    """What /api/status said: a busy kernel counts as active."""

    last_activity_at: datetime
    is_busy: bool
    kernels: int
    connections: int


class Prober(Protocol):
    """Probes by address (`unix:/path` or `tcp:host:port`)."""

    async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:
        """GET /api once. Never raises."""

    async def activity(self, address: str, token: str, timeout_s: float) -> Activity | None:
        """GET /api/status, or None when it does not answer. Does not itself count as activity."""

    async def close(self) -> None:
        """Close the connections kept."""
