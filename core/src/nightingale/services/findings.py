"""Findings in the store: firings are merged into them, people say what they are, nothing is counted twice.

Each group of a rule has one list of its episodes, and every write of a finding writes that list under its version: of
two scans at once one is refused, reads again, and finds its firing taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.findings import FindingDecisionIn, FindingState, FindingUpdateIn, ResponseState
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.access import Principal
from nightingale.domain.errors import RefusedError
from nightingale.domain.finding import Finding, Hit, ResponseAction, merged, opened
from nightingale.domain.response import planned
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Put, Store, StoreUnavailableError, Write
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.lifecycle import Lifecycle
from nightingale.services.policies import response_policy

_LOG = logging.getLogger(__name__)

_TRIES = 20
_MOST_EPISODES = 200
"""Episodes of a group that are remembered, the latest: what belongs before the first of a full list comes too late."""
_MOST_REMEMBERED = 20_000


@dataclass(frozen=True)
class Span:
    """One finding of a group in the list of its episodes."""

    id: str
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True)
class Episodes:
    """The findings of a group, by when they began."""

    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Listed:
    """A group's episodes and the version under which they were read."""

    episodes: Episodes
    version: int


@dataclass
class Taken:
    """What became of a scan's firings, and of how many nothing new was learnt."""

    opened: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    too_late: int = 0


@dataclass(frozen=True)
class FindingsService:
    """The one writer of findings. Its methods may be called from many threads and processes."""

    store: Store
    clock: Clock
    ids: Ids
    audit: AuditLog
    catalog: CatalogService
    lifecycle: Lifecycle
    _remembered: dict[str, Hit] = field(default_factory=dict)
    """The latest firing taken of an episode: a scan that says the same again costs no read of the store."""

    # --- firings ------------------------------------------------------------------------------------------------------

    def take(self, firings: Iterable[Hit]) -> Taken:
        """Merge firings into findings, open new ones, and note what is to be done about them.

        Raises StoreUnavailableError, AuditLogUnavailableError; taking the same firings again then does the rest.
        """
        taken = Taken()
        for hit in firings:
            name = f"{hit.subject} {hit.first_seen.isoformat()}"
            if self._remembered.get(name) == hit:
                continue
            self._take(hit, taken)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[name] = hit
        return taken

    def _take(self, hit: Hit, taken: Taken) -> None:
        for _ in range(_TRIES):
            item = self.store.get(records.episodes_key(hit.subject))
            episodes = Episodes() if item is None else records.decode(item, Episodes)
            spans = (span for span in episodes.spans if hit.is_near(span.first_seen, span.last_seen))
            near = [one for span in spans if (one := self._stored(span.id)) is not None]
            if not near and _is_too_late(hit, episodes):
                _LOG.warning("a firing came later than its group remembers", extra={"rule": hit.rule.name})
                taken.too_late += 1
                return
            listed = Listed(episodes, ABSENT if item is None else item.version)
            try:
                if near:
                    self._grow(near, hit, listed, taken)
                else:
                    self._open(hit, listed, taken)
            except ConditionFailedError:
                continue
            return
        raise StoreUnavailableError("a finding changes all the time; its firing is taken by the next scan")

    def _open(self, hit: Hit, listed: Listed, taken: Taken) -> None:
        now = self.clock.now()
        finding = opened(hit, self.ids.ordered("f", now), now)
        finding = replace(finding, tier=self._tier(finding))
        finding = self._with_plan(finding, now)
        self._write(finding, ABSENT, [], listed)
        # Kept behind the finding: it is what people see, and a record of one that was not written would mislead.
        self._record(AuditTag.FINDING_OPENED, "platform", finding, {"rule": hit.rule.name, "rule_id": hit.rule.id})
        taken.opened.append(finding.id)

    def _grow(self, near: list[tuple[Finding, int]], hit: Hit, listed: Listed, taken: Taken) -> None:
        now = self.clock.now()
        changed = merged([finding for finding, _ in near], hit, now)
        if not changed:
            return
        versions = {finding.id: at for finding, at in near}
        before = {finding.id: finding for finding, _ in near}
        stays, *gone = changed
        if before[stays.id].state.is_closed and stays.state is FindingState.OPEN:
            stays = self._with_plan(stays, now)
        others = [Put(records.finding_item(one, versions[one.id])) for one in gone]
        self._write(stays, versions[stays.id], others, listed)
        taken.grown.append(stays.id)

    def _write(self, finding: Finding, version: int, others: list[Put], listed: Listed) -> None:
        """Write in one transaction: the finding, those that joined it, the group's list, what is to be done."""
        gone = {finding.id, *(put.item.document["id"] for put in others)}
        spans = [one for one in listed.episodes.spans if one.id not in gone]
        spans.append(Span(finding.id, finding.first_seen, finding.last_seen))
        spans.sort(key=lambda one: (one.first_seen, one.id))
        after = records.encode(Episodes(tuple(spans[-_MOST_EPISODES:])))
        episodes = Put(Item(records.episodes_key(finding.subject), after, version=listed.version))
        self.store.transact([*self._puts(finding, version), episodes, *others])

    def _puts(self, finding: Finding, version: int) -> list[Write]:
        """Return the writes of a finding: itself, and that there is something to do where there is."""
        writes: list[Write] = [Put(records.finding_item(finding, version))]
        if has_work(finding):
            key = records.finding_work_key(finding.id)
            work = self.store.get(key)
            writes.append(Put(Item(key, {"finding": finding.id}, version=ABSENT if work is None else work.version)))
        return writes

    def _with_plan(self, finding: Finding, now: datetime) -> Finding:
        policy = response_policy(self.catalog.load())
        return replace(finding, actions=planned(finding, policy, now))

    def _tier(self, finding: Finding) -> int | None:
        """Return the tier of the instance's data; 3 where the events name an instance that is not known."""
        if finding.instance is None or finding.project is None:
            return None
        stored = self.lifecycle.find(finding.project, finding.instance)
        return _STRICTEST if stored is None else stored.instance.tier

    # --- people -------------------------------------------------------------------------------------------------------

    def get(self, finding_id: str) -> Finding:
        """Return a finding. Raises RefusedError `not_found`."""
        return self._get(finding_id)[0]

    def update(self, principal: Principal, finding_id: str, asked: FindingUpdateIn) -> Finding:
        """Move a finding to another state, with a note; say who and when.

        Raises RefusedError: `not_found`, `finding_changed`, `invalid` for a false alarm without a note.
        """
        if asked.state is FindingState.FALSE_ALARM and not asked.note.strip():
            words = "a false alarm needs a note: whoever looks at the next one wants to know why"
            raise RefusedError(ErrorCode.INVALID, words, "Say why.", details=(("note", words),))

        def move(finding: Finding, now: datetime) -> tuple[Finding, AuditTag, dict[str, str]]:
            moved = finding.moved_to(asked.state, now, principal.name, asked.note.strip())
            return moved, AuditTag.FINDING_UPDATED, {"state": asked.state.value, "was": finding.state.value}

        return self._change(principal, finding_id, asked.revision, move)

    def confirm(self, principal: Principal, finding_id: str, asked: FindingDecisionIn) -> Finding:
        """Say yes to an action that waits, was withheld, or failed: it is done at once by who carries actions out.

        Raises RefusedError: `not_found`, `finding_changed`, `not_allowed_now` when no such action waits.
        """
        return self._decide(principal, finding_id, asked, ResponseState.DUE, AuditTag.RESPONSE_CONFIRMED)

    def dismiss(self, principal: Principal, finding_id: str, asked: FindingDecisionIn) -> Finding:
        """Say no to an action that waits. Raises RefusedError as `confirm`."""
        return self._decide(principal, finding_id, asked, ResponseState.DISMISSED, AuditTag.RESPONSE_DISMISSED)

    def _decide(
        self, principal: Principal, finding_id: str, asked: FindingDecisionIn, state: ResponseState, tag: AuditTag
    ) -> Finding:
        def decide(finding: Finding, now: datetime) -> tuple[Finding, AuditTag, dict[str, str]]:
            action = finding.action(asked.action)
            if action is None or action.state not in _WAITS:
                stands = "there is none" if action is None else f"it is {action.state.value}"
                words = f"no {asked.action.value} of {finding.id} waits for a decision: {stands}"
                raise RefusedError(
                    ErrorCode.NOT_ALLOWED_NOW, words, f"Look at it: nightingale findings show {finding.id}"
                )
            decided = finding.with_action(ResponseAction(asked.action, state, now, principal.name, asked.note.strip()))
            verb = "confirmed" if state is ResponseState.DUE else "dismissed"
            decided = decided.changed(now, principal.name, f"{verb} {asked.action.value}", asked.note.strip())
            return decided, tag, {"action": asked.action.value}

        return self._change(principal, finding_id, asked.revision, decide)

    def _change(
        self,
        principal: Principal,
        finding_id: str,
        revision: int,
        change: Callable[[Finding, datetime], tuple[Finding, AuditTag, dict[str, str]]],
    ) -> Finding:
        is_recorded = False
        for _ in range(_TRIES):
            finding, version = self._get(finding_id)
            if finding.merged_into is not None:
                words = f"{finding.id} is part of {finding.merged_into}"
                raise RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, f"Look at {finding.merged_into}.")
            if finding.revision != revision:
                words = f"{finding.id} is at revision {finding.revision} by now, and you looked at {revision}"
                raise RefusedError(ErrorCode.FINDING_CHANGED, words, "Look at it again, then decide.")
            after, tag, detail = change(finding, self.clock.now())
            if not is_recorded:
                self._record(tag, principal.name, after, detail)
                is_recorded = True
            try:
                self.save(after, version)
            except ConditionFailedError:
                continue
            return after
        raise StoreUnavailableError("the finding changes all the time; try again")

    # --- for what carries actions out ---------------------------------------------------------------------------------

    def find(self, finding_id: str) -> tuple[Finding, int] | None:
        """Return a finding and the version under which it was read, or None."""
        return self._stored(finding_id)

    def save(self, finding: Finding, version: int) -> None:
        """Write a finding whose span did not change. Raises ConditionFailedError, StoreUnavailableError."""
        self.store.transact(self._puts(finding, version))

    def _get(self, finding_id: str) -> tuple[Finding, int]:
        found = self._stored(finding_id)
        if found is None:
            step = "See what there is: nightingale findings."
            raise RefusedError(ErrorCode.NOT_FOUND, f"there is no finding {finding_id}", step)
        return found

    def _stored(self, finding_id: str) -> tuple[Finding, int] | None:
        item = self.store.get(records.finding_key(finding_id))
        return None if item is None else (records.decode(item, Finding), item.version)

    def _record(self, tag: AuditTag, actor: str, finding: Finding, detail: dict[str, str]) -> None:
        told = detail | {"severity": finding.rule.severity.value, "instance": finding.instance or ""}
        told = {name: text for name, text in told.items() if text}
        self.audit.append(AuditEvent(PLATFORM_STREAM, self.clock.now(), tag.value, actor, finding.id, told))


_STRICTEST = 3
_WAITS = frozenset({ResponseState.ASKED, ResponseState.WITHHELD, ResponseState.FAILED})


def has_work(finding: Finding) -> bool:
    """Return whether the platform has to do something about it."""
    return any(action.state is ResponseState.DUE for action in finding.actions)


def _is_too_late(hit: Hit, episodes: Episodes) -> bool:
    if len(episodes.spans) < _MOST_EPISODES:
        return False
    return hit.last_seen.astimezone(UTC) < episodes.spans[0].first_seen - timedelta(seconds=hit.rule.episode_s)
