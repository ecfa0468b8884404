"""What the check asks of the bill: that the usage records of its instances are their history, counted by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from nightingale.contract.schemas import HistoryEntryOut
from nightingale_local.measures import require, seconds_by_hand
from nightingale_tui.api.client import Api

_BILL_SECONDS = 30.0


def bill_of(api: Api, project: str, instance_ids: Iterable[str]) -> dict[str, Any]:
    """Return the figures of the report once the records agree with the history. Raises CheckFailedError.

    The instances are all that the project has, and have ended.
    """
    by_hand = {one: seconds_by_hand(history_of(api, project, one)) for one in instance_ids}
    until = time.monotonic() + _BILL_SECONDS
    while True:
        records = [one for one in api.list_usage_records(project).records if one.kind == "compute"]
        used = {key: sum(one.quantity for one in records if one.instance_id == key) for key in by_hand}
        if used == by_hand or time.monotonic() > until:
            break
        time.sleep(0.1)
    usage = api.get_usage(project)
    require(used == by_hand, f"usage records hold {used} s, the history {by_hand} s")
    total = sum(used.values())
    require(usage.total.compute_seconds == total, f"the month says {usage.total.compute_seconds} s, not {total} s")
    require(Decimal(str(usage.total.list_cost)) > 0, "the bill is empty")
    return {
        "usage_seconds": total,
        "history_seconds": sum(by_hand.values()),
        "cost": str(usage.total.list_cost),
        "currency": usage.currency,
    }


def history_of(api: Api, project: str, name: str) -> list[HistoryEntryOut]:
    """Return all of an instance's history, oldest first."""
    entries: list[HistoryEntryOut] = []
    cursor: str | None = None
    while True:
        page = api.list_history(project, name, cursor=cursor)
        entries += page.entries
        cursor = page.next_cursor
        if cursor is None:
            return entries
