"""Where a launch goes, in words: the place taken and why, what the others cost, what speaks against them."""

from __future__ import annotations

from nightingale.contract import schemas as s
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.table import table_lines
from nightingale_tui.cli.wording import money


def tell_places(console: Console, estimate: s.EstimateOut) -> None:
    """Say on stderr where it goes, and what each place of the project says, where there are several."""
    if estimate.place_why:
        console.note(f"Place: {estimate.place} - {estimate.place_why}.")
    refused = next((offer for offer in estimate.places if offer.place == estimate.place and offer.refusal), None)
    if refused is not None:
        console.note(f"It will be refused there: {refused.refusal}. {refused.next_step}".rstrip())
    if len(estimate.places) > 1:
        rows = [
            (offer.place, offer.region, "" if offer.per_hour is None else money(offer.per_hour), offer.refusal)
            for offer in estimate.places
        ]
        for line in table_lines(("PLACE", "REGION", "AN HOUR", "NOT POSSIBLE"), rows, width=console.width):
            console.note(line)


def tell_other_place(console: Console, estimate: s.EstimateOut, instance: s.InstanceOut) -> None:
    """Say that the place taken is not the one that was priced: the cluster changed between the two."""
    if estimate.place and instance.place != estimate.place:
        price = money(instance.price_per_hour)
        console.note(f"It goes to {instance.place}, not to {estimate.place}: {price} an hour. {instance.place_why}.")
