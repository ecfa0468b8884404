"""The launch form as frozen data: what was typed, what is wrong with it, and the request it makes. No Textual."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import CatalogOut, EstimateIn, LaunchIn, Size, SizeOptionOut
from nightingale_tui.state import Problem

RESOURCES = ("cpu", "memory", "gpu", "disk")
FIELDS = ("name", *RESOURCES, "place", "spot", "image", "datasets", "stop_after")
_DEFAULT_ESTIMATE_S = 3600
_SHORTEST_S = 60
_LONGEST_S = 60 * 60 * 24 * 30
_DURATION = re.compile(r"\s*(?:(\d{1,3})\s*d)?\s*(?:(\d{1,4})\s*h)?\s*(?:(\d{1,5})\s*m(?:in)?)?\s*")
_NAME = re.compile(r"^(?!i-)([a-z][a-z0-9-]{0,30}[a-z0-9]|[a-z])$")
_FIELD_OF_CODE = {ErrorCode.NAME_TAKEN.code: "name", ErrorCode.SANDBOX_UNAVAILABLE.code: "datasets"}
_FIELD_OF_PATH = {"stop_after_seconds": "stop_after", "relaunch_when_interrupted": "spot", "size": "cpu"}

ON_DEMAND, SPOT, RELAUNCHED = "on-demand", "spot", "relaunched"
SPOT_OPTIONS = (
    ("no, on demand", ON_DEMAND),
    ("yes, may be taken back", SPOT),
    ("yes, and launched again", RELAUNCHED),
)
"""(text, value) of the choices of `spot`."""


@dataclass(frozen=True)
class LaunchDraft:
    """Everything typed so far. `wrong` holds a message per field; `""` is about the whole."""

    name: str = ""
    cpu: str = "s"
    memory: str = "s"
    gpu: str = "none"
    disk: str = "s"
    place: str = "local"
    spot: str = ON_DEMAND
    image: str = "default"
    datasets: tuple[str, ...] = ()
    stop_after: str = ""
    wrong: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def size(self) -> Size:
        """The size as the contract has it."""
        return Size(cpu=self.cpu, memory=self.memory, gpu=self.gpu, disk=self.disk)


AUTO = "auto"
"""The place that asks for the best one."""


def place_options(catalog: CatalogOut) -> list[tuple[str, str]]:
    """Return (text, name) of each place, and of the best one where there are several."""
    places = [(place.title or place.name, place.name) for place in catalog.places]
    return [*places, ("the best place (auto)", AUTO)] if len(places) > 1 else places


def offers_spot(catalog: CatalogOut, place: str) -> bool:
    """Return whether the place has spare capacity to be had: for the best place, whether any has."""
    return any(one.spot for one in catalog.places if place in {one.name, AUTO})


def first_draft(catalog: CatalogOut) -> LaunchDraft:
    """Return a draft of the catalogue's first of everything, and no GPU."""
    none = next((option.name for option in catalog.gpu if not option.count), None)
    return LaunchDraft(
        cpu=_first(catalog.cpu, "s"),
        memory=_first(catalog.memory, "s"),
        gpu=none or _first(catalog.gpu, "none"),
        disk=_first(catalog.disk, "s"),
        place=_first_place(catalog),
        image=catalog.images[0].name if catalog.images else "default",
    )


def _first_place(catalog: CatalogOut) -> str:
    """Return a place on one's own machine where there is one: nobody pays a cloud without having chosen it."""
    places = sorted(catalog.places, key=lambda place: place.kind != "local")
    return places[0].name if places else "local"


def _first(options: tuple[SizeOptionOut, ...], otherwise: str) -> str:
    return options[0].name if options else otherwise


def changed(draft: LaunchDraft, name: str, value: str | tuple[str, ...]) -> LaunchDraft:
    """Return the draft with one field changed; what was wrong with that field and with the whole is forgotten."""
    wrong = {key: words for key, words in draft.wrong.items() if key not in {name, ""}}
    return replace(draft, **{name: value}, wrong=MappingProxyType(wrong))  # type: ignore[arg-type] # FIELDS only


def parse_duration(text: str) -> int | None:
    """Return seconds of `90m`, `2h`, `1d 12h`; None for an empty text. Raises ValueError for anything else."""
    if not text.strip():
        return None
    found = _DURATION.fullmatch(text.lower())
    if found is None:
        raise ValueError("Write a time like 90m, 3h or 2d, or leave it empty.")
    days, hours, minutes = (int(part or 0) for part in found.groups())
    seconds = ((days * 24) + hours) * 3600 + minutes * 60
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ValueError("From one minute to 30 days.")
    return seconds


def checked(draft: LaunchDraft) -> LaunchDraft:
    """Return the draft with a message at each field that the platform would refuse by its form alone."""
    wrong: dict[str, str] = {}
    if not draft.name:
        wrong["name"] = "A name is needed."
    elif not _NAME.match(draft.name):
        wrong["name"] = "Lower case, digits, dashes; a letter first, not i-."
    try:
        parse_duration(draft.stop_after)
    except ValueError as error:
        wrong["stop_after"] = str(error)
    return replace(draft, wrong=MappingProxyType(wrong))


def refused(draft: LaunchDraft, problem: Problem) -> LaunchDraft:
    """Return the draft with the platform's refusal beside the fields it is about; nothing typed is lost."""
    wrong: dict[str, str] = {}
    for path, message in problem.details:
        parts = re.split(r"[.\[]", path)
        name = parts[1] if len(parts) > 1 and parts[1] in RESOURCES else _FIELD_OF_PATH.get(parts[0], parts[0])
        wrong.setdefault(name if name in FIELDS else "", message)
    if problem.code in _FIELD_OF_CODE:
        wrong.setdefault(_FIELD_OF_CODE[problem.code], problem.words)
    whole = problem.words if not wrong else ""
    wrong[""] = " ".join(part for part in (wrong.get("", whole), problem.next_step) if part)
    return replace(draft, wrong=MappingProxyType(wrong))


def launch_request(draft: LaunchDraft, nonce: str) -> LaunchIn:
    """Return the request to send.

    Its id follows from the form's nonce and content: trying again after a broken connection cannot launch twice, and a
    changed form is a new request.
    """
    request = LaunchIn(
        name=draft.name,
        size=draft.size,
        place=draft.place,
        image=draft.image,
        datasets=draft.datasets,
        stop_after_seconds=parse_duration(draft.stop_after),
        spot=draft.spot != ON_DEMAND,
        relaunch_when_interrupted=draft.spot == RELAUNCHED,
    )
    digest = hashlib.sha256(nonce.encode() + msgspec.json.encode(request)).hexdigest()
    return msgspec.structs.replace(request, request_id=digest[:32])


def estimate_request(draft: LaunchDraft) -> EstimateIn:
    """Return what to price: the stop time where one is given and well formed, else one hour."""
    try:
        seconds = parse_duration(draft.stop_after)
    except ValueError:
        seconds = None
    return EstimateIn(
        size=draft.size,
        place=draft.place,
        for_seconds=seconds or _DEFAULT_ESTIMATE_S,
        image=draft.image,
        datasets=draft.datasets,
        spot=draft.spot != ON_DEMAND,
    )
