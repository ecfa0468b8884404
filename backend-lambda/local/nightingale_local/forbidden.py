"""What the check tries against a dataset from which nothing may be taken out, and whether each attempt was recorded.

Three doors: Jupyter's HTTP API (`ways_out`), the SSH gateway (`ways_by_gateway`) and what a cell can reach
(`ways_inside`). A record counts that names the person and what they tried. docs/reference/check.md has the table.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import AuditEventOut, InstanceOut, LaunchIn
from nightingale.contract.vocabulary import AuditTag
from nightingale_local import planting, ways_by_gateway, ways_inside
from nightingale_local.attempts import Attempt
from nightingale_local.demo_material import SCAN, SENSITIVE, VERSION
from nightingale_local.folders import Folders
from nightingale_local.measures import CheckFailedError, require, run_cell
from nightingale_local.ways_by_gateway import GATEWAY
from nightingale_local.ways_inside import INSIDE
from nightingale_local.ways_out import WAYS, Way, misjudged
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ApiError
from nightingale_tui.cli.pages import all_audit_events
from nightingale_tui.settings import Settings
from nightingale_tui.ssh_config import write_ssh_config
from nightingale_tui.tunnel import Tunnel, identity_of

T = TypeVar("T")

_RECORDED_SECONDS = 10.0
_ANSWER_SECONDS = 20.0
_TERMINAL = "/terminals/websocket/1"


@dataclass(frozen=True)
class Target:
    """The instance that mounts the dataset, and who may do what the attempts need."""

    api: Api
    operator: Api
    settings: Settings
    folders: Folders
    project: str
    instance: InstanceOut
    other: str
    """The id of another instance."""


def play(target: Target) -> list[Attempt]:
    """Make every attempt and return what became of each. Raises CheckFailedError where one could not be made."""
    jupyter = target.api.open_jupyter(target.project, target.instance.id)
    with Tunnel.open(target.api, target.settings, target.project, target.instance.name) as tunnel:
        plant = f"plant(Path.home(), Path('/data/{SENSITIVE}'), Path('/tmp/outside'))"
        run_cell(tunnel.local_port, jupyter.token, f"{inspect.getsource(planting)}\n{plant}")
        inside = _inside(target, lambda code: run_cell(tunnel.local_port, jupyter.token, code))
        by_jupyter = _by_jupyter(tunnel.local_port, jupyter.token, target.instance.tier)
    by_gateway = _by_gateway(target)
    return [*_recorded_of_jupyter(target, by_jupyter), *by_gateway, *_recorded_of_packages(target, inside)]


def refusal_of_launch(api: Api, project: str, body: LaunchIn) -> str:
    """Return the words with which a launch is refused that needs what an ordinary account has not.

    Raises CheckFailedError where it is not refused, or for another reason.
    """
    try:
        api.launch_instance(project, body)
    except ApiError as refusal:
        require(refusal.code == ErrorCode.SANDBOX_UNAVAILABLE.code, f"refused for another reason: {refusal}")
        return refusal.message
    raise CheckFailedError("a dataset above tier 0 was launched in an ordinary account")


# --- Jupyter ----------------------------------------------------------------------------------------------------------


def _by_jupyter(port: int, token: str, tier: int) -> list[Attempt]:
    attempts: list[Attempt] = []
    connection = HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        for way in WAYS:
            wrong = misjudged(way, way.tiers[tier], *_ask(connection, way, token))
            if way.is_forbidden(tier):
                what = f"{way.method} {way.target}"
                attempts.append(Attempt("jupyter", what, wrong is None, way.is_recorded(tier)))
            else:  # what an attempt needs before it, or what shows that there was something to take
                require(wrong is None, f"the attempts could not be made: {wrong}")
    finally:
        connection.close()
    is_refused = asyncio.run(_is_without_terminal(port, token))
    return [*attempts, Attempt("jupyter", f"web socket {_TERMINAL}", is_refused, is_recordable=False)]


def _ask(connection: HTTPConnection, way: Way, token: str) -> tuple[int, bytes]:
    """Return status and body; the path goes over the wire as it is written, no client tidies `..` away."""
    headers = {"Host": "localhost", "Authorization": f"token {token}", **way.headers}
    for is_last in (False, True):
        try:
            connection.request(way.method, way.target, way.body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (HTTPException, OSError) as error:  # the server ends a kept connection after some refusals
            connection.close()
            if is_last:
                raise CheckFailedError(f"{way.method} {way.target} got no answer: {error}") from error
    raise AssertionError  # the loop's last turn returns or raises


async def _is_without_terminal(port: int, token: str) -> bool:
    async with aiohttp.ClientSession(headers={"Authorization": f"token {token}"}) as session:
        try:
            async with session.ws_connect(f"http://localhost:{port}{_TERMINAL}"):
                return False
        except aiohttp.WSServerHandshakeError as error:
            return 400 <= error.status < 500  # noqa: PLR2004 - HTTP's own


def _recorded_of_jupyter(target: Target, attempts: list[Attempt]) -> list[Attempt]:
    """Return the attempts with their records: the server sends them in the order in which it refused."""
    wanted = sum(one.is_recordable for one in attempts)

    def look() -> list[AuditEventOut]:
        return [
            one
            for one in all_audit_events(target.operator, target.instance.id)
            if one.tag.startswith("contents:") and one.tag.endswith(":refused") and _names(target, one)
        ]

    found = _until(look, lambda seen: len(seen) >= wanted)
    left = iter(found)
    return [replace(one, is_recorded=one.is_recordable and next(left, None) is not None) for one in attempts]


# --- the gateway ------------------------------------------------------------------------------------------------------


def _by_gateway(target: Target) -> list[Attempt]:
    config = write_ssh_config(
        target.settings,
        target.api.get_gateway(),
        person=target.instance.owner,
        identity=identity_of(target.settings),
    )
    own = target.folders.root / "instances" / target.instance.id
    known = {
        "config": str(config.path),
        "target": target.instance.id,
        "file": f"/data/{SENSITIVE}/{SCAN}",
        "socket": str(own / "run" / "jupyter.sock"),
    }
    before = max((one.seq for one in all_audit_events(target.operator, "platform")), default=0)
    refused = ways_by_gateway.try_all(known)
    wanted = {way.what: ways_by_gateway.expected(way, known) for way in GATEWAY}

    def look() -> list[str]:
        return [
            one.detail.get("what") or f"{one.subject}:{one.detail.get('port')}"
            for one in all_audit_events(target.operator, "platform")
            if one.seq > before and one.tag == AuditTag.CHANNEL_REFUSED and one.actor == target.instance.owner
        ]

    def is_there(words: str, seen: list[str]) -> bool:
        return any(words in one for one in seen)

    seen = _until(look, lambda seen: all(is_there(words, seen) for words in wanted.values()))
    return [
        Attempt(
            "gateway",
            way.what,
            bool(refused[way.what]),
            is_recordable=True,
            is_recorded=is_there(wanted[way.what], seen),
        )
        for way in GATEWAY
    ]


# --- what a cell can reach --------------------------------------------------------------------------------------------


def _inside(target: Target, run: Callable[[str], str]) -> list[Attempt]:
    root = target.folders.root
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        abstract_name = f"nightingale-check-{secrets.token_hex(8)}"
        abstract.bind(f"\0{abstract_name}")
        for one in (listener, abstract):
            one.listen()
            one.setblocking(False)  # noqa: FBT003 - the standard library's signature
        told = {
            "listener": listener.getsockname()[1],
            "abstract": abstract_name,
            "api": int(target.settings.url.rpartition(":")[2]),
            "gateway": target.api.get_gateway().port,
            "root": str(root),
            "store": str(_store(target.folders)),
            "own": str(root / "instances" / target.instance.id),
            "other": str(root / "instances" / target.other),
            "home": str(root / "homes" / target.other),
            "dataset": str(target.folders.datasets / SENSITIVE / VERSION),
            "path": f"/v1/projects/{target.project}/instances",
        }
        _require_there(told)
        answers: dict[str, str | None] = json.loads(run(ways_inside.cell(SENSITIVE, told)))
        reached = [_is_reached(one) for one in (listener, abstract)]
    require(not any(reached), "something inside reached a socket of this machine")
    return [
        Attempt("file system", way.what, bool(answers.get(way.what)), is_recordable=way.record is not None)
        for way in INSIDE
    ]


def _store(folders: Folders) -> Path:
    """Return the file of the store, or the one that says where the store is."""
    return folders.database if folders.database.exists() else folders.settings


def _require_there(told: dict[str, Any]) -> None:
    """Make sure that there is something to see: an attempt on what is not there would prove nothing."""
    root, own = told["root"], told["own"]
    files = (told["store"], f"{root}/secrets/operator.token", f"{own}/shipper.token")
    folders = (f"{own}/reads", told["other"], told["home"], told["dataset"], f"{told['dataset']}.ext4")
    missing = [path for path in (*files, *folders) if not Path(path).exists()]
    require(not missing, f"what the attempts aim at is not there: {', '.join(missing)}")


def _is_reached(listener: socket.socket) -> bool:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def _recorded_of_packages(target: Target, attempts: list[Attempt]) -> list[Attempt]:
    records = {way.what: way.record for way in INSIDE}

    def look() -> list[str]:
        return [
            f"{one.detail.get('package', '')} {one.detail.get('file', '')}"
            for one in all_audit_events(target.operator, target.instance.id)
            if one.tag == AuditTag.PACKAGE_REFUSED and _names(target, one)
        ]

    def is_there(words: str | None, seen: list[str]) -> bool:
        return words is not None and any(words in one for one in seen)

    wanted = [words for words in records.values() if words is not None]
    seen = _until(look, lambda seen: all(is_there(words, seen) for words in wanted))
    return [replace(one, is_recorded=is_there(records[one.what], seen)) for one in attempts]


# --- records ----------------------------------------------------------------------------------------------------------


def _names(target: Target, event: AuditEventOut) -> bool:
    """Return whether a record says who, and of which instance."""
    return event.actor == target.instance.owner and event.subject == target.instance.id


def _until(look: Callable[[], T], is_enough: Callable[[T], bool]) -> T:
    """Return what is seen once it is enough, or at the end of the time in which a record must have come."""
    until = time.monotonic() + _RECORDED_SECONDS
    while not is_enough(seen := look()) and time.monotonic() < until:
        time.sleep(0.05)
    return seen
