"""When each running server last answered: in memory, and one vector a shard in the store for the watcher after."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from nightingale.domain.instance import Instance
from nightingale.ports.store import ConditionFailedError, Item, Store
from nightingale.services import records

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LastGood:
    """The last good probes of the instances of some shards. Its methods may be called from many threads."""

    store: Store
    shards: tuple[int, ...]
    _at: dict[str, datetime] = field(default_factory=dict)

    def note(self, instance_id: str, at: datetime) -> None:
        """Remember a good probe."""
        self._at[instance_id] = at

    def of(self, instance: Instance) -> datetime:
        """Return the last good probe since the instance runs; the moment it began to run when there was none."""
        since = instance.running_since or instance.status_at
        return max(since, self._at.get(instance.id, since))

    def forget_all_but(self, instance_ids: AbstractSet[str]) -> None:
        """Drop what is known of instances that are no longer watched."""
        for instance_id in self._at.keys() - instance_ids:
            self._at.pop(instance_id, None)

    def load(self) -> None:
        """Take up the vectors that the watcher before left behind."""
        for shard in self.shards:
            item = self.store.get(records.last_good_key(shard))
            if item is not None:
                for instance_id, at in item.document["at"].items():
                    self._at.setdefault(instance_id, datetime.fromisoformat(at))

    def save(self) -> None:
        """Write the vectors that changed; another watcher's newer vector wins."""
        by_shard: dict[int, dict[str, str]] = {shard: {} for shard in self.shards}
        for instance_id, at in tuple(self._at.items()):
            by_shard.setdefault(records.shard_of(instance_id), {})[instance_id] = at.isoformat()
        for shard, vector in by_shard.items():
            key = records.last_good_key(shard)
            item = self.store.get(key)
            if vector == (item.document["at"] if item is not None else {}):
                continue
            try:
                self.store.put(Item(key, {"at": vector}, version=item.version if item is not None else 0))
            except ConditionFailedError:
                _LOG.warning("another watcher wrote this shard's vector", extra={"shard": shard})
