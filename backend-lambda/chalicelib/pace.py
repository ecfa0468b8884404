"""How time passes for a loop: as it does, or as a test says."""

from __future__ import annotations

import time
from typing import Protocol


class Pace(Protocol):
    """How time passes for a loop."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


class WallPace:
    """Time as it passes."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        import asyncio  # noqa: PLC0415 - 20 ms that the API's cold start need not pay

        await asyncio.sleep(seconds)
