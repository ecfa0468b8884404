"""The cluster file: what applying it would change, and applying it.

An apply takes META first (`is_applying`, guarded by its version), then writes entries, people and projects in
transactions that each check META, removes what left the file, and writes META with the next revision last. So of two at
once one is refused before it wrote anything; one cut short is made good by applying again, and until then readers keep
the snapshot they had (a new reader sees whole entries, some still the old ones; a person and their keys always change
together). An apply of up to 98 items is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import (
    ClusterApplyIn,
    ClusterApplyOut,
    ClusterChangeOut,
    ClusterIn,
    ClusterOut,
    ClusterPlanIn,
    ClusterPlanOut,
    PlaceIn,
)
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.access import Principal
from nightingale.domain.catalog import Cluster, Person
from nightingale.domain.errors import RefusedError
from nightingale.domain.instance import Instance
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog, AuditLogUnavailableError
from nightingale.ports.clock import Clock
from nightingale.ports.signatures import SignatureVerifier
from nightingale.ports.store import (
    ABSENT,
    MAX_TRANSACTION,
    Check,
    ConditionFailedError,
    Delete,
    Item,
    Key,
    Put,
    Store,
    Write,
)
from nightingale.services import records
from nightingale.services.catalog import ClusterMeta, query_all, read_meta, snapshot
from nightingale.services.cluster_check import Mistake, find_mistakes
from nightingale.services.cluster_places import place_notes
from nightingale.services.cluster_state import (
    ClusterState,
    StoredCluster,
    changes_between,
    file_of,
    read_stored,
    wanted_state,
)
from nightingale.services.metering import find_billable
from nightingale.services.rule_shelf import RuleShelf

_MOST_DETAILS = 100
_PEOPLE_FIRST = (
    *("CPU", "MEMORY", "GPU", "DISK", "IMAGE", "DATASET", "PLACE", "RATE"),
    *("POLICY", "PACKAGES", "ALLOW", "LOGIN", "FINDINGS", "NOTIFICATION"),
)
"""Kinds written before people and projects, which lean on them."""


class ClusterService:
    """Plans and applies cluster files."""

    def __init__(self, store: Store, clock: Clock, audit_log: AuditLog, signatures: SignatureVerifier) -> None:
        """Keep the ports."""
        self._store = store
        self._clock = clock
        self._audit_log = audit_log
        self._signatures = signatures
        self._rules = RuleShelf(store, clock)

    def get(self, principal: Principal) -> ClusterOut:
        """Return the running cluster as a file that changes nothing when it is applied.

        Raises RefusedError: `not_found` before the first apply; `cluster_changed` while one is under way or was cut
        short, since what is stored then is of two files.
        """
        del principal  # as for a plan
        stored = read_stored(self._store)
        meta, version = read_meta(self._store)
        if meta.is_applying or version != stored.version:
            raise _changed("an apply is under way, or was cut short and has to be made again")
        if not meta.revision:
            raise RefusedError(
                ErrorCode.NOT_FOUND,
                "this platform has no cluster yet",
                "Apply a first file: nightingale admin apply cluster.yaml.",
            )
        return ClusterOut(revision=meta.revision, cluster=file_of(stored.state))

    def plan(self, principal: Principal, asked: ClusterPlanIn) -> ClusterPlanOut:
        """Return the difference between the cluster and the file. Raises RefusedError `invalid` with every mistake."""
        del principal  # dispatch has checked the permission, and a plan is no fact to record
        stored = read_stored(self._store)
        wanted = self._wanted(asked.cluster, stored)
        changes = changes_between(stored.state, wanted)
        return ClusterPlanOut(base=stored.meta.revision, changes=changes, notes=place_notes(asked.cluster))

    def apply(self, principal: Principal, asked: ClusterApplyIn) -> ClusterApplyOut:
        """Make the cluster as the file says, if it still is the one that `base` names; a second time does nothing.

        Raises RefusedError: `cluster_changed`, `invalid` with every mistake. Raises AuditLogUnavailableError and
        StoreUnavailableError; apply again then.
        """
        stored = read_stored(self._store)
        if asked.base != stored.meta.revision:
            raise _changed(f"it is at revision {stored.meta.revision}, the plan was made at {asked.base}")
        wanted = self._wanted(asked.cluster, stored)
        named = asked.cluster.findings.rules_digest if asked.cluster.findings is not None else None
        before = {was.rules_digest for was in stored.state.entries["FINDINGS"].values()}
        # What ran before stays named, here or lost: taking a person out must not wait for rules.
        if named is not None and named not in before and not self._rules.holds(named):
            raise _invalid([("findings.rules_digest", "the platform holds no such rules: they are uploaded first")])
        changes = changes_between(stored.state, wanted)
        groups = [*self._groups(stored, wanted)]
        if not groups and not changes and not stored.meta.is_applying and stored.meta.revision:
            return ClusterApplyOut(revision=stored.meta.revision, changes=())
        revision = stored.meta.revision + 1
        try:
            self._take(stored)
            self._record(principal, stored, revision, changes)
            self._write(groups, ClusterMeta(revision, wanted.currency), stored.version + 1)
        except ConditionFailedError as error:
            raise _changed("somebody else applied a file just now") from error
        self._rules.tidy({named, *before})
        return ClusterApplyOut(revision=revision, changes=changes)

    def _wanted(self, cluster: ClusterIn, stored: StoredCluster) -> ClusterState:
        """Return what the file asks for, or raise RefusedError with everything that is wrong with it."""
        mistakes = find_mistakes(cluster, self._signatures, stored.state.people)
        if stored.meta.revision and cluster.currency != stored.meta.currency:
            words = f"the currency is {stored.meta.currency} and stays it: usage is recorded and owed in it"
            mistakes.append(("currency", words))
        if mistakes:
            raise _invalid(mistakes)
        wanted = wanted_state(cluster, stored.state.people, self._signatures)
        if in_use := [*self._in_use(stored, wanted)]:
            raise _invalid(in_use)
        return wanted

    def _in_use(self, stored: StoredCluster, wanted: ClusterState) -> Iterator[Mistake]:
        """Yield what the file drops although instances still need it: their projects, and prices since they began."""
        removed = stored.state.entries["PROJECT"].keys() - wanted.entries["PROJECT"].keys()
        for project in sorted(removed):
            items = query_all(self._store, records.project_partition(project), prefix=records.LIVE)
            if names := sorted(records.decode(item, Instance).name for item in items):
                yield "projects", f"project {project} cannot go while it has instances: {', '.join(names)}"
        if not stored.meta.revision:
            return
        cluster, before = _cluster(wanted), _cluster(stored.state).places
        for instance in find_billable(self._store):
            name = f"{instance.name} of {instance.project}"
            place, was = cluster.places.get(instance.place), before.get(instance.place)
            if place is not None and was is not None and _has_moved(was, place):
                words = f"{place.name} stays of kind {was.kind} in {was.region or 'its region'}: {name} lives there"
                yield "places", f"{words}; a place elsewhere is another entry"
            if instance.project in removed and instance.terminated_at is not None:
                yield "projects", f"the last hours of {name} are not metered yet: apply again in a minute"
            for at in (instance.created_at, self._clock.now()):
                try:
                    cluster.price(instance.place, instance.size, at)
                except RefusedError as error:
                    path = error.details[0][0].replace("size.", "sizes.").replace("place", "rates")
                    yield path, f"instance {name} still needs it: {error.message}"
                    break

    def _take(self, stored: StoredCluster) -> None:
        """Take META for this apply. Raises ConditionFailedError when another one has."""
        meta = ClusterMeta(stored.meta.revision, stored.meta.currency, is_applying=True)
        self._store.put(Item(records.CLUSTER_META, records.encode(meta), version=stored.version))

    def _record(
        self, principal: Principal, stored: StoredCluster, revision: int, changes: tuple[ClusterChangeOut, ...]
    ) -> None:
        """Keep the fact before anything changes; give META back when it cannot be kept."""
        detail = {
            "base": str(stored.meta.revision),
            "revision": str(revision),
            "changes": str(len(changes)),
            "keys": " ".join(f"{change.verb}:{change.key}" for change in changes[:_MOST_DETAILS]),
        }
        tag, at = AuditTag.CLUSTER_APPLIED.value, self._clock.now()
        try:
            self._audit_log.append(AuditEvent(PLATFORM_STREAM, at, tag, principal.name, "cluster", detail))
        except AuditLogUnavailableError:
            back = records.encode(stored.meta)
            self._store.put(Item(records.CLUSTER_META, back, version=stored.version + 1))
            raise

    def _write(self, groups: list[list[Write]], meta: ClusterMeta, version: int) -> None:
        """Write the groups in order, each whole, and META last. `version` is META's as this apply took it."""
        held = Check(records.CLUSTER_META, version)
        batch: list[Write] = []
        for group in groups:
            if len(batch) + len(group) >= MAX_TRANSACTION:
                self._store.transact([held, *batch])
                batch = []
            batch += group
        self._store.transact([*batch, Put(Item(records.CLUSTER_META, records.encode(meta), version=version))])

    def _groups(self, stored: StoredCluster, wanted: ClusterState) -> Iterator[list[Write]]:
        """Yield the writes from what is stored to what is wanted, in groups that belong together."""
        for kind in _PEOPLE_FIRST:
            yield from _puts(stored, wanted, kind)
        yield from self._people(stored, wanted.people)
        yield from _puts(stored, wanted, "PROJECT")
        for kind in ("PROJECT", *_PEOPLE_FIRST):
            for name in sorted(stored.state.entries[kind].keys() - wanted.entries[kind].keys()):
                key = records.cluster_key(kind, name)
                yield [Delete(key, stored.items[key].version)]

    def _people(self, stored: StoredCluster, people: Mapping[str, Person]) -> Iterator[list[Write]]:
        owners = {key.fingerprint: person.name for person in people.values() for key in person.keys}
        for name in sorted(people):
            person, key = people[name], records.person_key(name)
            item = _changed_item(stored, key, records.encode(person))
            before = {old.fingerprint for old in stored.state.people[name].keys} if key in stored.items else set()
            after = {new.fingerprint for new in person.keys}
            group: list[Write] = [] if item is None else [Put(item)]
            if item is not None or before != after:
                # A key that moves to another person is written with its new owner and only there.
                group += [write for fp in sorted(after) for write in self._pointer(fp, name)]
                group += [write for fp in sorted(before - owners.keys()) for write in self._pointer(fp, None)]
            if group:
                yield group

    def _pointer(self, fingerprint: str, person: str | None) -> list[Write]:
        """Return the write that makes a key point to a person, or to nobody; none when it does."""
        key = records.ssh_key_key(fingerprint)
        item = self._store.get(key)
        if person is None:
            return [] if item is None else [Delete(key, item.version)]
        document = {"person": person}
        if item is not None and item.document == document:
            return []
        return [Put(Item(key, document, version=ABSENT if item is None else item.version))]


def _puts(stored: StoredCluster, wanted: ClusterState, kind: str) -> Iterator[list[Write]]:
    for name in sorted(wanted.entries[kind]):
        item = _changed_item(stored, records.cluster_key(kind, name), records.encode(wanted.entries[kind][name]))
        if item is not None:
            yield [Put(item)]


def _changed_item(stored: StoredCluster, key: Key, document: dict[str, object]) -> Item | None:
    """Return the item to write under `key`, or None when the store holds this document."""
    item = stored.items.get(key)
    if item is not None and item.document == document:
        return None
    return Item(key, document, version=ABSENT if item is None else item.version)


def _has_moved(was: PlaceIn, place: PlaceIn) -> bool:
    """Whether a place would be somewhere else than it was; a region may be filled in."""
    return was.kind != place.kind or (bool(was.region) and was.region != place.region)


def _cluster(state: ClusterState) -> Cluster:
    entries = {kind: list(by_name.values()) for kind, by_name in state.entries.items()}
    return snapshot(entries, ClusterMeta(currency=state.currency), ABSENT)


def _invalid(mistakes: list[Mistake]) -> RefusedError:
    path, words = mistakes[0]
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return RefusedError(
        ErrorCode.INVALID,
        f"the cluster file cannot be applied: {path}: {words}{more}",
        "Correct the file and plan again; nothing was changed.",
        details=tuple(dict.fromkeys(mistakes))[:_MOST_DETAILS],
    )


def _changed(why: str) -> RefusedError:
    return RefusedError(
        ErrorCode.CLUSTER_CHANGED,
        f"the cluster is no longer the one that was planned on: {why}",
        "Plan again (nightingale admin plan), look at the changes, then apply.",
    )
