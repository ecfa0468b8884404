"""Rates as values that can be compared: prices in order of the sizes, amounts in one way of writing them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

import msgspec

from nightingale.contract.schemas import RateIn, SizesIn, SpotRateIn

Prices = TypeVar("Prices", RateIn, SpotRateIn)


def in_order(rate: RateIn, sizes: SizesIn) -> RateIn:
    """Return the rate with its prices in order of the sizes."""
    spare = _prices_in_order(rate.spot, sizes) if rate.spot is not None else None
    return msgspec.structs.replace(_prices_in_order(rate, sizes), spot=spare)


def _prices_in_order(rate: Prices, sizes: SizesIn) -> Prices:
    prices = {}
    for resource in ("cpu", "memory", "gpu"):
        rank = {entry.name: position for position, entry in enumerate(getattr(sizes, resource))}
        priced: Mapping[str, Decimal] = getattr(rate, resource)
        prices[resource] = {name: priced[name] for name in sorted(priced, key=lambda name: (rank.get(name, -1), name))}
    return msgspec.structs.replace(rate, **prices)


def plain_rate(rate: RateIn) -> RateIn:
    """Return the rate with plain amounts, and without spot prices that are none."""
    spare = None if rate.spot is None or rate.spot == SpotRateIn() else _plain_prices(rate.spot)
    return msgspec.structs.replace(_plain_prices(rate), disk_gib=_plain(rate.disk_gib), spot=spare)


def _plain_prices(rate: Prices) -> Prices:
    prices = {
        resource: {name: _plain(amount) for name, amount in getattr(rate, resource).items()}
        for resource in ("cpu", "memory", "gpu")
    }
    return msgspec.structs.replace(rate, **prices)


def _plain(amount: Decimal) -> Decimal:
    """Return the amount without exponent and trailing zeros: `0.50` and `5E-1` are both `0.5`."""
    return Decimal(f"{amount.normalize():f}") if amount else Decimal(0)
