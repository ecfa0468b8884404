"""Carries out what is due about findings: tell, quarantine, revoke. Every step may run twice.

    finding saved, action `due`, work noted ──▶ [brake] ──▶ audit ──▶ act (idempotent) ──▶ action `done`, work deleted

A crash anywhere repeats from the brake on: a finding keeps its turn there, and to quarantine twice changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nightingale.contract.findings import ResponseKind, ResponseState
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.errors import RefusedError
from nightingale.domain.finding import PLATFORM, Finding, ResponseAction
from nightingale.domain.response import Brake
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Store, StoreUnavailableError
from nightingale.services import records
from nightingale.services.catalog import CatalogService, query_all
from nightingale.services.findings import FindingsService, has_work
from nightingale.services.notices import NoticeQueue
from nightingale.services.policies import response_policy

_LOG = logging.getLogger(__name__)
_TRIES = 20


class Quarantines(Protocol):
    """Who quarantines: instances, and people. Both are idempotent, and record what they did."""

    def quarantine(self, actor: str, project: str, instance: str, why: str, by_rule: str | None = None) -> object:
        """Cut an instance off. Raises RefusedError, MachineUnavailableError, StoreUnavailableError."""

    def revoke_person(self, actor: str, person: str, why: str, by_rule: str | None = None) -> object:
        """Take a person out of the cluster: sessions and keys with them. Raises RefusedError, StoreUnavailableError."""


@dataclass(frozen=True)
class Responses:
    """The one that acts on findings."""

    store: Store
    clock: Clock
    audit: AuditLog
    catalog: CatalogService
    findings: FindingsService
    notices: NoticeQueue
    quarantines: Quarantines

    def run(self) -> int:
        """Do what is due, return how many actions were done. What cannot be done now stays due.

        Raises StoreUnavailableError, AuditLogUnavailableError.
        """
        done = 0
        for work in query_all(self.store, records.FINDING_WORK):
            done += self.run_one(work.key.sort)
        return done

    def run_one(self, finding_id: str) -> int:
        """Do what is due about one finding; return how many actions were done."""
        done = 0
        found = self.findings.find(finding_id)
        due = [one for one in found[0].actions if one.state is ResponseState.DUE] if found is not None else []
        for action in sorted(due, key=lambda one: one.kind is ResponseKind.NOTIFY):  # first what stops a theft
            done += self._do(finding_id, action)
        key = records.finding_work_key(finding_id)
        work = self.store.get(key)
        found = self.findings.find(finding_id)
        if work is not None and (found is None or not has_work(found[0])):
            try:
                self.store.delete(key, work.version)
            except ConditionFailedError:
                _LOG.info("there is more to do about a finding by now", extra={"finding": finding_id})
        return done

    def _do(self, finding_id: str, due: ResponseAction) -> int:
        found = self.findings.find(finding_id)
        if found is None or found[0].action(due.kind) != due:
            return 0
        finding = found[0]
        try:
            state, words = self._steps(due.kind)(finding, due)
        except RefusedError as refusal:
            state, words = ResponseState.FAILED, refusal.message
        except MachineUnavailableError as error:
            _LOG.warning("an action stays due: %s", error, extra={"finding": finding_id, "action": due.kind.value})
            return 0
        self._settle(finding_id, due, state, words)
        return int(state is ResponseState.DONE)

    def _steps(self, kind: ResponseKind) -> Callable[[Finding, ResponseAction], tuple[ResponseState, str]]:
        steps = {
            ResponseKind.NOTIFY: self._notify,
            ResponseKind.QUARANTINE: self._quarantine,
            ResponseKind.REVOKE: self._revoke,
        }
        return steps[kind]

    def _notify(self, finding: Finding, due: ResponseAction) -> tuple[ResponseState, str]:
        told = self.notices.enqueue(finding, due.at)
        outside = f", and {told} outside the platform" if told else ""
        return ResponseState.DONE, f"shown to administrators{outside}"

    def _quarantine(self, finding: Finding, due: ResponseAction) -> tuple[ResponseState, str]:
        if finding.instance is None or finding.project is None:
            return ResponseState.FAILED, "the events name no instance, so there is nothing to quarantine"
        limit = response_policy(self.catalog.load()).max_auto_quarantines_per_hour
        if due.actor == PLATFORM and not self._take_turn(finding):
            words = f"{limit} instances were quarantined by rules in the last hour: look, then confirm it or not"
            return ResponseState.WITHHELD, words
        why = f"finding {finding.id}: {finding.rule.title}"
        self.quarantines.quarantine(due.actor, finding.project, finding.instance, why, by_rule=finding.rule.name)
        return ResponseState.DONE, "it is in quarantine; `nightingale show` tells whether its machine has followed"

    def _revoke(self, finding: Finding, due: ResponseAction) -> tuple[ResponseState, str]:
        if finding.person is None:
            return ResponseState.FAILED, "the events name no person, so there is nobody to revoke"
        why = f"finding {finding.id}: {finding.rule.title}"
        self.quarantines.revoke_person(due.actor, finding.person, why, by_rule=finding.rule.name)
        return ResponseState.DONE, "they were taken out of the cluster: their sessions and keys open nothing"

    def _take_turn(self, finding: Finding) -> bool:
        """Return whether the brake lets one more automatic quarantine through."""
        for _ in range(_TRIES):
            item = self.store.get(records.BRAKE_KEY)
            brake = Brake({}) if item is None else records.decode(item, Brake)
            after = brake.take(finding.id, response_policy(self.catalog.load()), self.clock.now())
            if after is None:
                return False
            version = ABSENT if item is None else item.version
            try:
                self.store.put(Item(records.BRAKE_KEY, records.encode(after), version=version))
            except ConditionFailedError:
                continue
            return True
        raise StoreUnavailableError("the brake on quarantines is written all the time; it is tried again")

    def _settle(self, finding_id: str, due: ResponseAction, state: ResponseState, words: str) -> None:
        """Record how an action ended, in the audit log and on the finding."""
        is_recorded = False
        for _ in range(_TRIES):
            found = self.findings.find(finding_id)
            if found is None or found[0].action(due.kind) != due:
                return  # another did it meanwhile, or an administrator decided otherwise
            finding, version = found
            now = self.clock.now()
            settled = finding.with_action(ResponseAction(due.kind, state, now, due.actor, words))
            if due.kind is not ResponseKind.NOTIFY or state is not ResponseState.DONE:
                settled = settled.changed(now, due.actor, f"{due.kind.value} {state.value}", words)
            if not is_recorded:
                self._record(settled, due, state)
                is_recorded = True
            try:
                self.findings.save(settled, version)
            except ConditionFailedError:
                continue
            return

    def _record(self, finding: Finding, due: ResponseAction, state: ResponseState) -> None:
        detail = {"action": due.kind.value, "rule": finding.rule.name, "severity": finding.rule.severity.value}
        detail |= {"instance": finding.instance} if finding.instance else {}
        event = AuditEvent(PLATFORM_STREAM, self.clock.now(), _TAGS[state].value, due.actor, finding.id, detail)
        self.audit.append(event)


_TAGS = {
    ResponseState.DONE: AuditTag.RESPONSE_DONE,
    ResponseState.FAILED: AuditTag.RESPONSE_FAILED,
    ResponseState.WITHHELD: AuditTag.RESPONSE_WITHHELD,
}
