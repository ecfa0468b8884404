"""Where an instance may run, and which place `auto` takes.

The rule, in this order:

    1. the project's places alone (all of the cluster's where it names none); an entry is a place's name or a kind
    2. where every dataset lies, the image is to be had, a machine type holds the size, the size has a price,
       the tier is allowed (gcp: 0 and 1), spare capacity is to be had where that was asked for, and the platform
       runs instances
    3. of these the one whose entry stands first in the project's list
    4. of equals (one kind, or no list) the cheapest an hour, compute and disk
    5. of equal price the first by name

A place asked for by its name is held to 1 and 2; one asked for by its kind is chosen as `auto` among that kind. The
places after the chosen one, in the same order, are those tried where it has no capacity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import PlaceIn, Size
from nightingale.domain.catalog import Cluster, HourPrice, tier_of
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Mount

AUTO = "auto"
"""Asks for the best place; no place may be named so."""

KINDS = ("local", "aws", "azure", "gcp")

MOST_TIER: Mapping[str, int] = {"local": 3, "aws": 3, "azure": 3, "gcp": 1}
"""The strictest tier that a kind of place may hold: Cloud Run lets nothing watch reads that a hostile reader cannot
avoid."""

_MOST_TOLD = 3


@dataclass(frozen=True)
class Wish:
    """What is to be launched, at which moment. Without an image, any will do."""

    project: str
    size: Size
    mounts: tuple[Mount, ...]
    at: datetime
    image: str | None = None
    is_spot: bool = False


@dataclass(frozen=True)
class Offer:
    """What one place says to a wish: its price (None: it cannot supply the size), and what speaks against it."""

    place: PlaceIn
    rank: int
    price: HourPrice | None
    refusal: RefusedError | None


@dataclass(frozen=True)
class Placement:
    """The place taken, why, and the places to try after it, in order."""

    place: str
    why: str
    elsewhere: tuple[str, ...]


def find_rank(cluster: Cluster, project: str, place: str) -> int | None:
    """Return how much the project prefers the place (0: most), None where its instances may not run there.

    Raises RefusedError `invalid` for a place that is not there, `not_found` for the project.
    """
    kind, allowed = cluster.place(place).kind, cluster.project(project).places
    if not allowed:
        return 0
    matching = (
        rank for rank, entry in enumerate(allowed) if entry == place or (entry == kind and entry not in cluster.places)
    )
    return next(matching, None)


def require_home(cluster: Cluster, project: str, place: str, mounts: Sequence[Mount]) -> None:
    """Refuse a place that the project may not use, or whose kind may not hold the tier, or where a dataset is not.

    Holds for every start, not for the launch alone. Raises RefusedError `invalid`.
    """
    if find_rank(cluster, project, place) is None:
        allowed = ", ".join(cluster.project(project).places)
        words = f"{project} may not run instances in {place}"
        step = f"Its places are: {allowed}. Launch there, or ask the administrator to add this one."
        raise RefusedError(ErrorCode.INVALID, words, step, details=(("place", words),))
    kind, tier = cluster.place(place).kind, tier_of(mounts)
    if tier > MOST_TIER[kind]:
        words = f"{place} ({kind}) holds data up to tier {MOST_TIER[kind]}, this is tier {tier}"
        step = "Launch in another kind of place, or with datasets of a lower tier."
        raise RefusedError(ErrorCode.INVALID, words, step, details=(("place", words),))
    for mount in mounts:
        cluster.dataset_source(mount.dataset, place)


def offers(cluster: Cluster, wish: Wish, unready: Mapping[str, RefusedError]) -> tuple[Offer, ...]:
    """Return what every place of the project says, in the order of the rule; those that refuse after all others.

    `unready` are the places, by name, in which the platform cannot launch this now, and why.
    """
    found = [
        _offer(cluster, wish, place, rank, unready.get(name))
        for name, place in cluster.places.items()
        if (rank := find_rank(cluster, wish.project, name)) is not None
    ]
    return tuple(sorted(found, key=_order))


def choose(
    cluster: Cluster,
    wish: Wish,
    wanted: str,
    unready: Mapping[str, RefusedError],
    *,
    is_elsewhere: bool = False,
    every: Sequence[Offer] | None = None,
) -> Placement:
    """Return where to launch: `wanted` is a place's name, a kind, or `auto`.

    `is_elsewhere` asks for places to try after it; with `auto` they are there always. `every` are the offers, where
    they were made before. Raises RefusedError: of the one place that was asked for, or `invalid` with what each said.
    """
    if wanted in cluster.places:
        price = cluster.price(wanted, wish.size, wish.at, is_spot=wish.is_spot)
        _require(cluster, wish, wanted, unready.get(wanted))
        why = f"asked for by name ({price.total.normalize():f} {cluster.currency} an hour)"
        others = _others(offers(cluster, wish, unready) if every is None else every, wanted) if is_elsewhere else ()
        return Placement(wanted, why, others)
    if wanted != AUTO and wanted not in KINDS:
        cluster.place(wanted)  # raises, with what there is
    every = offers(cluster, wish, unready) if every is None else every
    fitting = [offer for offer in every if wanted in {AUTO, offer.place.kind}]
    possible = [offer for offer in fitting if offer.refusal is None]
    if not possible:
        raise _nowhere(wish, wanted, fitting)
    why = _why(cluster, wish, wanted, fitting)
    taken = possible[0].place.name
    others = _others(every, taken, first=wanted) if is_elsewhere or wanted == AUTO else ()
    return Placement(taken, why, others)


def _offer(cluster: Cluster, wish: Wish, place: PlaceIn, rank: int, unready: RefusedError | None) -> Offer:
    price: HourPrice | None = None
    try:
        price = cluster.price(place.name, wish.size, wish.at, is_spot=wish.is_spot)
        _require(cluster, wish, place.name, unready)
    except RefusedError as refusal:
        return Offer(place, rank, price, refusal)
    return Offer(place, rank, price, None)


def _require(cluster: Cluster, wish: Wish, place: str, unready: RefusedError | None) -> None:
    """Refuse the place for anything but its price."""
    if wish.image is not None:
        cluster.image(wish.image, place)
    elif not any(place in cluster.image_places(image) for image in cluster.images):
        raise RefusedError(ErrorCode.INVALID, f"no image is to be had in {place}", "Choose another place.")
    require_home(cluster, wish.project, place, wish.mounts)
    if wish.is_spot:
        cluster.require_spot(place)
    cluster.machine(place, wish.size, is_spot=wish.is_spot)
    if unready is not None:
        raise unready


def _order(offer: Offer) -> tuple[object, ...]:
    no_price = offer.price is None
    amount = 0 if offer.price is None else offer.price.total
    return (offer.refusal is not None, offer.rank, no_price, amount, offer.place.name)


def _others(every: Sequence[Offer], taken: str, first: str = "") -> tuple[str, ...]:
    """Return the other places that can take it; those of the kind `first` before the others."""
    possible = [offer.place for offer in every if offer.refusal is None]
    rest = [place for place in possible if place.name != taken]
    return tuple(place.name for place in sorted(rest, key=lambda place: place.kind != first))


def _nowhere(wish: Wish, wanted: str, asked: Sequence[Offer]) -> RefusedError:
    refusals = [(offer.place.name, offer.refusal) for offer in asked if offer.refusal is not None]
    if len(refusals) == 1:
        return refusals[0][1]
    of_kind = "" if wanted == AUTO else f" of kind {wanted}"
    said = "; ".join(f"{place}: {refusal.message}" for place, refusal in refusals[:_MOST_TOLD])
    words = f"no place{of_kind} of {wish.project} can take this" + (f" ({said})" if said else ": it has none")
    details = (("place", words), *(("place", f"{place}: {refusal.message}") for place, refusal in refusals))
    step = "Choose another size, image or datasets, or ask the administrator for a place that has them."
    return RefusedError(ErrorCode.INVALID, words, step, details=details)


def _why(cluster: Cluster, wish: Wish, wanted: str, asked: Sequence[Offer]) -> str:
    """Return why the first of these was taken, and what kept out the others that refuse."""
    taken, *rest = asked
    alike = [offer for offer in rest if offer.refusal is None and offer.rank == taken.rank]
    is_ordered = bool(cluster.project(wish.project).places)
    order = f"the first of {wish.project}'s places that can take it" if is_ordered else "it can take it"
    cheapest = f", the cheapest of {len(alike) + 1} alike" if alike else ""
    amount = f"{taken.price.total.normalize():f} {cluster.currency} an hour" if taken.price is not None else ""
    kept_out = [offer for offer in rest if offer.refusal is not None]
    told = [f"not {offer.place.name}: {offer.refusal.message}" for offer in kept_out[:_MOST_TOLD] if offer.refusal]
    more = [f"nor {len(kept_out) - _MOST_TOLD} more"] if len(kept_out) > _MOST_TOLD else []
    return "; ".join([f"{wanted}: {order}{cheapest} ({amount})", *told, *more])
