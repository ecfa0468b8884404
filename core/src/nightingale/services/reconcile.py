"""Reconciling: machines that no instance owns are ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from nightingale.contract.vocabulary import AuditTag, Status
from nightingale.domain.history import HistoryEntry
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock
from nightingale.ports.machines import Machines, MachineUnavailableError
from nightingale.ports.store import Store
from nightingale.services import records

_LOG = logging.getLogger(__name__)
_OVER = frozenset({Status.STOPPED, Status.TERMINATED})


@dataclass(frozen=True)
class Reconcile:
    """Compares what runs with what should. The history, read by key, decides: an index may lag."""

    store: Store
    clock: Clock
    machines: Mapping[str, Machines]
    audit: AuditLog
    orphan_after: timedelta = timedelta(seconds=15)
    """A machine is left this long after its instance stopped, in case its build is still ending it."""

    def end_orphans(self) -> int:
        """End machines whose instance is stopped, terminated or was never there; return how many.

        A place that cannot be asked, or a machine that cannot be ended, is left for the next time.
        """
        ended = 0
        for place, machines in self.machines.items():
            try:
                found = machines.find_all()
            except MachineUnavailableError as error:
                _LOG.warning("a place cannot be asked for its machines", extra={"place": place, "why": str(error)})
                continue
            for instance_id in found:
                ended += self._end_if_orphan(place, machines, instance_id)
        return ended

    def _end_if_orphan(self, place: str, machines: Machines, instance_id: str) -> bool:
        page = self.store.query(records.history_partition(instance_id), prefix="HISTORY#", limit=1, is_reversed=True)
        entry = records.decode(page.items[0], HistoryEntry) if page.items else None
        now = self.clock.now()
        # A time ahead of now is of a clock that has stepped back since: long ago, for all that is known.
        if entry is not None and (entry.after not in _OVER or abs(now - entry.at) < self.orphan_after):
            return False
        _LOG.warning("ending a machine that no instance owns", extra={"instance": instance_id})
        try:
            machines.end_orphan(instance_id, is_for_good=entry is None or entry.after is Status.TERMINATED)
        except MachineUnavailableError as error:
            _LOG.error("an orphan did not end", extra={"instance": instance_id, "why": str(error)})
            return False
        detail = {"place": place, "history": entry.after.value if entry is not None else "none"}
        tag = AuditTag.ORPHAN_ENDED.value
        self.audit.append(AuditEvent(PLATFORM_STREAM, now, tag, "platform", instance_id, detail))
        return True
