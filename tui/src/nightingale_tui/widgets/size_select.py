"""The catalogue's t-shirt sizes as rows of a select: the name, what it means, what it costs an hour."""

from __future__ import annotations

from nightingale.contract.schemas import CatalogOut
from nightingale_tui.widgets import words


def size_options(catalog: CatalogOut, resource: str, place: str) -> list[tuple[str, str]]:
    """Return (text, name) of each size of `resource` that `place` can supply; of all where none has a price there."""
    options = {"cpu": catalog.cpu, "memory": catalog.memory, "gpu": catalog.gpu, "disk": catalog.disk}[resource]
    supplied = [option for option in options if place in option.price_per_hour] or list(options)
    rows = []
    for option in supplied:
        meaning = words.option_meaning(option)
        text = f"{option.name:<5}" + ("" if meaning == option.name else f"{meaning:<11}")
        amount = option.price_per_hour.get(place)
        per_hour = f" {words.money(amount, catalog.currency)}/h" if amount else ""
        rows.append((f"{text}{per_hour}".rstrip(), option.name))
    return rows
