"""The ends of Jupyter servers' logs that machines elsewhere send."""

from __future__ import annotations

from typing import Protocol

from nightingale.domain.server_log import ServerLog


class ServerLogs(Protocol):
    """What is kept of each instance's log."""

    def find(self, instance_id: str) -> ServerLog | None:
        """Return what is kept, None when nothing is (any more). Raises StoreUnavailableError."""

    def look(self, instance_id: str) -> ServerLog | None:
        """Return the same, for somebody who looks: its machine sends more often then. Raises StoreUnavailableError."""
