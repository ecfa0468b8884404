"""Time as it passes."""

from __future__ import annotations

import asyncio
import time


class WallPace:
    """Time as it passes."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)
