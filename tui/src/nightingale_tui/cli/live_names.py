"""Names from the platform for the shell's completion: quick, silent, remembered for some seconds.

A shell waits while a person holds Tab, so there is one limit over all of it, whatever hangs (a name server, a proxy),
and no answer is as good as an empty one. What was learnt, or not, is kept in a file of mode 0600 beside the session.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from nightingale.contract import schemas as s
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ClientError
from nightingale_tui.api.lean_httpx import httpx
from nightingale_tui.cli.wording import meaning
from nightingale_tui.settings import Session, Settings, load_session, write_private

LIMIT_S = 0.5
KEPT_FOR = timedelta(seconds=5)
RESOURCES = ("cpu", "memory", "gpu", "disk")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*\Z")
"""Nothing else is handed to a shell, whatever the platform says."""
_CONTROLS = re.compile(r"[^\x20-\x7e\xa1-\u2027\u2030-\u205f\u2070-\ufdff]+")


class Named(msgspec.Struct, frozen=True):
    """What is told of a name, and which actions it allows now (instances only)."""

    about: str
    can: tuple[str, ...] = ()


Names = dict[str, Named]


class _Known(msgspec.Struct, frozen=True):
    at: datetime
    names: Names


class _Memory(msgspec.Struct, frozen=True):
    """One server's names as one person was told them, by kind (`projects`, `instances heart`, `cpu`, ...)."""

    person: str
    kinds: dict[str, _Known]


class LiveNames:
    """The names one person may use at one server."""

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        transport: httpx.BaseTransport | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        """Ask nothing yet. `limit_s` bounds every question."""
        self._settings = settings
        self._now = now
        self._transport = transport
        self._limit_s = limit_s

    def projects(self) -> Names:
        """Return the person's projects."""
        return self._of("projects")

    def instances(self) -> Names:
        """Return the project's instances; none when it is not clear which project is meant."""
        project = self._settings.project
        if not project:
            mine = list(self.projects())
            project = mine[0] if len(mine) == 1 else None
        return self._of(f"instances {project}") if project else {}

    def catalog(self, section: str) -> Names:
        """Return what the catalogue has in a section: a resource's sizes, `datasets`, `images` or `places`."""
        return self._of(section)

    def people(self) -> Names:
        """Return the cluster's people; none for those who may not read it."""
        return self._of("people")

    def _of(self, kind: str) -> Names:
        try:
            session = load_session(self._settings)
        except ClientError:
            return {}
        if session is None:
            return {}
        memory = self._remembered(session.person)
        known = memory.kinds.get(kind)
        if known is None or not timedelta(0) <= self._now() - known.at < KEPT_FOR:
            told = self._asked(session, kind)
            at = self._now()
            fresh = {name: _Known(at, _safe(names)) for name, names in told.items()}
            memory = _Memory(session.person, memory.kinds | {kind: _Known(at, {})} | fresh)
            with suppress(OSError):
                write_private(self._settings.names_file, msgspec.json.encode(memory))
        return memory.kinds[kind].names

    def _remembered(self, person: str) -> _Memory:
        try:
            memory = msgspec.json.decode(self._settings.names_file.read_bytes(), type=_Memory)
        except (OSError, msgspec.DecodeError):
            return _Memory(person, {})
        return memory if memory.person == person else _Memory(person, {})

    def _asked(self, session: Session, kind: str) -> dict[str, Names]:
        """Return what the platform says, by kind, as far as it says so in time."""
        told: dict[str, Names] = {}

        def ask() -> None:
            with (
                suppress(ClientError),
                Api(
                    self._settings.url,
                    session.token,
                    others=self._settings.others,
                    transport=self._transport,
                    timeout_s=self._limit_s,
                ) as api,
            ):
                told.update(_ask(api, kind))

        # A daemon: the process ends without it, and a name server that hangs cannot be interrupted otherwise.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(self._limit_s)
        return dict(told)


def _ask(api: Api, kind: str) -> dict[str, Names]:
    if kind == "projects":
        return {kind: {member.project: Named(member.role.value) for member in api.get_me().memberships}}
    if kind == "people":
        return {kind: {person.name: Named(person.full_name) for person in api.get_cluster().cluster.people}}
    if kind.startswith("instances "):
        page = api.list_instances(kind.removeprefix("instances "), limit=500)
        return {
            kind: {
                instance.name: Named(
                    f"{instance.status.value}, {instance.owner}",
                    tuple(action.value for action in instance.allowed_actions),
                )
                for instance in page.instances
            }
        }
    return dict(_sections(api.get_catalog()))


def _sections(catalog: s.CatalogOut) -> Iterator[tuple[str, Names]]:
    for resource in RESOURCES:
        options: tuple[s.SizeOptionOut, ...] = getattr(catalog, resource)
        yield resource, {option.name: Named(meaning(option)) for option in options}
    yield "datasets", {dataset.name: Named(f"tier {dataset.tier}, {dataset.title}") for dataset in catalog.datasets}
    yield "images", {image.name: Named(image.title) for image in catalog.images}
    kinds = {place.kind: Named(f"the best place of kind {place.kind}") for place in catalog.places}
    auto = {"auto": Named("the best place of all")} if catalog.places else {}
    yield "places", {**auto, **kinds, **{place.name: Named(place.title) for place in catalog.places}}


def _safe(names: Names) -> Names:
    return {
        name: Named(_CONTROLS.sub(" ", named.about)[:60], named.can)
        for name, named in names.items()
        if _SAFE.match(name)
    }
