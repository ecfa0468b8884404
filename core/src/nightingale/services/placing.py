"""Where launches go: what the cluster's places say, together with what this platform runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import Plan
from nightingale.domain.billing import cost_of
from nightingale.domain.catalog import Cluster, HourPrice, tier_of
from nightingale.domain.errors import RefusedError
from nightingale.domain.placement import Offer, Placement, Wish, choose, offers
from nightingale.ports.machines import Machines
from nightingale.services.cluster_places import NEVER
from nightingale.services.sandboxes import require_sandbox


def find_unready(cluster: Cluster, run: Mapping[str, Machines], tier: int) -> dict[str, RefusedError]:
    """Return the places in which nothing of this tier can be launched now, by name, and why."""
    unready: dict[str, RefusedError] = {}
    for place in cluster.places:
        machines = run.get(place)
        if machines is None:
            unready[place] = _not_run(cluster.places[place], [name for name in cluster.places if name in run])
            continue
        try:
            require_sandbox(machines, tier)
        except RefusedError as refusal:
            unready[place] = refusal
    return unready


def _not_run(place: s.PlaceIn, run: Collection[str]) -> RefusedError:
    words = f"this platform runs no instances in {place.name}"
    step = f"Places to use: {', '.join(run) or 'none'}."
    if place.region:
        words += f": it has no network in {place.region} of {place.kind}"
    if place.kind == NEVER:
        words = f"this platform runs no instances in {place.name}: no version of it runs any in {NEVER} yet"
    elif place.region and place.kind in {"aws", "azure"}:
        step += f" A network there is for the administrator to deploy: docs/how-to/deploy-to-{place.kind}.md."
    return RefusedError(ErrorCode.INVALID, words, step, details=(("place", words),))


def place_launch(cluster: Cluster, wish: Wish, body: s.LaunchIn, run: Mapping[str, Machines]) -> Placement:
    """Return where the launch goes. Raises RefusedError, as `placement.choose`."""
    unready = find_unready(cluster, run, tier_of(wish.mounts))
    return choose(cluster, wish, body.place, unready, is_elsewhere=body.elsewhere)


def estimate(
    cluster: Cluster, project: str, wanted: s.EstimateIn, at: datetime, run: Mapping[str, Machines]
) -> s.EstimateOut:
    """Return the price of what is wanted, and what each place of the project says to it, at today's rates.

    A place that is named is priced also where it cannot take it now: `places` says what keeps it from that. Raises
    RefusedError: `not_found` for the project, `invalid` for what is not there, and where `auto` or a kind finds none.
    """
    plan = cluster.project(project).plan
    mounts = cluster.mounts(project, wanted.datasets)
    wish = Wish(project, wanted.size, mounts, at, wanted.image, wanted.spot)
    unready = find_unready(cluster, run, tier_of(mounts))
    every = offers(cluster, wish, unready)
    place, why = wanted.place, ""
    if place not in cluster.places:
        chosen = choose(cluster, wish, place, unready, every=every)
        place, why = chosen.place, chosen.why
    price = cluster.price(place, wanted.size, at, is_spot=wanted.spot)
    total = cost_of(wanted.for_seconds, price.compute) + cost_of(wanted.for_seconds, price.disk)

    def money(amount: Decimal) -> s.Money:
        return s.Money(amount=amount, currency=cluster.currency)

    return s.EstimateOut(
        per_hour=money(price.total),
        compute_per_hour=money(price.compute),
        disk_per_hour=money(price.disk),
        list_price=money(total),
        billed=money(total if plan is Plan.PRIVATE else Decimal(0)),
        for_seconds=wanted.for_seconds,
        plan=plan,
        place=place,
        place_why=why,
        places=tuple(_present(cluster, offer) for offer in every),
        spot=wanted.spot,
        spot_words=_spot_words(cluster, place, wanted.size, at) if wanted.spot else "",
    )


def _spot_words(cluster: Cluster, place: str, size: s.Size, at: datetime) -> str:
    """Return what it costs on demand, and what is charged so because it has no spot rate."""
    spare, full = cluster.price(place, size, at, is_spot=True), cluster.price(place, size, at)
    missing = f"no spot rate for {', '.join(spare.on_demand)}: charged as on demand" if spare.on_demand else ""
    otherwise = f"on demand it is {full.total.normalize():f} {cluster.currency} an hour"
    return "; ".join(part for part in (missing, otherwise if spare.total != full.total else "") if part)


def _present(cluster: Cluster, offer: Offer) -> s.PlaceOfferOut:
    def money(price: HourPrice | None) -> s.Money | None:
        return None if price is None else s.Money(amount=price.total, currency=cluster.currency)

    return s.PlaceOfferOut(
        place=offer.place.name,
        kind=offer.place.kind,
        region=offer.place.region,
        per_hour=money(offer.price),
        refusal=offer.refusal.message if offer.refusal is not None else "",
        next_step=offer.refusal.next_step if offer.refusal is not None else "",
    )
