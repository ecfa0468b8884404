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
from nightingale.ports.machines import Machines
from nightingale.ports.store import Store
from nightingale.services import records

_LOG = logging.getLogger(__name__)


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
        """End machines whose instance is stopped, terminated or was never there; return how many."""
        ended = 0
        now = self.clock.now()
        for place, machines in self.machines.items():
            for instance_id in machines.find_all():
                page = self.store.query(
                    records.history_partition(instance_id), prefix="HISTORY#", limit=1, is_reversed=True
                )
                entry = records.decode(page.items[0], HistoryEntry) if page.items else None
                if entry is not None and entry.after not in {Status.STOPPED, Status.TERMINATED}:
                    continue
                if entry is not None and now - entry.at < self.orphan_after:
                    continue
                _LOG.warning("ending a machine that no instance owns", extra={"instance": instance_id})
                machines.end_orphan(instance_id)
                detail = {"place": place, "history": entry.after.value if entry is not None else "none"}
                tag = AuditTag.ORPHAN_ENDED.value
                self.audit.append(AuditEvent(PLATFORM_STREAM, now, tag, "platform", instance_id, detail))
                ended += 1
        return ended
