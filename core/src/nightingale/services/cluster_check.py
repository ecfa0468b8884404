"""What can be wrong with a cluster file beyond its types: doubles, dangling names, keys, uids, prices, folders.

Mistakes are (path, words) pairs; a path is like `projects[0].members[1].person`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

from nightingale.contract.schemas import (
    ClusterIn,
    HoneypotsIn,
    ImageIn,
    PersonIn,
    PolicyIn,
    ProjectIn,
    RateIn,
    ScheduleIn,
    SpotRateIn,
)
from nightingale.domain import spot
from nightingale.domain.catalog import NO_GPU, Person
from nightingale.domain.policy import schedule_of
from nightingale.domain.schedule import overlaps, zone_of
from nightingale.ports.signatures import SignatureError, SignatureVerifier
from nightingale.services.cluster_alerts import alert_mistakes
from nightingale.services.cluster_packages import package_mistakes
from nightingale.services.cluster_places import place_mistakes

Mistake = tuple[str, str]

RESERVED = frozenset({"operator", "gateway", "index", "platform", "root", "unknown"})
"""Names that the record gives to what is no person: someone of that name could not be told apart from it."""

_MOST_DECIMALS = 10
_SHORTEST_SECONDS = 60
_MOST_AMOUNT = Decimal(1_000_000)
"""A price an hour above this is a slip of the hand in any currency."""


def find_mistakes(cluster: ClusterIn, signatures: SignatureVerifier, people: Mapping[str, Person]) -> list[Mistake]:
    """Return every mistake of the file, in its order. `people` are those the cluster has had so far, by name."""
    return [
        *_person_mistakes(cluster.people, signatures, people),
        *_project_mistakes(cluster),
        *_size_mistakes(cluster),
        *_doubles("images", cluster.images),
        *_image_mistakes(cluster.images),
        *_doubles("places", cluster.places),
        *place_mistakes(cluster),
        *_rate_mistakes(cluster),
        *_dataset_mistakes(cluster),
        *_policy_mistakes("policy", cluster.policy),
        *package_mistakes(cluster),
        *alert_mistakes(cluster),
    ]


def _doubles(path: str, entries: Iterable[Any]) -> Iterator[Mistake]:
    first: dict[str, int] = {}
    for position, entry in enumerate(entries):
        if entry.name in first:
            yield f"{path}[{position}].name", f"{entry.name} is there already: {path}[{first[entry.name]}]"
        first.setdefault(entry.name, position)


def _image_mistakes(entries: tuple[ImageIn, ...]) -> Iterator[Mistake]:
    for position, entry in enumerate(entries):
        if entry.container is not None and entry.local is None:
            yield f"images[{position}].local", "it is needed beside a container: for where there is no podman"


def _person_mistakes(
    entries: tuple[PersonIn, ...], signatures: SignatureVerifier, people: Mapping[str, Person]
) -> Iterator[Mistake]:
    yield from _doubles("people", entries)
    owners: dict[str, str] = {}
    uids = {person.uid: person.name for person in people.values()}
    for position, entry in enumerate(entries):
        if entry.name in RESERVED:
            yield f"people[{position}].name", f"{entry.name} is the platform's own name in its records: take another"
        for number, line in enumerate(entry.keys):
            path = f"people[{position}].keys[{number}]"
            try:
                fingerprint = signatures.fingerprint_of(line)
            except SignatureError as error:
                yield path, f"this is no public key to log in with: {error}"
                continue
            if fingerprint in owners:
                yield path, f"this key is there already: {owners[fingerprint]}"
            owners.setdefault(fingerprint, path)
        if entry.uid is None:
            continue
        path = f"people[{position}].uid"
        known = people.get(entry.name)
        if known is not None and known.uid != entry.uid:
            yield path, f"{entry.name} has uid {known.uid}, and a person's uid never changes: files belong to it"
        elif uids.get(entry.uid, entry.name) != entry.name:
            yield path, f"uid {entry.uid} belongs to {uids[entry.uid]} and is never given to another person"
        uids.setdefault(entry.uid, entry.name)


def _project_mistakes(cluster: ClusterIn) -> Iterator[Mistake]:
    yield from _doubles("projects", cluster.projects)
    people = {entry.name for entry in cluster.people}
    datasets = {entry.name for entry in cluster.datasets}
    for position, project in enumerate(cluster.projects):
        path = f"projects[{position}]"
        yield from _member_mistakes(path, project, people)
        yield from _policy_mistakes(f"{path}.policy", project.policy)
        for number, name in enumerate(project.datasets):
            if name not in datasets:
                yield f"{path}.datasets[{number}]", f"there is no dataset {name} in this file"
            elif name in project.datasets[:number]:
                yield f"{path}.datasets[{number}]", f"dataset {name} is there already"


def _member_mistakes(path: str, project: ProjectIn, people: set[str]) -> Iterator[Mistake]:
    seen: set[str] = set()
    for number, member in enumerate(project.members):
        where = f"{path}.members[{number}].person"
        if member.person not in people:
            yield where, f"there is no person {member.person} in this file"
        elif member.person in seen:
            yield where, f"{member.person} is a member already: one role per project"
        seen.add(member.person)


def _policy_mistakes(path: str, policy: PolicyIn | None) -> Iterator[Mistake]:
    if policy is None:
        return
    for name in ("idle_stop_after", "max_lifetime"):
        if 0 < (getattr(policy, name) or 0) < _SHORTEST_SECONDS:
            yield f"{path}.{name}", f"at least {_SHORTEST_SECONDS} seconds, or 0 for none"
    if policy.schedule is not None:
        yield from _schedule_mistakes(f"{path}.schedule", policy.schedule)


def _schedule_mistakes(path: str, schedule: ScheduleIn) -> Iterator[Mistake]:
    try:
        zone_of(schedule.time_zone)
    except LookupError:
        yield f"{path}.time_zone", f"there is no time zone {schedule.time_zone}: use an IANA name like Europe/Berlin"
    doubles = [at for at, row in enumerate(schedule.hours) if len(set(row.days)) < len(row.days)]
    yield from ((f"{path}.hours[{at}].days", "name each day once") for at in doubles)
    if not doubles and overlaps(schedule_of(schedule).hours):
        yield f"{path}.hours", "these hours overlap: one row begins or ends inside another"
    if schedule.is_strict and schedule.hours and all(row.start_at is None for row in schedule.hours):
        yield f"{path}.is_strict", "no row has start_at, so nothing could ever be up: strict hours need some"


def _size_mistakes(cluster: ClusterIn) -> Iterator[Mistake]:
    sizes = cluster.sizes
    resources: dict[str, Sequence[Any]] = {
        "cpu": sizes.cpu,
        "memory": sizes.memory,
        "gpu": sizes.gpu,
        "disk": sizes.disk,
    }
    for resource, entries in resources.items():
        yield from _doubles(f"sizes.{resource}", entries)
        if resource == "disk":
            continue  # priced by GiB: every rate prices every disk
        priced = {name for rate in cluster.rates for name in getattr(rate, resource)}
        for position, entry in enumerate(entries):
            if entry.name not in priced and not (resource == "gpu" and entry.name == NO_GPU.name):
                path = f"sizes.{resource}[{position}]"
                yield path, f"no rate of any place prices {resource} size {entry.name}, so nobody could launch it"
    for position, gpu in enumerate(sizes.gpu):
        if (gpu.name == NO_GPU.name) != (gpu.count == 0):
            yield f"sizes.gpu[{position}].count", "the size without a gpu is called none, and only that one has count 0"


def _rate_mistakes(cluster: ClusterIn) -> Iterator[Mistake]:
    places = {entry.name: entry.kind for entry in cluster.places}
    sizes = {
        "cpu": {entry.name for entry in cluster.sizes.cpu},
        "memory": {entry.name for entry in cluster.sizes.memory},
        "gpu": {NO_GPU.name, *(entry.name for entry in cluster.sizes.gpu)},
    }
    seen: set[tuple[str, str]] = set()
    for position, rate in enumerate(cluster.rates):
        path = f"rates[{position}]"
        if rate.place not in places:
            yield f"{path}.place", f"there is no place {rate.place} in this file"
        day = (rate.place, rate.effective.isoformat())
        if day in seen:
            yield f"{path}.effective", f"{rate.place} has a rate from {day[1]} on already"
        seen.add(day)
        yield from _amount_mistakes(path, rate, sizes)
        if words := _wrong(rate.disk_gib):
            yield f"{path}.disk_gib", words
        if rate.spot is None:
            continue
        yield from _amount_mistakes(f"{path}.spot", rate.spot, sizes)
        if rate.place in places and places[rate.place] not in spot.KINDS:
            yield (
                f"{path}.spot",
                f"{rate.place} has no spot machines: only places of {', '.join(sorted(spot.KINDS))} have",
            )


def _amount_mistakes(path: str, rate: RateIn | SpotRateIn, sizes: Mapping[str, set[str]]) -> Iterator[Mistake]:
    for resource, known in sizes.items():
        for name, amount in getattr(rate, resource).items():
            if name not in known:
                yield f"{path}.{resource}.{name}", f"there is no {resource} size {name} in this file"
            if words := _wrong(amount):
                yield f"{path}.{resource}.{name}", words


def _wrong(amount: Decimal) -> str:
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or amount < 0 or amount > _MOST_AMOUNT:
        return f"a price an hour is a number from 0 to {_MOST_AMOUNT}"
    return f"a price has at most {_MOST_DECIMALS} decimals" if exponent < -_MOST_DECIMALS else ""


def _dataset_mistakes(cluster: ClusterIn) -> Iterator[Mistake]:
    yield from _doubles("datasets", cluster.datasets)
    for position, dataset in enumerate(cluster.datasets):
        yield from _honeypot_mistakes(f"datasets[{position}].honeypots", dataset.honeypots)
        if dataset.local is None:
            continue
        folder = PurePosixPath(dataset.local)
        if not folder.is_absolute() or ".." in folder.parts or "\0" in dataset.local:
            yield f"datasets[{position}].local", "a dataset's folder is an absolute path without .."


def _honeypot_mistakes(path: str, honeypots: HoneypotsIn) -> Iterator[Mistake]:
    for number, name in enumerate(honeypots.paths):
        where = f"{path}.paths[{number}]"
        parts = name.split("/")
        if any(part in {"", ".", ".."} for part in parts) or not name.isprintable():
            yield where, "a decoy's path is inside its dataset, as a/b/c: without a slash at either end, . or .."
        elif set(name) & set("*?[]"):
            yield where, "wildcards mean nothing here: name each file, or the folder that holds nothing but decoys"
        elif name in honeypots.paths[:number]:
            yield where, f"{name} is there already"
    for number, key in enumerate(honeypots.keys):
        if key in honeypots.keys[:number]:
            yield f"{path}.keys[{number}]", f"{key} is there already"
