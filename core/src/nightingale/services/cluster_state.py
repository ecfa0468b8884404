"""The cluster as values that can be compared: what a file asks for, what the store holds, and the difference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from nightingale.contract.schemas import (
    ClusterChangeOut,
    ClusterIn,
    LoginIn,
    PersonIn,
    PolicyIn,
    ProjectIn,
    SizesIn,
)
from nightingale.contract.vocabulary import Role, Weekday
from nightingale.domain.catalog import Person, PersonKey
from nightingale.ports.signatures import SignatureVerifier
from nightingale.ports.store import Item, Key, Store
from nightingale.services import records
from nightingale.services.catalog import ENTRY_TYPES, NO_CURRENCY, ClusterMeta, query_all, read_meta
from nightingale.services.cluster_alerts import alert_entries, alerts_of
from nightingale.services.cluster_packages import package_entries, packages_of
from nightingale.services.cluster_rates import in_order, plain_rate

FIRST_UID = 10_000

_PATHS = {
    "PROJECT": "projects",
    "CPU": "sizes.cpu",
    "MEMORY": "sizes.memory",
    "GPU": "sizes.gpu",
    "DISK": "sizes.disk",
    "IMAGE": "images",
    "DATASET": "datasets",
    "PLACE": "places",
    "RATE": "rates",
    "POLICY": "policy",
    "PACKAGES": "packages",
    "ALLOW": "packages.allow",
    "LOGIN": "login",
    "FINDINGS": "findings",
    "NOTIFICATION": "notifications",
}

_ONLY_ONE = frozenset({"POLICY", "PACKAGES", "LOGIN", "FINDINGS"})

_UNSAID = {
    "PROJECT": ("policy", "places"),
    "IMAGE": ("sources",),
    "DATASET": ("sources",),
    "PLACE": ("machines",),
    "RATE": ("spot",),
}
"""What most entries leave out, and what then shows in no change."""

_POLICY_KEY = re.compile(r"policy|packages|login|findings|projects\.[^.]+\.policy")


@dataclass(frozen=True)
class ClusterState:
    """A whole cluster: entries by kind and name, and people by name (also those who left)."""

    currency: str
    entries: Mapping[str, Mapping[str, Any]]
    people: Mapping[str, Person]


@dataclass(frozen=True)
class StoredCluster:
    """What the store holds: the state, META with its version, and the items by key for guarded writes."""

    state: ClusterState
    meta: ClusterMeta
    version: int
    items: Mapping[Key, Item] = field(repr=False)


def read_stored(store: Store) -> StoredCluster:
    """Return what the store holds now. Raises StoreUnavailableError."""
    meta, version = read_meta(store)
    items: dict[Key, Item] = {}
    entries: dict[str, dict[str, Any]] = {kind: {} for kind in ENTRY_TYPES}
    for item in query_all(store, records.CLUSTER):
        kind, _, name = item.key.sort.partition("#")
        if kind in ENTRY_TYPES:
            items[item.key] = item
            entries[kind][name] = records.decode(item, ENTRY_TYPES[kind])
    people: dict[str, Person] = {}
    for item in query_all(store, records.PEOPLE):
        items[item.key] = item
        person = records.decode(item, Person)
        people[person.name] = person
    return StoredCluster(ClusterState(meta.currency, entries, people), meta, version, items)


def wanted_state(cluster: ClusterIn, known: Mapping[str, Person], signatures: SignatureVerifier) -> ClusterState:
    """Return what a file without mistakes asks for; `known` people keep their uid and are never forgotten.

    Lists whose order means nothing are sorted and amounts lose trailing zeros, so that neither shows as a change.
    """
    entries: dict[str, Mapping[str, Any]] = {
        "PROJECT": {project.name: _plain_project(project) for project in cluster.projects},
        "CPU": {entry.name: entry for entry in cluster.sizes.cpu},
        "MEMORY": {entry.name: entry for entry in cluster.sizes.memory},
        "GPU": {entry.name: entry for entry in cluster.sizes.gpu},
        "DISK": {entry.name: entry for entry in cluster.sizes.disk},
        "IMAGE": {entry.name: entry for entry in cluster.images},
        "DATASET": {entry.name: entry for entry in cluster.datasets},
        "PLACE": {entry.name: entry for entry in cluster.places},
        "RATE": {f"{rate.place}#{rate.effective.isoformat()}": plain_rate(rate) for rate in cluster.rates},
        "POLICY": {records.POLICY_NAME: policy} if (policy := _plain_policy(cluster.policy)) is not None else {},
        **package_entries(cluster.packages),
        "LOGIN": {records.POLICY_NAME: cluster.login} if cluster.login not in {None, LoginIn()} else {},
        **alert_entries(cluster),
    }
    roles: dict[str, list[tuple[str, Role]]] = {}
    for project in cluster.projects:
        for member in project.members:
            roles.setdefault(member.person, []).append((project.name, member.role))
    uids = _uids(cluster.people, known)
    people = {name: _left(person) for name, person in known.items()}
    for entry in cluster.people:
        people[entry.name] = Person(
            name=entry.name,
            full_name=entry.full_name,
            uid=uids[entry.name],
            is_admin=entry.is_admin,
            is_active=True,
            roles=tuple(sorted(roles.get(entry.name, []))),
            keys=tuple(sorted((_key(line, signatures) for line in entry.keys), key=lambda key: key.fingerprint)),
        )
    return ClusterState(cluster.currency, entries, people)


def file_of(state: ClusterState) -> ClusterIn:
    """Return the file that asks for this state: each list in one order (sizes: the smallest first).

    People who left are not in it; the others keep their uids wherever the file is applied.
    """

    def entries(kind: str, size: str = "") -> tuple[Any, ...]:
        by_name = state.entries[kind]
        return tuple(sorted(by_name.values(), key=lambda entry: (getattr(entry, size, 0), getattr(entry, "name", ""))))

    sizes = SizesIn(
        cpu=entries("CPU", "cores"),
        memory=entries("MEMORY", "gib"),
        disk=entries("DISK", "gib"),
        gpu=entries("GPU", "count"),
    )
    people = (state.people[name] for name in sorted(state.people))
    findings, notifications = alerts_of(state.entries)
    return ClusterIn(
        version=1,
        currency=state.currency,
        people=tuple(
            PersonIn(
                name=person.name,
                keys=tuple(key.line for key in person.keys),
                full_name=person.full_name,
                uid=person.uid,
                is_admin=person.is_admin,
            )
            for person in people
            if person.is_active
        ),
        projects=entries("PROJECT"),
        sizes=sizes,
        images=entries("IMAGE"),
        places=entries("PLACE"),
        rates=tuple(in_order(rate, sizes) for _, rate in sorted(state.entries["RATE"].items())),
        datasets=entries("DATASET"),
        policy=state.entries["POLICY"].get(records.POLICY_NAME),
        packages=packages_of(state.entries),
        login=state.entries["LOGIN"].get(records.POLICY_NAME),
        findings=findings,
        notifications=notifications,
    )


def _key(line: str, signatures: SignatureVerifier) -> PersonKey:
    plain = " ".join(line.split())
    return PersonKey(signatures.fingerprint_of(plain), plain)


def _left(person: Person) -> Person:
    """Return the person without anything but their record and their uid, which nobody else ever gets."""
    return Person(person.name, person.full_name, person.uid, is_admin=False, is_active=False)


def _uids(entries: tuple[PersonIn, ...], known: Mapping[str, Person]) -> dict[str, int]:
    """Return the uid of each person: the one they have, the one in the file, or the lowest that was never used."""
    uids = {name: person.uid for name, person in known.items()}
    for entry in entries:
        if entry.uid is not None:
            uids.setdefault(entry.name, entry.uid)
    taken = set(uids.values())
    free = (uid for uid in count(FIRST_UID) if uid not in taken)
    for entry in entries:
        if entry.name not in uids:
            uids[entry.name] = next(free)
    return uids


def _plain_project(project: ProjectIn) -> ProjectIn:
    members = tuple(sorted(project.members, key=lambda member: member.person))
    datasets = tuple(sorted(project.datasets))
    return msgspec.structs.replace(project, members=members, datasets=datasets, policy=_plain_policy(project.policy))


def _plain_policy(policy: PolicyIn | None) -> PolicyIn | None:
    """Return the policy with its hours in order of the week, None for one that says nothing."""
    if policy is None or policy.schedule is None:
        return None if policy == PolicyIn() else policy
    order = list(Weekday)
    hours = tuple(
        msgspec.structs.replace(row, days=tuple(sorted(row.days, key=order.index))) for row in policy.schedule.hours
    )
    hours = tuple(sorted(hours, key=lambda row: (order.index(row.days[0]), row.start_at or row.stop_at, row.days)))
    return msgspec.structs.replace(policy, schedule=msgspec.structs.replace(policy.schedule, hours=hours))


def changes_between(before: ClusterState, after: ClusterState) -> tuple[ClusterChangeOut, ...]:
    """Return every difference, in order of the file's sections; keys are like `sizes.cpu.m.cores`."""
    old, new = _tree(before), _tree(after)
    changes: list[ClusterChangeOut] = []
    for key in [*old, *(key for key in new if key not in old)]:
        changes += _changes(key, old.get(key), new.get(key))
    return tuple(changes)


def _tree(state: ClusterState) -> dict[str, Any]:
    tree: dict[str, Any] = {"currency": None if state.currency == NO_CURRENCY else state.currency}
    for name in sorted(state.people):
        person = state.people[name]
        if person.is_active:
            tree[f"people.{name}"] = {
                "full_name": person.full_name,
                "uid": person.uid,
                "is_admin": person.is_admin,
                "keys": [key.line for key in person.keys],
            }
    for kind, path in _PATHS.items():
        for name in sorted(state.entries[kind]):
            document = msgspec.to_builtins(state.entries[kind][name])
            fields = {key: value for key, value in document.items() if key not in {"name", "place", "effective"}}
            for key in _UNSAID.get(kind, ()):
                if not fields[key]:
                    del fields[key]
            tree[path if kind in _ONLY_ONE else f"{path}.{name.replace('#', '.')}"] = fields
    return tree


def _changes(key: str, old: Any, new: Any) -> Iterator[ClusterChangeOut]:
    if old == new:
        return
    if _POLICY_KEY.fullmatch(key):
        old, new = old or {}, new or {}  # so that each of its lines is a change of its own, the first and the last too
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _changes(f"{key}.{name}", old.get(name), new.get(name))
        return
    verb = "add" if old is None else "remove" if new is None else "change"
    yield ClusterChangeOut(verb=verb, key=key, before=_text(old), after=_text(new))


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="deterministic").decode()
