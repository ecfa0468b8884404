"""What is kept of the starts of machines that the platform reaches over a network only."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from nightingale.domain.machine import MachineStart


class Starts(Protocol):
    """The latest start of each instance, and the codes by which browsers enter it."""

    def find(self, instance_id: str) -> MachineStart | None:
        """Return the instance's latest start, None when it never had one. Raises StoreUnavailableError."""

    def admit(self, instance_id: str, code_hash: str, expires_at: datetime) -> None:
        """Keep a code's hash until it is taken or has expired. Raises StoreUnavailableError."""
