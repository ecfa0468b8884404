"""Where servers listen, looked up in a thread before a round of probes: in a cloud the answer lies in the store.

What the store cannot say now is as it was last known: that the watcher cannot read says nothing about an instance.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from nightingale.domain.instance import Instance
from nightingale.ports.machines import Machines, MachineUnavailableError
from nightingale.ports.store import StoreUnavailableError

_LOG = logging.getLogger(__name__)


@dataclass
class Addresses:
    """The addresses of one watcher's instances. Threads may share it."""

    machines: Mapping[str, Machines]
    _known: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    """Generation and address by instance; without an address where its machine has none to give."""

    def look_up(self, instances: Iterable[Instance]) -> None:
        """Take up where each of these listens now; it may wait for a store. A store that is away ends the round."""
        for instance in instances:
            try:
                address = self.machines[instance.place].address(instance.id)
            except MachineUnavailableError:
                self._known[instance.id] = (instance.generation, None)
            except StoreUnavailableError as error:
                _LOG.warning("addresses cannot be looked up, those known before are probed", extra={"why": str(error)})
                return
            else:
                self._known[instance.id] = (instance.generation, address)

    def knows(self, instance: Instance) -> bool:
        """Return whether it is known where this start of the instance listens, or that it cannot be asked."""
        known = self._known.get(instance.id)
        return known is not None and known[0] == instance.generation

    def find(self, instance: Instance) -> str | None:
        """Return where it listens, as last looked up; None when its machine has no address to give."""
        known = self._known.get(instance.id)
        return known[1] if known is not None and known[0] == instance.generation else None

    def way_in(self, instance: Instance) -> tuple[str, str] | None:
        """Return address and token of its server; None when they cannot be had now. It may wait for a store."""
        machines = self.machines[instance.place]
        try:
            return machines.address(instance.id), machines.token(instance.id)
        except (MachineUnavailableError, StoreUnavailableError):
            return None

    def forget_all_but(self, ids: AbstractSet[str]) -> None:
        """Forget instances that are no more."""
        for gone in self._known.keys() - ids:
            self._known.pop(gone, None)
