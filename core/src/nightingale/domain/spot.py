"""Spare capacity ("spot"): cheaper, and the cloud may take it back at any time, with two minutes' notice at best.

What an instance asked for, and how often the platform has launched it again. `domain.relaunch` says when it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from nightingale.contract.schemas import RateIn, Size
from nightingale.contract.vocabulary import Action, ReasonCode, Status

if TYPE_CHECKING:
    from nightingale.domain.instance import Instance

KINDS = frozenset({"aws", "azure"})
"""Kinds of place that have it: a machine of one's own has none, nor has Cloud Run."""

MOST = 5
WITHIN = timedelta(hours=24)
"""An instance is launched again by itself at most so often within so long."""

WAITS = tuple(timedelta(seconds=seconds) for seconds in (15, 60, 300, 900, 1800))
"""How long to wait before the first of these relaunches, the second, and so on."""


@dataclass(frozen=True)
class Spot:
    """Of one instance. Whether it runs on spare capacity is said at its launch and holds for its life."""

    is_spot: bool = False
    is_relaunched: bool = False
    """Its person asked to have it launched again when it is taken back."""
    relaunched_at: tuple[datetime, ...] = ()
    """When the platform last did, those of `WITHIN` alone."""
    is_relaunching: bool = False
    """Such a relaunch is under way, or failed: it has not run since."""

    def relaunched(self, at: datetime) -> Spot:
        """Return it with one relaunch more."""
        return replace(self, relaunched_at=(*self._since(at), at), is_relaunching=True)

    def settled(self) -> Spot:
        """Return it with no relaunch under way."""
        return replace(self, is_relaunching=False) if self.is_relaunching else self

    def count(self, at: datetime) -> int:
        """Return how many relaunches there were within `WITHIN` before `at`."""
        return len(self._since(at))

    def _since(self, at: datetime) -> tuple[datetime, ...]:
        return tuple(one for one in self.relaunched_at if at - one < WITHIN)


def asks_for_relaunch(instance: Instance) -> bool:
    """Return whether it failed of what its person asked to have it launched again for.

    That is: the cloud took it back, or had nothing to give when it was to be launched again.
    """
    if instance.status is not Status.FAILED or not instance.spot.is_relaunched or instance.reason is None:
        return False
    if instance.action in {Action.STOP, Action.DELETE}:
        return False
    is_waiting = instance.reason.code is ReasonCode.NO_CAPACITY and instance.spot.is_relaunching
    return is_waiting or instance.reason.code is ReasonCode.INTERRUPTED


def prices(rate: RateIn, size: Size) -> dict[str, Decimal]:
    """Return the spot prices an hour that a rate has for a size, by resource."""
    if rate.spot is None:
        return {}
    found = {
        "cpu": rate.spot.cpu.get(size.cpu),
        "memory": rate.spot.memory.get(size.memory),
        "gpu": rate.spot.gpu.get(size.gpu),
    }
    return {name: amount for name, amount in found.items() if amount is not None}


ON_DEMAND = Spot()
"""An instance on machines that are nobody else's to take back."""
