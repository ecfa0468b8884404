"""Who watches which shard: a lease in the store for each, taken and kept by conditional writes.

    holder A   take ── keep ── keep ── keep ✗ (dies)
    holder B                                 ············ 5 s: over ·· take        at most 10 s after A's last breath
                                                          (a stranger to the shard waits 2 s longer: its own go first)

A lease only saves work: whoever goes on after losing one writes under versions, as everybody does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from nightingale.ports.clock import Clock
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Key, Store
from nightingale.services.records import SHARDS

_LOG = logging.getLogger(__name__)

LEASE = timedelta(seconds=5)
RENEW_AFTER = timedelta(seconds=2)
COURTESY = timedelta(seconds=2)
"""How much longer a watcher waits for a shard that is another's by right."""

_NEVER = datetime.min.replace(tzinfo=UTC)


def lease_key(shard: int) -> Key:
    """Return the key of a shard's lease."""
    return Key(f"SHARD#{shard}", "LEASE")


@dataclass
class Leases:
    """The leases of one watcher. `holder` is never the same twice; `own` are the shards that are its by right."""

    store: Store
    clock: Clock
    holder: str
    own: frozenset[int]
    _items: dict[int, Item] = field(default_factory=dict)

    @property
    def held(self) -> frozenset[int]:
        """Return the shards that were ours when last looked at."""
        return frozenset(self._items)

    def keep(self) -> None:
        """Renew what is held and take what is free. Raises StoreUnavailableError; what ran out is then held no more."""
        now = self.clock.now()
        for shard, item in list(self._items.items()):
            if _until(item) <= now:
                del self._items[shard]
        for shard in range(SHARDS):
            held = self._items.get(shard)
            if held is None:
                self._take(shard, now)
            elif _until(held) - now <= LEASE - RENEW_AFTER:
                self._write(shard, held, now + LEASE)

    def release(self) -> None:
        """Give back what is held, so that the next watcher need not wait. Raises StoreUnavailableError."""
        now = self.clock.now()
        for shard, item in list(self._items.items()):
            self._write(shard, item, now)
            self._items.pop(shard, None)

    def _take(self, shard: int, now: datetime) -> None:
        item = self.store.get(lease_key(shard))
        until = _until(item) if item is not None else _NEVER
        # One that runs longer than any lease was given by a clock that was wrong.
        is_real = until <= now + 2 * LEASE
        patience = timedelta(0) if shard in self.own else COURTESY
        if item is None and patience:
            # Never held yet: whose it is by right finds it first. A mark that is over starts the courtesy's time.
            self._write(shard, Item(lease_key(shard), {}, version=ABSENT), now, is_ours=False)
        elif not is_real or now - patience >= until:
            self._write(shard, item or Item(lease_key(shard), {}, version=ABSENT), now + LEASE)

    def _write(self, shard: int, item: Item, until: datetime, *, is_ours: bool = True) -> None:
        document = {"holder": self.holder if is_ours else "", "until": until.isoformat()}
        try:
            written = self.store.put(Item(item.key, document, version=item.version))
        except ConditionFailedError:
            self._items.pop(shard, None)
            _LOG.info("another watcher has this shard now", extra={"shard": shard, "holder": self.holder})
        else:
            if is_ours:
                self._items[shard] = written


def _until(item: Item) -> datetime:
    return datetime.fromisoformat(item.document["until"])
