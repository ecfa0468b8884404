"""The live instances of some shards, as the watcher knows them.

Read whole now and then; in between only what changed: an index lists the instances of a shard by when they changed, so
an idle platform of ten thousand is asked for one item a shard. Every index may lag, and a clock may be set back: what a
look at the changes misses, the next whole reading finds, and every decision re-reads by key.
"""

from __future__ import annotations

import threading
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightingale.contract.vocabulary import Status
from nightingale.domain.instance import Instance
from nightingale.ports.clock import Clock
from nightingale.ports.store import Item, Store
from nightingale.services import records

WHOLE_EVERY = timedelta(seconds=20)
_LAG = timedelta(seconds=10)
"""Changes of so long ago are looked at again: an index shows them late, and clocks differ."""
_PAGE = 500


@dataclass
class KnownInstances:
    """What is known of an instance never goes back. The methods may be called from many threads."""

    store: Store
    clock: Clock
    shards: tuple[int, ...]
    _by_id: dict[str, Instance] = field(default_factory=dict)
    _in_flight: dict[str, Instance] = field(default_factory=dict)
    _decoded: dict[str, tuple[int, Instance]] = field(default_factory=dict)
    """Version and instance of every item as last read: the same version is not decoded again."""
    _whole_at: datetime | None = None
    _looked_at: datetime | None = None
    _merging: threading.Lock = field(default_factory=threading.Lock)

    def all(self) -> tuple[Instance, ...]:
        """Return every live instance."""
        return tuple(self._by_id.values())

    def in_flight(self) -> tuple[Instance, ...]:
        """Return those with something under way; it costs nothing where nothing moves."""
        return tuple(self._in_flight.values())

    def find(self, instance_id: str) -> Instance | None:
        """Return the instance, None when it is not known or has ended."""
        return self._by_id.get(instance_id)

    def ids(self) -> AbstractSet[str]:
        """Return the ids of all."""
        return frozenset(self._by_id)

    def remember(self, instance: Instance) -> None:
        """Take up what is now known of an instance, unless something newer is."""
        with self._merging:
            held = self._by_id.get(instance.id)
            if instance.status is Status.TERMINATED:
                self._by_id.pop(instance.id, None)
                self._in_flight.pop(instance.id, None)
            elif held is None or instance.seq >= held.seq:
                self._hold(instance)

    def refresh(self) -> bool:
        """Read what is new; return whether that was a whole reading. Raises StoreUnavailableError."""
        now = self.clock.now()
        is_due = self._whole_at is None or not timedelta(0) <= now - self._whole_at < WHOLE_EVERY
        if is_due or self._looked_at is None:
            self._read_whole()
            self._whole_at = now
        else:
            self._read_changes(min(now, self._looked_at) - _LAG)
        self._looked_at = now
        return is_due

    def _read_whole(self) -> None:
        found: dict[str, tuple[int, Instance]] = {}
        for shard in self.shards:
            cursor: str | None = None
            while True:
                page = self.store.query_index(records.INDEX1, f"SHARD#{shard}", limit=_PAGE, cursor=cursor)
                found |= {item.key.sort: self._decode(item) for item in page.items}
                cursor = page.cursor
                if cursor is None:
                    break
        with self._merging:
            held = self._by_id
            newest = (
                max(instance, held.get(instance.id, instance), key=lambda one: one.seq)
                for _, instance in found.values()
            )
            self._by_id = {instance.id: instance for instance in newest}
            self._in_flight = {instance.id: instance for instance in self._by_id.values() if instance.is_in_flight}
            self._decoded = found

    def _read_changes(self, since: datetime) -> None:
        oldest = records.changes_from(since)
        for shard in self.shards:
            partition, cursor, limit = records.changes_partition(shard), None, 1
            while True:
                page = self.store.query_index(records.INDEX2, partition, limit=limit, cursor=cursor, is_reversed=True)
                fresh = [item for item in page.items if item.indexes[records.INDEX2].sort >= oldest]
                self._take(fresh)
                cursor, limit = page.cursor, min(limit * 8, _PAGE)  # a few changed as a rule: not a whole page for one
                if cursor is None or len(fresh) < len(page.items):
                    break

    def _take(self, items: list[Item]) -> None:
        for item in items:
            version, instance = self._decode(item)
            with self._merging:
                self._decoded[item.key.sort] = (version, instance)
                held = self._by_id.get(instance.id)
                if held is None or instance.seq >= held.seq:
                    self._hold(instance)

    def _decode(self, item: Item) -> tuple[int, Instance]:
        known = self._decoded.get(item.key.sort)
        if known is not None and known[0] == item.version:
            return known
        return item.version, records.decode(item, Instance)

    def _hold(self, instance: Instance) -> None:
        self._by_id[instance.id] = instance
        if instance.is_in_flight:
            self._in_flight[instance.id] = instance
        else:
            self._in_flight.pop(instance.id, None)
