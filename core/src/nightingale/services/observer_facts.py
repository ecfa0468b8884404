"""What observers say of themselves, brought to those who answer for it: administrators, and the instance's people."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nightingale.contract.reads import ReadRecord
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.access import InstanceIdentity
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.store import ConditionFailedError, Store
from nightingale.services import records
from nightingale.services.lifecycle import Lifecycle

_LOG = logging.getLogger(__name__)
_TRIES = 20


@dataclass(frozen=True)
class ObserverFacts:
    """Told before the records that hold the facts are kept: again, should that fail, but never not at all."""

    store: Store
    lifecycle: Lifecycle
    audit: AuditLog

    def tell(self, instance: InstanceIdentity, facts: Sequence[tuple[AuditTag, ReadRecord]]) -> None:
        """Write each into the platform's stream, which administrators read, and show it with the instance.

        A fact that is told again has the same number. Raises AuditLogUnavailableError.
        """
        if not facts:
            return
        for tag, fact in facts:
            detail = {"project": instance.project, "number": str(fact.number), "owner": instance.owner}
            detail |= {"note": fact.note} if fact.note else {}
            self.audit.append(AuditEvent(PLATFORM_STREAM, fact.at, tag.value, instance.id, instance.id, detail))
        for _ in range(_TRIES):
            stored = self.lifecycle.find(instance.project, instance.id)
            if stored is None:
                return
            watching = stored.instance.watching
            for _, fact in facts:
                watching = watching.with_fact(fact)
            if watching == stored.instance.watching:
                return
            try:
                self.store.put(records.instance_item(replace(stored.instance, watching=watching), stored.version))
            except ConditionFailedError:
                continue
            return
        _LOG.warning("what an observer said is not shown: others write all the time", extra={"instance": instance.id})
