"""Attempts to take out what may not leave: what became of each, and what the check says of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nightingale_local.measures import require


@dataclass(frozen=True)
class Attempt:
    """One that was made. `is_recordable`: something stands in its way that can record it."""

    door: str
    what: str
    is_refused: bool
    is_recordable: bool
    is_recorded: bool = False


def report(attempts: Iterable[Attempt]) -> dict[str, Any]:
    """Return how many attempts were made, refused and recorded: `forbidden` of the report, and by door."""
    made = list(attempts)
    doors = dict.fromkeys(one.door for one in made)
    by_door = {door: _counts([one for one in made if one.door == door]) for door in doors}
    counts = _counts(made)
    del counts["recordable"]
    return {"forbidden": counts, "forbidden_by_door": by_door}


def hold(attempts: Iterable[Attempt]) -> None:
    """Raise CheckFailedError that names what was not refused, or not recorded where it had to be."""
    made = list(attempts)
    let = [f"{one.door}: {one.what}" for one in made if not one.is_refused]
    require(not let, f"not refused: {'; '.join(let)}")
    unrecorded = [f"{one.door}: {one.what}" for one in made if one.is_recordable and not one.is_recorded]
    require(not unrecorded, f"refused and not recorded: {'; '.join(unrecorded)}")
    require(made, "nothing was tried")


def _counts(attempts: list[Attempt]) -> dict[str, int]:
    return {
        "tried": len(attempts),
        "refused": sum(one.is_refused for one in attempts),
        "recorded": sum(one.is_recorded for one in attempts),
        "recordable": sum(one.is_recordable for one in attempts),
    }
