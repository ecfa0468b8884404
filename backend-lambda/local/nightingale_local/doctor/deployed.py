"""A platform that is up: does its API answer, is it of our version, is its gateway the one whose key is pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from nightingale.contract.openapi import VERSION
from nightingale.contract.operations import OPERATIONS
from nightingale_local.doctor.account import skew_line
from nightingale_local.doctor.report import Check, DoctorLine, fail, ok, unknown, warn

_ANSWER_S = 8
_HEALTH = next(row.path for row in OPERATIONS if row.name == "get_health")


@dataclass(frozen=True)
class Pinned:
    """Where the gateway is, and the host key that clients pin."""

    host: str
    port: int
    host_key: str


@dataclass(frozen=True)
class Answer:
    """What the API's health answered."""

    status: int
    version: str
    date: str
    scan: str = "ok"
    """How the scan of the logs does; platforms of before there was one say nothing."""


def ask_health(url: str) -> Answer:
    """Ask the API for its health. Raises httpx.HTTPError, ValueError."""
    import httpx  # noqa: PLC0415 - a fifth of a second, for those who have an address to ask

    answer = httpx.get(f"{url.rstrip('/')}{_HEALTH}", timeout=_ANSWER_S)
    document = answer.json()
    told = document if isinstance(document, dict) else {}
    version, scan = (str(told.get(name, "")) for name in ("version", "scan"))
    return Answer(answer.status_code, version, answer.headers.get("date", ""), scan)


def find_host_key(pinned: Pinned) -> str:
    """Return the host key that answers there, as its type and base64. Raises OSError, TimeoutError, asyncssh.Error."""
    import asyncssh  # noqa: PLC0415 - two seconds, for those who have a gateway to ask

    async def ask() -> str:
        async with asyncio.timeout(_ANSWER_S):
            key = await asyncssh.get_server_host_key(pinned.host, pinned.port, config=None)
        return "" if key is None else _bare(key.export_public_key().decode())

    return asyncio.run(ask())


def deployed_checks(
    url: str,
    pinned: Pinned | None,
    now: Callable[[], datetime],
    ask: Callable[[str], Answer] = ask_health,
    find_key: Callable[[Pinned], str] = find_host_key,
) -> list[Check]:
    """Return the checks; without a URL, or a gateway that is known, they say so."""
    return [Check("api", lambda: _api(url, now, ask)), Check("gateway", lambda: _gateway(pinned, find_key))]


def _api(url: str, now: Callable[[], datetime], ask: Callable[[str], Answer]) -> Iterator[DoctorLine]:
    if not url:
        yield unknown("api", "no address is named", "Say --url, or set NIGHTINGALE_URL.")
        return
    try:
        answer = ask(url)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from answering, it is not well
        yield fail(
            "api", f"{url} gave no answer of ours ({type(error).__name__})", "Is the platform up, the URL right?"
        )
        return
    if answer.status != 200:  # noqa: PLR2004 - HTTP's own number
        yield fail("api", f"{url} answered {answer.status}", "Read the log of the API.")
        return
    if answer.version == VERSION:
        yield ok("api", f"{url} runs {answer.version}, as this command does")
    else:
        do = "Upgrade the older of the two: docs/how-to/upgrade-without-downtime.md."
        yield warn("api", f"{url} runs {answer.version or 'no version'}, this command is of {VERSION}", do)
    yield skew_line("api clock", "the API", answer.date, now())
    if answer.scan == "ok":
        yield ok("scan", "the logs are scanned")
    else:
        seen = _SCANS.get(answer.scan, "the platform does not say how the scan of its logs does")
        yield warn("scan", seen, "Ask `nightingale findings` why; then read the log of the scan's process.")


_SCANS = {
    "never": "no scan of the logs has run yet: nobody would see a theft",
    "late": "no scan of the logs was heard of for two minutes",
    "failing": "the scan of the logs fails",
    "partial": "the platform's own log is scanned, something else that was asked for is not",
}


def _gateway(pinned: Pinned | None, find_key: Callable[[Pinned], str]) -> Iterator[DoctorLine]:
    if pinned is None:
        do = "Set NIGHTINGALE_GATEWAY_HOST, _PORT and _HOST_KEY as on the function, or start the platform here."
        yield unknown("gateway", "nobody says where it is", do)
        return
    where = f"{pinned.host}:{pinned.port}"
    try:
        found = find_key(pinned)
    except Exception as error:  # noqa: BLE001 - asyncssh's errors too, without loading it here
        yield fail("gateway", f"{where} cannot be reached ({type(error).__name__})", "Is it up, and open to you?")
        return
    if found == _bare(pinned.host_key):
        yield ok("gateway", f"{where} shows the pinned host key")
    else:
        do = "Find out who answers there before anybody connects; after a rotation: docs/how-to/rotate-keys.md."
        yield fail("gateway", f"{where} shows another host key than the pinned one", do)


def _bare(line: str) -> str:
    """Return a public key's type and base64, without its comment."""
    return " ".join(line.split()[:2])
