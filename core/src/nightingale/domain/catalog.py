"""The cluster as it stands: people, projects, sizes, images, datasets, places, rates, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeVar

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import (
    AllowIn,
    CpuIn,
    DatasetIn,
    FindingsIn,
    GibIn,
    GpuIn,
    ImageIn,
    LoginIn,
    NotificationIn,
    PackagesIn,
    PlaceIn,
    PolicyIn,
    ProjectIn,
    RateIn,
    Size,
)
from nightingale.contract.vocabulary import Role
from nightingale.domain import spot
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Mount

T = TypeVar("T")

NO_GPU = GpuIn(name="none", count=0)
"""Every cluster has it, at no price, whether its file names it or not."""

RESOURCES = ("cpu", "memory", "gpu", "disk")
_SEE_CATALOG = "nightingale sizes lists what there is."


@dataclass(frozen=True)
class PersonKey:
    """One SSH public key of a person, as its OpenSSH line."""

    fingerprint: str
    line: str


@dataclass(frozen=True)
class Person:
    """A person of the cluster. One who left the file is inactive: nobody's record is ever deleted."""

    name: str
    full_name: str
    uid: int
    is_admin: bool
    is_active: bool
    roles: tuple[tuple[str, Role], ...] = ()
    """(project, role) of each membership, in order of project."""
    keys: tuple[PersonKey, ...] = ()


@dataclass(frozen=True)
class HourPrice:
    """Prices of one size in one place, an hour, in the cluster's currency."""

    compute: Decimal
    disk: Decimal
    disk_per_gib: Decimal
    on_demand: tuple[str, ...] = ()
    """With spot: what costs something and has no spot rate, and so is charged as on demand."""

    @property
    def total(self) -> Decimal:
        """Return compute and disk together."""
        return self.compute + self.disk


@dataclass(frozen=True)
class Sizes:
    """The t-shirt sizes of each resource, by name."""

    cpu: Mapping[str, CpuIn]
    memory: Mapping[str, GibIn]
    gpu: Mapping[str, GpuIn]
    disk: Mapping[str, GibIn]

    @staticmethod
    def of(cpu: Iterable[CpuIn], memory: Iterable[GibIn], gpu: Iterable[GpuIn], disk: Iterable[GibIn]) -> Sizes:
        """Return them by name, smallest first, with the gpu size `none`."""
        return Sizes(
            cpu={size.name: size for size in sorted(cpu, key=lambda size: (size.cores, size.name))},
            memory={size.name: size for size in sorted(memory, key=lambda size: (size.gib, size.name))},
            gpu={
                NO_GPU.name: NO_GPU,
                **{size.name: size for size in sorted(gpu, key=lambda size: (size.count, size.model, size.name))},
            },
            disk={size.name: size for size in sorted(disk, key=lambda size: (size.gib, size.name))},
        )


@dataclass(frozen=True)
class Cluster:
    """One immutable snapshot of everything the cluster file defines but its people.

    `version` is the store's version of the cluster's META item: a write that leans on this snapshot can check it.
    """

    revision: int
    version: int
    currency: str
    projects: Mapping[str, ProjectIn]
    sizes: Sizes
    images: Mapping[str, ImageIn]
    datasets: Mapping[str, DatasetIn]
    places: Mapping[str, PlaceIn]
    rates: Sequence[RateIn]
    policy: PolicyIn | None = None
    """For every project that does not say otherwise; `domain.policy` says what holds in one."""
    packages: PackagesIn = PackagesIn()  # noqa: RUF009 - frozen, as the snapshot is
    """Where packages come from; its own list is empty, `allowed` is what it holds."""
    allowed: tuple[AllowIn, ...] = ()
    login: LoginIn = LoginIn()  # noqa: RUF009 - frozen, as the snapshot is
    """What a login must be for what it is used for."""
    findings: FindingsIn = FindingsIn()  # noqa: RUF009 - frozen, as the snapshot is
    notifications: tuple[NotificationIn, ...] = ()

    def project(self, name: str) -> ProjectIn:
        """Return the project. Raises RefusedError `not_found`."""
        try:
            return self.projects[name]
        except KeyError:
            raise RefusedError(ErrorCode.NOT_FOUND, f"there is no project {name}", "Check its name.") from None

    def rate(self, place: str, on: date) -> RateIn | None:
        """Return the rate in force in a place on a day (UTC): the one with the latest effective date up to it."""
        in_force = [rate for rate in self.rates if rate.place == place and rate.effective <= on]
        return max(in_force, key=lambda rate: rate.effective, default=None)

    def price(self, place: str, size: Size, at: datetime, *, is_spot: bool = False) -> HourPrice:
        """Return the prices an hour of this size in this place on the day of `at` (UTC).

        With `is_spot` on spare capacity: what has no spot rate costs what it does on demand. Raises RefusedError
        `invalid`, naming what there is, for a place without a rate or a size it cannot supply.
        """
        self.place(place)
        rate = self.rate(place, at.astimezone(UTC).date())
        if rate is None:
            known = sorted({rate.place for rate in self.rates})
            raise _unknown("place", f"{place} has no prices on {at.astimezone(UTC):%Y-%m-%d}", known)
        amounts = {
            "cpu": _amount("cpu", size.cpu, self.sizes.cpu, rate.cpu, place),
            "memory": _amount("memory", size.memory, self.sizes.memory, rate.memory, place),
            "gpu": _amount("gpu", size.gpu, self.sizes.gpu, {NO_GPU.name: Decimal(0), **rate.gpu}, place),
        }
        spare = spot.prices(rate, size) if is_spot else {}
        return HourPrice(
            compute=sum({**amounts, **spare}.values(), Decimal(0)),
            disk=rate.disk_gib * self.disk_gib(size),
            disk_per_gib=rate.disk_gib,
            on_demand=tuple(name for name, amount in amounts.items() if is_spot and amount and name not in spare),
        )

    def mounts(self, project: str, names: Sequence[str]) -> tuple[Mount, ...]:
        """Return what an instance of the project mounts. Raises RefusedError `invalid` (unknown, not granted, twice).

        An unknown dataset and one not granted are told apart to nobody: the catalogue is no list of what exists.
        """
        granted = self.granted([project])
        mounts: list[Mount] = []
        for position, name in enumerate(names):
            path = f"datasets[{position}]"
            if name in names[:position]:
                words = f"dataset {name} is asked for twice"
                raise RefusedError(ErrorCode.INVALID, words, "Name each dataset once.", details=((path, words),))
            if name not in granted:
                raise _unknown(path, f"{project} has no dataset {name}", list(granted))
            dataset = granted[name]
            mounts.append(Mount(name, dataset.version, dataset.tier))
        return tuple(mounts)

    def granted(self, projects: Iterable[str]) -> dict[str, DatasetIn]:
        """Return the datasets that at least one of these projects may mount, in order of name."""
        names = {name for project in projects if project in self.projects for name in self.projects[project].datasets}
        return {name: self.datasets[name] for name in sorted(names) if name in self.datasets}

    def place(self, name: str) -> PlaceIn:
        """Return the place. Raises RefusedError `invalid`."""
        if name not in self.places:
            raise _unknown("place", f"there is no place {name}", list(self.places))
        return self.places[name]

    def image(self, name: str, place: str) -> str:
        """Return what the image is called in a place. Raises RefusedError `invalid`."""
        if name not in self.images:
            raise _unknown("image", f"there is no image {name}", list(self.images))
        source = self._image_source(name, place)
        if source is None:
            known = [image for image in self.images if self._image_source(image, place) is not None]
            raise _unknown("image", f"image {name} is not to be had in {place}", known)
        return source

    def _image_source(self, name: str, place: str) -> str | None:
        image = self.images[name]
        return image.sources.get(place) or (image.local if self.place(place).kind == "local" else None)

    def image_places(self, name: str) -> tuple[str, ...]:
        """Return the places where the image is to be had, in order of name."""
        return tuple(place for place in self.places if self._image_source(name, place) is not None)

    def container(self, name: str, place: str) -> str | None:
        """Return the container image to take where it can be, for an image that is to be had in such places."""
        return self.images[name].container if self.place(place).kind == "local" else None

    def dataset_source(self, name: str, place: str) -> str:
        """Return where the dataset lies in a place (local: a folder). Raises RefusedError `invalid`."""
        dataset = self.datasets.get(name)
        source = self._dataset_source(dataset, place) if dataset is not None else None
        if source is None:
            words = f"dataset {name} does not lie in {place}"
            there = ", ".join(self.dataset_places(name)) or "in no place"
            step = f"It lies in: {there}. Launch there (--place), or ask the administrator to have it brought here."
            raise RefusedError(ErrorCode.INVALID, words, step, details=(("datasets", words),))
        return source

    def _dataset_source(self, dataset: DatasetIn, place: str) -> str | None:
        return dataset.sources.get(place) or (dataset.local if self.place(place).kind == "local" else None)

    def dataset_places(self, name: str) -> tuple[str, ...]:
        """Return the places where the dataset lies, in order of name."""
        dataset = self.datasets.get(name)
        return tuple(place for place in self.places if dataset is not None and self._dataset_source(dataset, place))

    def disk_gib(self, size: Size) -> int:
        """Return the GiB of the size's disk. Raises RefusedError `invalid`."""
        return _option("disk", size.disk, self.sizes.disk).gib

    def require_spot(self, name: str) -> None:
        """Refuse a place that has no spare capacity to be had. Raises RefusedError `invalid`."""
        kind = self.place(name).kind
        if kind not in spot.KINDS:
            words = f"{name} ({kind}) has no spot machines"
            having = ", ".join(place for place, found in self.places.items() if found.kind in spot.KINDS) or "none"
            step = f"Launch without spot, or in a place that has it: {having}."
            raise RefusedError(ErrorCode.INVALID, words, step, details=(("spot", words),))

    def machine(self, place: str, size: Size, *, is_spot: bool = False) -> str:
        """Return the machine type of a size in a place: `c{cores}-m{memory MiB}-g{gpu count}` in a local one.

        In a cloud it is the first of the place's machine types that holds the size (`is_spot`: and is to be had on
        spare capacity). Raises RefusedError `invalid` for
        an unknown size or place, or where no machine type holds the size.
        """
        found = self.place(place)
        cores = _option("cpu", size.cpu, self.sizes.cpu).cores
        gib = _option("memory", size.memory, self.sizes.memory).gib
        count = _option("gpu", size.gpu, self.sizes.gpu).count
        if found.kind == "local":
            return f"c{cores}-m{gib * 1024}-g{count}"
        for machine in found.machines:
            is_had = machine.spot or not is_spot
            if is_had and machine.cores >= cores and machine.gib >= gib and machine.gpu == size.gpu:
                return machine.type
        words = (
            f"no {'spot ' if is_spot else ''}machine type of {place} holds {cores} cores, {gib} GiB and gpu {size.gpu}"
        )
        raise RefusedError(
            ErrorCode.INVALID,
            words,
            f"Choose a smaller size or another place{', or launch without spot' if is_spot else ''}.",
            details=(("place", words),),
        )


def tier_of(mounts: Iterable[Mount]) -> int:
    """Return the tier of an instance: the strictest of what it mounts, 0 when that is nothing."""
    return max((mount.tier for mount in mounts), default=0)


def _amount(
    resource: str, name: str, sizes: Mapping[str, CpuIn | GibIn | GpuIn], prices: Mapping[str, Decimal], place: str
) -> Decimal:
    _option(resource, name, sizes)
    if name not in prices:
        known = [size for size in sizes if size in prices]
        raise _unknown(f"size.{resource}", f"{place} cannot supply {resource} size {name}", known)
    return prices[name]


def _option(resource: str, name: str, sizes: Mapping[str, T]) -> T:
    if name not in sizes:
        raise _unknown(f"size.{resource}", f"there is no {resource} size {name}", list(sizes))
    return sizes[name]


def _unknown(path: str, words: str, known: Sequence[str]) -> RefusedError:
    there_is = ", ".join(known) or "none"
    return RefusedError(ErrorCode.INVALID, f"{words}; there is: {there_is}", _SEE_CATALOG, details=((path, words),))
