"""Notices to the outside: a queue in the store, each tried until it arrives or a day is over.

Whoever sends one takes it first, by a conditional write, for a minute: of two senders one sends. One that died after
sending leaves the notice to be sent again, under the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nightingale.contract.findings import Severity
from nightingale.contract.schemas import NotificationIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.finding import PLATFORM, Finding
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock
from nightingale.ports.notifier import NotDeliveredError, Notice, Notifier
from nightingale.ports.store import ConditionFailedError, Item, Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService, query_all

_LOG = logging.getLogger(__name__)

_TAKEN_FOR = timedelta(seconds=60)
_FIRST_WAIT = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(hours=1)
_GIVES_UP_AFTER = timedelta(days=1)
_KEPT_FOR = timedelta(days=30)
_MOST_AT_ONCE = 20
"""Sent in one run: a channel that hangs must not keep the scan from its work."""


@dataclass(frozen=True)
class Queued:
    """One notice for one channel, and how far it is."""

    notice: Notice
    channel: str
    queued_at: datetime
    next_at: datetime
    tries: int = 0
    is_given_up: bool = False


@dataclass(frozen=True)
class NoticeQueue:
    """Keeps and sends notices."""

    store: Store
    clock: Clock
    audit: AuditLog
    catalog: CatalogService
    notifiers: Mapping[str, Notifier]
    """By kind of channel; a host that cannot send a kind leaves it out, and such notices are given up in the end."""
    url: str
    """The platform's address, to look findings up."""

    def enqueue(self, finding: Finding, at: datetime) -> int:
        """Queue a notice for every channel that wants this severity; return for how many. Twice changes nothing."""
        is_again = any(change.change == "open" for change in finding.history)
        notice = Notice(
            id=f"{finding.id}-{at:%Y%m%d%H%M%S}",
            finding=finding.id,
            rule=finding.rule.name,
            severity=finding.rule.severity,
            reason="finding_reopened" if is_again else "finding_opened",
            at=at,
            url=f"{self.url}/v1/findings/{finding.id}",
        )
        channels = [one for one in self.catalog.load().notifications if _wants(one, notice.severity)]
        now = self.clock.now()
        for channel in channels:
            queued = Queued(notice, channel.name, now, now)
            try:
                self.store.put(Item(records.notice_key(notice.id, channel.name), records.encode(queued)))
            except ConditionFailedError:
                _LOG.info("a notice is queued already", extra={"notice": notice.id, "channel": channel.name})
        return len(channels)

    def deliver(self) -> int:
        """Send what is due, return how many arrived. Raises StoreUnavailableError, AuditLogUnavailableError."""
        channels = {one.name: one for one in self.catalog.load().notifications}
        sent = tried = 0
        for item in query_all(self.store, records.NOTICES):
            queued = records.decode(item, Queued)
            if queued.is_given_up or queued.next_at > self.clock.now():
                continue
            if tried >= _MOST_AT_ONCE:
                break
            tried += 1
            sent += self._deliver(item, queued, channels.get(queued.channel))
        return sent

    def undelivered(self) -> int:
        """Return how many notices wait after a failure, or were given up."""
        queued = (records.decode(item, Queued) for item in query_all(self.store, records.NOTICES))
        return sum(1 for one in queued if one.tries > 0)

    def _deliver(self, item: Item, queued: Queued, channel: NotificationIn | None) -> bool:
        now = self.clock.now()
        taken = replace(queued, tries=queued.tries + 1, next_at=now + _TAKEN_FOR)
        try:
            item = self.store.put(Item(item.key, records.encode(taken), version=item.version))
        except ConditionFailedError:
            return False  # another sends it
        try:
            self._send(channel, queued.notice)
        except NotDeliveredError as error:
            self._put_off(item, taken, str(error))
            return False
        self._record(AuditTag.NOTICE_SENT, queued, {"tries": str(taken.tries)})
        self.store.delete(item.key, item.version)
        return True

    def _send(self, channel: NotificationIn | None, notice: Notice) -> None:
        if channel is None:
            raise NotDeliveredError("the cluster file has no such channel any more")
        notifier = self.notifiers.get(channel.kind)
        if notifier is None:
            raise NotDeliveredError(f"this platform cannot send by {channel.kind}")
        notifier.send(channel, notice)

    def _put_off(self, item: Item, queued: Queued, why: str) -> None:
        now = self.clock.now()
        _LOG.warning("a notice did not arrive: %s", why, extra={"channel": queued.channel, "tries": queued.tries})
        is_over = now - queued.queued_at >= _GIVES_UP_AFTER
        if is_over:
            self._record(AuditTag.NOTICE_GIVEN_UP, queued, {"tries": str(queued.tries), "why": why})
        wait = min(_FIRST_WAIT * 2 ** min(queued.tries - 1, 16), _LONGEST_WAIT)
        after = replace(queued, next_at=now + wait, is_given_up=is_over)
        expires_at = now + _KEPT_FOR if is_over else None
        self.store.put(Item(item.key, records.encode(after), version=item.version, expires_at=expires_at))

    def _record(self, tag: AuditTag, queued: Queued, detail: dict[str, str]) -> None:
        told = {"channel": queued.channel, "notice": queued.notice.id} | detail
        event = AuditEvent(PLATFORM_STREAM, self.clock.now(), tag.value, PLATFORM, queued.notice.finding, told)
        self.audit.append(event)


def _wants(channel: NotificationIn, severity: Severity) -> bool:
    return severity.rank >= Severity(channel.min_severity).rank
