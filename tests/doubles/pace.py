"""Time for a loop, which passes only when the loop rests, and takes the platform's clock with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from doubles.clocks import FixedClock


class FakePace:
    """A sleep lets every other task end, moves the clock, and returns. `at` plans what happens meanwhile."""

    def __init__(self, clock: FixedClock, *, patience_s: float = 5.0) -> None:
        """`patience_s`: for how long (really) a sleep waits for tasks that hang; the tests that hang one say less."""
        self._clock = clock
        self._patience_s = patience_s
        self._at = 0.0
        self._planned: list[tuple[float, Callable[[], object]]] = []

    def at(self, seconds: float, work: Callable[[], object]) -> None:
        """Do this once so many seconds have passed since now."""
        self._planned.append((self._at + seconds, work))
        self._planned.sort(key=lambda one: one[0])

    def monotonic(self) -> float:
        return self._at

    async def sleep(self, seconds: float) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=self._patience_s)
        self._clock.advance(seconds)
        self._at = round(self._at + seconds, 6)
        while self._planned and self._planned[0][0] <= self._at:
            self._planned.pop(0)[1]()
