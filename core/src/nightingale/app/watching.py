"""The watchers: started every minute, each beats once a second for most of it, on the shards it holds the lease of.

There are WATCHERS of them at any time, each with shards that are its by right. While one is being started anew, or is
dead, the others beat for its shards. Within a second whatever is in flight is looked at every 50 ms.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from nightingale.app.wiring import Platform
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.builder import BuilderUnavailableError
from nightingale.ports.pace import Pace
from nightingale.ports.prober import Prober
from nightingale.ports.store import StoreUnavailableError
from nightingale.services.leases import Leases
from nightingale.services.records import SHARDS
from nightingale.services.watch import Watch

_LOG = logging.getLogger(__name__)

WATCHERS = 2
SECONDS = 55.0
"""How long one invocation beats: its function's timeout, 60 s, leaves time to give the leases back."""

_SECOND = 1.0
_FAST = 0.05
_SLOW_EVERY = 10
_LAST_WAIT_S = 1.0
_PASSING = (StoreUnavailableError, AuditLogUnavailableError, BuilderUnavailableError, OSError)
"""What may pass by itself: the beat is tried again."""


@dataclass
class Watcher:
    """One invocation. A beat that takes longer than its pace is not begun a second time beside itself."""

    platform: Platform
    leases: Leases
    prober: Prober
    pace: Pace
    _watches: dict[int, Watch] = field(default_factory=dict)
    _beats: dict[tuple[int, str], asyncio.Task[None]] = field(default_factory=dict)

    async def run(self, seconds: float = SECONDS) -> int:
        """Beat for that many seconds; return how many beats there were."""
        pace = self.pace
        begun = due = pace.monotonic()
        count = 0
        try:
            while (now := pace.monotonic()) < begun + seconds:
                if now >= due:
                    await self._take_shards()
                    for shard, watch in self._watches.items():
                        self._begin(shard, "list", _in_thread(watch.refresh))
                        self._begin(shard, "running", watch.beat_running)
                        self._begin(shard, "quarantine", _in_thread(watch.beat_quarantine))
                        if count % _SLOW_EVERY == _SLOW_EVERY - 1:
                            self._begin(shard, "save", _in_thread(watch.save_last_good))
                            self._begin(shard, "activity", watch.beat_activity)
                    count += 1
                    due = max(due + _SECOND, pace.monotonic())
                moving = [shard for shard, watch in self._watches.items() if watch.has_in_flight]
                for shard in moving:
                    self._begin(shard, "in flight", self._watches[shard].beat_in_flight)
                rest = max(due - pace.monotonic(), 0.0)
                await pace.sleep(min(rest, _FAST) if moving else rest)
        finally:
            await self._end()
            await self.prober.close()
        return count

    async def _take_shards(self) -> None:
        """Follow the leases: watch what is newly held, as the watcher before left it, and no longer what was lost."""
        try:
            await asyncio.to_thread(self.leases.keep)
        except _PASSING:
            _LOG.exception("the leases could not be looked at, it will be tried again")
        for shard in self._watches.keys() - self.leases.held:
            del self._watches[shard]
        adapters = self.platform.adapters
        for shard in self.leases.held - self._watches.keys():
            watch = Watch(
                store=adapters.store,
                clock=adapters.clock,
                lifecycle=self.platform.lifecycle,
                machines=adapters.machines,
                prober=self.prober,
                quarantine=self.platform.services.quarantine,
                shards=(shard,),
            )
            try:
                await asyncio.to_thread(watch.load_last_good)
                await asyncio.to_thread(watch.refresh)
            except _PASSING:
                _LOG.exception("a shard could not be taken up, it will be tried again", extra={"shard": shard})
            else:
                self._watches[shard] = watch

    def _begin(self, shard: int, name: str, beat: Callable[[], Awaitable[None]]) -> None:
        running = self._beats.get((shard, name))
        if running is None or running.done():
            self._beats[shard, name] = asyncio.create_task(_guarded(shard, name, beat))

    async def _end(self) -> None:
        """Let what runs end, write down what is known, and give the shards back."""
        running = [task for task in self._beats.values() if not task.done()]
        if running:
            _, late = await asyncio.wait(running, timeout=_LAST_WAIT_S)
            for task in late:
                task.cancel()
        for shard, watch in self._watches.items():
            await _guarded(shard, "save", _in_thread(watch.save_last_good))
        await _guarded(-1, "release", _in_thread(self.leases.release))


def _in_thread(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run_it() -> None:
        await asyncio.to_thread(work)

    return run_it


async def _guarded(shard: int, name: str, beat: Callable[[], Awaitable[None]]) -> None:
    """Run a beat; one that fails is told in the log and does not end the others."""
    try:
        await beat()
    except _PASSING:
        _LOG.exception("a beat failed, it will be tried again", extra={"shard": shard, "beat": name})
    except Exception:  # noqa: BLE001 - one shard's fault must not end the watch over the others
        _LOG.exception("a beat broke off: this is a fault of ours", extra={"shard": shard, "beat": name})


async def watch(platform: Platform, prober: Prober, pace: Pace, number: int, seconds: float = SECONDS) -> int:
    """Beat as watcher `number` (from 0) and return how many beats there were. The prober is closed at the end."""
    adapters = platform.adapters
    own = frozenset(shard for shard in range(SHARDS) if shard % WATCHERS == number)
    leases = Leases(adapters.store, adapters.clock, adapters.ids.new("w"), own)
    return await Watcher(platform, leases, prober, pace).run(seconds)
