"""The catalogue: what can be launched, by whom, at what price."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from typing import Any

import msgspec

from nightingale.contract import schemas as s
from nightingale.domain.access import Access, Principal
from nightingale.domain.catalog import NO_GPU, Cluster, Person, Sizes
from nightingale.ports.clock import Clock
from nightingale.ports.machines import Machines
from nightingale.ports.store import Item, Store, StoreUnavailableError
from nightingale.services import records
from nightingale.services.placing import estimate

ENTRY_TYPES: dict[str, type[msgspec.Struct]] = {
    "PROJECT": s.ProjectIn,
    "CPU": s.CpuIn,
    "MEMORY": s.GibIn,
    "GPU": s.GpuIn,
    "DISK": s.GibIn,
    "IMAGE": s.ImageIn,
    "DATASET": s.DatasetIn,
    "PLACE": s.PlaceIn,
    "RATE": s.RateIn,
    "POLICY": s.PolicyIn,
    "PACKAGES": s.PackagesIn,
    "ALLOW": s.AllowIn,
    "LOGIN": s.LoginIn,
}
"""The kinds of the cluster's entries, as in `records.cluster_key`, and what lies there."""

NO_CURRENCY = "XXX"
"""ISO 4217's own code for none: a cluster before its first file."""

_PAGE = 500
_TRIES = 5


@dataclass(frozen=True)
class ClusterMeta:
    """The cluster's META item. While `is_applying`, the entries may be part old, part new."""

    revision: int = 0
    currency: str = NO_CURRENCY
    is_applying: bool = False


def read_meta(store: Store) -> tuple[ClusterMeta, int]:
    """Return META and its version (0 before the first apply)."""
    item = store.get(records.CLUSTER_META)
    return (ClusterMeta(), 0) if item is None else (records.decode(item, ClusterMeta), item.version)


def query_all(store: Store, partition: str, *, prefix: str = "", start: str = "", end: str = "") -> Iterator[Item]:
    """Yield every item of a partition's range, page by page. Raises StoreUnavailableError."""
    cursor = None
    while True:
        page = store.query(partition, prefix=prefix, start=start, end=end, limit=_PAGE, cursor=cursor)
        yield from page.items
        cursor = page.cursor
        if cursor is None:
            return


def index_all(store: Store, index: str, partition: str) -> Iterator[Item]:
    """Yield every item of an index partition, page by page; they may lag. Raises StoreUnavailableError."""
    cursor = None
    while True:
        page = store.query_index(index, partition, limit=_PAGE, cursor=cursor)
        yield from page.items
        cursor = page.cursor
        if cursor is None:
            return


def snapshot(entries: Mapping[str, Iterable[Any]], meta: ClusterMeta, version: int) -> Cluster:
    """Return the snapshot that entries by kind make."""
    return Cluster(
        revision=meta.revision,
        version=version,
        currency=meta.currency,
        projects=_by_name(entries["PROJECT"]),
        sizes=Sizes.of(entries["CPU"], entries["MEMORY"], entries["GPU"], entries["DISK"]),
        images=_by_name(entries["IMAGE"]),
        datasets=_by_name(entries["DATASET"]),
        places=_by_name(entries["PLACE"]),
        rates=tuple(sorted(entries["RATE"], key=lambda rate: (rate.place, rate.effective))),
        policy=next(iter(entries["POLICY"]), None),
        packages=next(iter(entries["PACKAGES"]), s.PackagesIn()),
        allowed=tuple(entries["ALLOW"]),
        login=next(iter(entries["LOGIN"]), s.LoginIn()),
    )


def _by_name(entries: Iterable[Any]) -> dict[str, Any]:
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


class CatalogService:
    """Reads the cluster. Its methods may be called from many threads."""

    def __init__(self, store: Store, machines: Mapping[str, Machines], clock: Clock) -> None:
        """Keep the ports; `machines` is by name of place."""
        self._store = store
        self._machines = machines
        self._clock = clock
        self._lock = threading.Lock()
        self._cached: Cluster | None = None

    def load(self) -> Cluster:
        """Return the cluster as last applied, with one cheap read while nothing has changed.

        While an apply is under way, or was cut short and not repeated, a reader keeps the snapshot it had; one that had
        none sees whole entries, some of them old. Raises StoreUnavailableError.
        """
        for _ in range(_TRIES):
            meta, version = read_meta(self._store)
            with self._lock:
                cached = self._cached
            if cached is not None and (cached.version == version or meta.is_applying):
                return cached
            found = self._read(meta, version)
            if read_meta(self._store)[1] != version:
                continue  # an apply began or ended in between: what was read may be of two minds
            if not meta.is_applying:
                self._keep(found)
            return found
        raise StoreUnavailableError("the cluster changed each time it was read; try again")

    def places(self) -> Mapping[str, s.PlaceIn]:
        """Return the places by name as they were last read here. Raises StoreUnavailableError when they never were."""
        with self._lock:
            held = self._cached
        return (held if held is not None else self.load()).places

    def _read(self, meta: ClusterMeta, version: int) -> Cluster:
        entries: dict[str, list[Any]] = {kind: [] for kind in ENTRY_TYPES}
        for item in query_all(self._store, records.CLUSTER):
            kind = item.key.sort.partition("#")[0]
            if kind in ENTRY_TYPES:
                entries[kind].append(records.decode(item, ENTRY_TYPES[kind]))
        return snapshot(entries, meta, version)

    def _keep(self, found: Cluster) -> None:
        with self._lock:
            if self._cached is None or self._cached.version < found.version:
                self._cached = found

    def find_person(self, name: str) -> Person | None:
        """Return the person, active or not, or None. Raises StoreUnavailableError."""
        item = self._store.get(records.person_key(name))
        return None if item is None else records.decode(item, Person)

    def person_by_fingerprint(self, fingerprint: str) -> Person | None:
        """Return the active person whose key has this fingerprint, or None. Raises StoreUnavailableError."""
        pointer = self._store.get(records.ssh_key_key(fingerprint))
        if pointer is None:
            return None
        person = self.find_person(pointer.document["person"])
        # The person's own record decides: a pointer alone, left by an apply cut short, opens nothing.
        if person is None or not person.is_active or fingerprint not in {key.fingerprint for key in person.keys}:
            return None
        return person

    def catalog(self, principal: Principal) -> s.CatalogOut:
        """Return sizes and images with today's prices, and the datasets of the person's projects (admins: all)."""
        cluster = self.load()
        today = self._clock.now().astimezone(UTC).date()
        mine = list(cluster.projects) if principal.is_admin else [name for name, _ in principal.roles]
        datasets = cluster.datasets if principal.is_admin else cluster.granted(mine)
        return s.CatalogOut(
            currency=cluster.currency,
            **_size_options(cluster, today),
            images=tuple(
                s.ImageOut(
                    name=image.name,
                    title=image.title,
                    places=cluster.image_places(image.name),
                )
                for image in cluster.images.values()
            ),
            datasets=tuple(
                s.DatasetOut(
                    name=dataset.name,
                    version=dataset.version,
                    title=dataset.title,
                    tier=dataset.tier,
                    projects=tuple(
                        name
                        for name in sorted(mine)
                        if name in cluster.projects and dataset.name in cluster.projects[name].datasets
                    ),
                )
                for dataset in datasets.values()
            ),
            places=tuple(
                s.PlaceOut(name=place.name, kind=place.kind, title=place.title, sandbox=self._sandbox(place.name))
                for place in cluster.places.values()
            ),
        )

    def _sandbox(self, place: str) -> str | None:
        machines = self._machines.get(place)
        return None if machines is None else machines.sandbox().name

    def estimate(self, access: Access, wanted: s.EstimateIn) -> s.EstimateOut:
        """Return the price of a size in a place, an hour and for the time asked, as `placing.estimate` does."""
        return estimate(self.load(), access.project, wanted, self._clock.now(), self._machines)


def _size_options(cluster: Cluster, today: date) -> dict[str, tuple[s.SizeOptionOut, ...]]:
    """Return the sizes of each resource with their prices an hour by place."""
    rates = {place: rate for place in cluster.places if (rate := cluster.rate(place, today)) is not None}

    def priced(prices: Mapping[str, Mapping[str, Decimal]], name: str) -> dict[str, Decimal]:
        return {place: of_place[name] for place, of_place in prices.items() if name in of_place}

    cpu = {place: rate.cpu for place, rate in rates.items()}
    memory = {place: rate.memory for place, rate in rates.items()}
    gpu = {place: {NO_GPU.name: Decimal(0), **rate.gpu} for place, rate in rates.items()}
    return {
        "cpu": tuple(
            s.SizeOptionOut(name=name, cores=size.cores, price_per_hour=priced(cpu, name))
            for name, size in cluster.sizes.cpu.items()
        ),
        "memory": tuple(
            s.SizeOptionOut(name=name, gib=size.gib, price_per_hour=priced(memory, name))
            for name, size in cluster.sizes.memory.items()
        ),
        "gpu": tuple(
            s.SizeOptionOut(name=name, count=size.count, model=size.model or None, price_per_hour=priced(gpu, name))
            for name, size in cluster.sizes.gpu.items()
        ),
        "disk": tuple(
            s.SizeOptionOut(
                name=name,
                gib=size.gib,
                price_per_hour={place: rate.disk_gib * size.gib for place, rate in rates.items()},
            )
            for name, size in cluster.sizes.disk.items()
        ),
    }
