"""Packages inside instances: what one may have, for the index proxy, and what was had."""

from __future__ import annotations

from dataclasses import dataclass

from nightingale.contract.errors import ErrorCode
from nightingale.contract.packages import PackageOutcome, PackageRecord, PackageRecordsIn, PackageRulesOut
from nightingale.contract.schemas import Empty
from nightingale.contract.vocabulary import AuditTag, Status
from nightingale.domain.errors import RefusedError
from nightingale.domain.instance import Instance
from nightingale.ports.audit_log import AuditEvent, AuditLog
from nightingale.ports.clock import Clock
from nightingale.services.catalog import CatalogService
from nightingale.services.lifecycle import Lifecycle, not_found

_UP = frozenset({Status.STARTING, Status.RUNNING})
_TAGS = {PackageOutcome.SERVED: AuditTag.PACKAGE_SERVED, PackageOutcome.REFUSED: AuditTag.PACKAGE_REFUSED}


@dataclass(frozen=True)
class PackagesService:
    """The use cases of the index proxy."""

    clock: Clock
    lifecycle: Lifecycle
    catalog: CatalogService
    audit: AuditLog

    def rules(self, project: str, instance_id: str) -> PackageRulesOut:
        """Return what the instance may install now. Raises RefusedError `not_found`, `not_allowed_now`."""
        instance = self._find(project, instance_id)
        if instance.status not in _UP:
            words = f"{instance.name} is {instance.status.value}"
            raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, "Packages are for instances that are up.")
        if instance.is_quarantined:
            words = f"{instance.name} is in quarantine: nothing is installed in it"
            raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, "Talk to the administrator.")
        cluster = self.catalog.load()
        return PackageRulesOut(
            instance_id=instance.id,
            project=project,
            tier=instance.tier,
            index=cluster.packages.index or "",
            file_hosts=cluster.packages.file_hosts,
            allow=tuple(one for one in cluster.allowed if not one.projects or project in one.projects),
        )

    def record(self, project: str, instance_id: str, body: PackageRecordsIn) -> Empty:
        """Keep facts of the instance's stream: all of them or none. Raises RefusedError, AuditLogUnavailableError."""
        instance = self._find(project, instance_id)
        now = self.clock.now()
        self.audit.append_all(
            [
                AuditEvent(instance.id, now, _TAGS[one.outcome].value, instance.owner, instance.id, _detail(one))
                for one in body.records
            ]
        )
        return Empty()

    def _find(self, project: str, instance_id: str) -> Instance:
        stored = self.lifecycle.find(project, instance_id)
        if stored is None:
            raise not_found(instance_id, project)
        return stored.instance


def _detail(record: PackageRecord) -> dict[str, str]:
    """Return the record as texts, without what it does not say."""
    detail = {
        "package": record.package,
        "version": record.version,
        "file": record.file,
        "sha256": record.sha256,
        "bytes": str(record.bytes) if record.outcome is PackageOutcome.SERVED else "",
        "times": str(record.times) if record.times > 1 else "",
        "why": record.why,
    }
    return {name: text for name, text in detail.items() if text}
