"""Probes of running servers: begun evenly over most of a second, and no server waits for another.

A server that hangs keeps its own probe out until that times out; it is not asked a second time meanwhile, and nobody
else is asked a moment later for it. Two thousand requests begun at once would each wait for all the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nightingale.domain.instance import Instance
from nightingale.ports.clock import Clock
from nightingale.ports.prober import ProbeOutcome

SPREAD_S = 0.8
"""Over which a round of probes is begun."""
STRAGGLER_S = 0.1
"""For how long a round waits, after the last was begun, for answers still to come; the next round takes them up."""
_AT_ONCE = 20


@dataclass(frozen=True)
class Seen:
    """How a probe ended, and when. `instance` is as it was when the probe began."""

    instance: Instance
    outcome: ProbeOutcome
    at: datetime


@dataclass
class Probing:
    """The probes of one watcher. Belongs to one event loop."""

    clock: Clock
    probe: Callable[[Instance], Coroutine[Any, Any, ProbeOutcome]]
    """Never raises."""
    _out: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _seen: list[Seen] = field(default_factory=list)

    async def begin_round(self, instances: Sequence[Instance]) -> tuple[list[Seen], int]:
        """Begin a probe of each of these that has none out.

        Returns what was seen since the round before, and how many probes of rounds before are still out.
        """
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        before = frozenset(self._out)
        due = [instance for instance in instances if instance.id not in before]
        for start in range(0, len(due), _AT_ONCE):
            if start:
                await asyncio.sleep(max(began_at + SPREAD_S * start / len(due) - loop.time(), 0))
            for instance in due[start : start + _AT_ONCE]:
                self._out[instance.id] = asyncio.create_task(self._look(instance))
        own = [task for instance_id, task in self._out.items() if instance_id not in before]
        if own:
            await asyncio.wait(own, timeout=STRAGGLER_S)
        seen, self._seen = self._seen, []
        return seen, len(before & self._out.keys())

    async def _look(self, instance: Instance) -> None:
        try:
            outcome = await self.probe(instance)
        finally:
            del self._out[instance.id]
        self._seen.append(Seen(instance, outcome, self.clock.now()))
