"""The launch form: what is typed is kept through every refusal, and the price follows each change."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Label, Select, SelectionList
from textual.widgets.selection_list import Selection

from nightingale.contract.schemas import CatalogOut, EstimateOut
from nightingale.contract.vocabulary import Plan
from nightingale_tui import draft as d
from nightingale_tui.controller import Controller
from nightingale_tui.widgets import words
from nightingale_tui.widgets.line import Line
from nightingale_tui.widgets.size_select import size_options
from nightingale_tui.widgets.tick_list import TickList

_PAUSE_S = 0.15
"""A price is asked for once the keys have been quiet this long."""


class LaunchScreen(ModalScreen[str | None]):
    """Returns the id of the instance that was launched, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "launch", "Launch", id="launch.do", tooltip="Launch it at the price shown", priority=True),
        Binding("escape", "leave", "Cancel", id="launch.cancel", tooltip="Close the form without launching"),
        Binding("tab", "app.focus_next", "Next field", id="launch.next", tooltip="Go to the next field"),
        Binding("down", "app.focus_next", "Next", id="launch.down", tooltip="Go to the next field", show=False),
        Binding("up", "app.focus_previous", "Before", id="launch.up", tooltip="Go to the field before", show=False),
    ]

    def __init__(self, controller: Controller, catalog: CatalogOut, draft: d.LaunchDraft | None = None) -> None:
        """Offer the catalogue; go on with `draft` where there is one."""
        super().__init__()
        self._controller, self._catalog = controller, catalog
        self.draft = draft or d.first_draft(catalog)
        self._nonce = secrets.token_hex(8)
        self._is_launching = False

    # --- layout -------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Lay out one line per field, what is wrong with it beside it."""
        draft, catalog = self.draft, self._catalog
        with VerticalScroll(id="form", can_focus=False) as form:
            form.border_title = f"Launch an instance in {self._controller.project}"
            yield from self._field(
                "name", Input(draft.name, id="name", compact=True, placeholder="unet-baseline", max_length=32)
            )
            for resource in d.RESOURCES:
                options = size_options(catalog, resource, draft.place)
                yield from self._field(resource, self._select(resource, options, getattr(draft, resource)))
            yield from self._field("place", self._select("place", d.place_options(catalog), draft.place))
            yield from self._field("spot", self._select("spot", list(d.SPOT_OPTIONS), draft.spot))
            images = [(image.title or image.name, image.name) for image in catalog.images]
            yield from self._field("image", self._select("image", images, draft.image))
            yield from self._field("datasets", self._datasets())
            yield from self._field(
                "stop_after", Input(draft.stop_after, id="stop_after", compact=True, placeholder="never (90m, 3h, 2d)")
            )
            yield Line(id="price")
            yield Line(id="whole", classes="wrong")
        yield Footer(compact=True, show_command_palette=False)

    def _field(self, name: str, widget: Input | Select[str] | SelectionList[str] | Label) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label(name.replace("_", " "), classes="field-name")
            yield widget
            yield Line(id=f"wrong-{name}", classes="wrong")

    def _select(self, name: str, options: list[tuple[str, str]], value: str) -> Select[str]:
        if all(option != value for _, option in options):
            value = options[0][1] if options else value
            options = options or [(value, value)]
        return Select(options, value=value, allow_blank=False, compact=True, id=name)

    def _datasets(self) -> SelectionList[str] | Label:
        project = self._controller.project
        allowed = [data for data in self._catalog.datasets if project in data.projects]
        if not allowed:
            return Label("this project may mount none", id="datasets-none")
        rows = [
            Selection(
                f"{data.name} {data.version}  tier {data.tier}  {data.title}",
                data.name,
                data.name in self.draft.datasets,
            )
            for data in allowed
        ]
        return TickList(*rows, id="datasets", compact=True)

    def on_mount(self) -> None:
        """Begin with the name, and the price of what is chosen already."""
        self.query_one("#name").focus()
        self._offer_spot()
        self._show_wrong()
        self._price()

    # --- changes ------------------------------------------------------------------------------------------------------

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._change(event.input.id or "", event.value)

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        name = event.select.id or ""
        self._change(name, str(event.value))
        if name == "place":
            self._offer_spot()
            self._offer_sizes()

    @on(SelectionList.SelectedChanged)
    def _picked(self, event: SelectionList.SelectedChanged[str]) -> None:
        self._change("datasets", tuple(event.selection_list.selected))

    def _change(self, name: str, value: str | tuple[str, ...]) -> None:
        if getattr(self.draft, name) == value:
            return
        self.draft = d.changed(self.draft, name, value)
        self._show_wrong()
        if name != "name":
            self._price()

    def _offer_spot(self) -> None:
        """Show the choice where there is one; elsewhere it is back to on demand."""
        is_offered = d.offers_spot(self._catalog, self.draft.place)
        select: Select[str] = self.query_one("#spot", Select)
        if not is_offered:
            select.value = d.ON_DEMAND
            self._change("spot", d.ON_DEMAND)
        if select.parent is not None:
            select.parent.display = is_offered

    def _offer_sizes(self) -> None:
        for resource in d.RESOURCES:
            select: Select[str] = self.query_one(f"#{resource}", Select)
            options = size_options(self._catalog, resource, self.draft.place)
            kept = getattr(self.draft, resource)
            with select.prevent(Select.Changed):  # the first of new options is chosen on the way, and nobody chose it
                select.set_options(options)
                if any(name == kept for _, name in options):
                    select.value = kept
            # A value that stays is not drawn anew by itself, and its price is another place's.
            shown: Any = select.query_one("SelectCurrent")
            shown.update(next((text for text, name in options if name == select.value), ""))
            self._change(resource, str(select.value))

    def _price(self) -> None:
        self._controller.estimate(self, d.estimate_request(self.draft), after_s=_PAUSE_S)

    @on(Controller.Estimated)
    def _priced(self, event: Controller.Estimated) -> None:
        if event.request == d.estimate_request(self.draft):
            self.query_one("#price", Line).show(price_words(event.estimate))

    def _show_wrong(self) -> None:
        for name in d.FIELDS:
            self.query_one(f"#wrong-{name}", Line).show(self.draft.wrong.get(name, ""))
        whole = self.query_one("#whole", Line)
        whole.show(self.draft.wrong.get("", ""))
        whole.display = bool(self.draft.wrong.get(""))

    # --- launching ----------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    def action_launch(self) -> None:
        """Launch, if nothing is wrong that can be seen from here; once only, however often the key is pressed."""
        if self._is_launching:
            return
        for field in self.query(Input):  # the key can overtake the news of the last letter typed or pasted
            self._change(field.id or "", field.value)
        self.draft = d.checked(self.draft)
        self._show_wrong()
        if self.draft.wrong:
            self._focus_wrong()
            return
        self._is_launching = True
        self.query_one("#form").border_subtitle = "launching …"
        self._controller.launch(self, d.launch_request(self.draft, self._nonce))

    @on(Controller.Launched)
    def _launched(self, event: Controller.Launched) -> None:
        self.dismiss(event.instance.id)

    @on(Controller.Refused)
    def _refused(self, event: Controller.Refused) -> None:
        if event.what == "estimate":
            self.query_one("#price", Line).show(f"price unknown: {event.problem.words}")
            return
        self._is_launching = False
        self.query_one("#form").border_subtitle = ""
        self.draft = d.refused(self.draft, event.problem)
        self._show_wrong()
        self._focus_wrong()

    def _focus_wrong(self) -> None:
        name = next((name for name in d.FIELDS if name in self.draft.wrong), None)
        if name is not None:
            self.query(f"#{name}").focus()
        self.query_one("#whole").scroll_visible(animate=False)

    def action_leave(self) -> None:
        """Close the form. While a launch is under way it stays: its answer tells whether there is an instance."""
        if not self._is_launching:
            self.dismiss(None)


def price_words(estimate: EstimateOut) -> str:
    """Return the price an hour, for the time asked, and who pays it."""
    time = words.duration(estimate.for_seconds)
    hourly = (
        f"{words.price(estimate.per_hour)}/h  (compute {words.price(estimate.compute_per_hour)}, "
        f"disk {words.price(estimate.disk_per_hour)}, which a stopped one costs too)"
    )
    paid = f"{time} cost {words.price(estimate.list_price)}"
    if estimate.plan is Plan.NONPROFIT:
        paid += f"; billed {words.price(estimate.billed)} (non-profit)"
    elif estimate.billed != estimate.list_price:
        paid += f"; billed {words.price(estimate.billed)}"
    spot = [f"spot: {estimate.spot_words}"] if estimate.spot_words else []
    return "\n".join([hourly, paid, *spot, *place_words(estimate)])


def place_words(estimate: EstimateOut) -> list[str]:
    """Return where it goes and why, or what speaks against it there; and where else it could go, at which price."""
    refused = next((offer for offer in estimate.places if offer.place == estimate.place and offer.refusal), None)
    told = [f"in {estimate.place}  ({estimate.place_why})"] if estimate.place_why else []
    if refused is not None:
        told.append(f"not possible in {refused.place}: {refused.refusal}")
    others = [
        f"{offer.place} {words.price(offer.per_hour)}/h"
        for offer in estimate.places
        if not offer.refusal and offer.per_hour is not None and offer.place != estimate.place
    ]
    return [*told, *([f"possible too: {', '.join(others)}"] if others else [])]
