"""Time for a loop, which passes only when the loop rests, and takes the platform's clock with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from doubles.clocks import FixedClock

_LOOK_S = 0.05
_PATIENCE_S = 30.0


class FakePace:
    """A sleep lets every other task end, moves the clock, and returns. `at` plans what happens meanwhile."""

    def __init__(self, clock: FixedClock) -> None:
        self._clock = clock
        self.hanging: set[asyncio.Task[object] | None] = set()
        """Tasks that a test lets hang: no sleep waits for them."""
        self._at = 0.0
        self._planned: list[tuple[float, Callable[[], object]]] = []

    def at(self, seconds: float, work: Callable[[], object]) -> None:
        """Do this once so many seconds have passed since now."""
        self._planned.append((self._at + seconds, work))
        self._planned.sort(key=lambda one: one[0])

    def monotonic(self) -> float:
        return self._at

    async def sleep(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + _PATIENCE_S
        while others := {one for one in asyncio.all_tasks() - self.hanging if one is not asyncio.current_task()}:
            assert asyncio.get_running_loop().time() < until, f"these hang: {others}"
            await asyncio.wait(others, timeout=_LOOK_S)  # one of them may begin to hang meanwhile
        self._clock.advance(seconds)
        self._at = round(self._at + seconds, 6)
        while self._planned and self._planned[0][0] <= self._at:
            self._planned.pop(0)[1]()
