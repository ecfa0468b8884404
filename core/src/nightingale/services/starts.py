"""The starts of machines, in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from nightingale.domain.machine import MachineStart
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Store
from nightingale.services import records

_TRIES = 20


@dataclass(frozen=True)
class StoredStarts:
    """Implements ports.starts.Starts."""

    store: Store

    def find(self, instance_id: str) -> MachineStart | None:
        """Return the instance's latest start, None when it never had one."""
        item = self.store.get(records.start_key(instance_id))
        return records.decode(item, MachineStart) if item is not None else None

    def begin(self, start: MachineStart) -> bool:
        """Keep a start unless its generation, or a later one, has one that is not the same; return whether it is kept.

        Of many that come at once exactly one is kept.
        """
        for _ in range(_TRIES):
            item = self.store.get(records.start_key(start.instance_id))
            known = records.decode(item, MachineStart) if item is not None else None
            if known is not None and known.generation >= start.generation:
                is_same = (known.generation, known.machine_id) == (start.generation, start.machine_id)
                return is_same and known.digest == start.digest
            try:
                self.store.put(records.start_item(start, item.version if item is not None else ABSENT))
            except ConditionFailedError:
                continue
            return True
        return False

    def amend(self, instance_id: str, generation: int, change: Callable[[MachineStart], MachineStart]) -> bool:
        """Write what became of a start; return whether that generation is still the latest."""
        for _ in range(_TRIES):
            item = self.store.get(records.start_key(instance_id))
            known = records.decode(item, MachineStart) if item is not None else None
            if item is None or known is None or known.generation != generation:
                return False
            changed = change(known)
            if changed == known:
                return True
            try:
                self.store.put(records.start_item(changed, item.version))
            except ConditionFailedError:
                continue
            return True
        return False

    def admit(self, instance_id: str, code_hash: str, expires_at: datetime) -> None:
        """Keep a code's hash until it is taken or has expired."""
        document = {"instance_id": instance_id, "expires_at": expires_at.isoformat()}
        self.store.put(Item(records.code_key(code_hash), document, expires_at=expires_at))

    def take(self, instance_id: str, code_hash: str, now: datetime) -> bool:
        """Use up a code; return whether it was one of this instance's, in its time. Only one caller ever gets True."""
        item = self.store.get(records.code_key(code_hash))
        if item is None or item.document["instance_id"] != instance_id:
            return False
        try:
            self.store.delete(item.key, item.version)
        except ConditionFailedError:
            return False
        return now < datetime.fromisoformat(item.document["expires_at"])
