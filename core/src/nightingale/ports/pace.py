"""How time passes for a loop: as it does, or as a test says."""

from __future__ import annotations

from typing import Protocol


class Pace(Protocol):
    """How time passes for a loop."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
