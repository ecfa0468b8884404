"""Probes Jupyter servers over HTTP, by unix socket or TCP. aiohttp: one process looks at thousands of servers."""

from __future__ import annotations

import errno
import json
from asyncio import timeout
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from nightingale.contract.door_tls import client_context
from nightingale.contract.machines import Door
from nightingale.ports.prober import Activity, ProbeOutcome

MAX_KEPT = 4096
"""Addresses whose connections are kept; each costs one open file. The longest unused goes first."""
_CONNECTIONS_PER_ADDRESS = 2  # a probe does not wait for a slow activity question
_KEEP_ALIVE_S = 30.0
_MAX_ANSWER_BYTES = 4_096  # /api and /api/status answer with some hundred
_MAX_KERNELS_BYTES = 262_144  # a kernel's model has some 250 bytes
_NOTHING_LISTENS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED})
_CUT_OFF = frozenset({errno.ECONNRESET, errno.EPIPE})

DoorAt = Callable[[str], Door | None]


class _UnlikeJupyterError(Exception):
    """The answer is not what a Jupyter server says."""


_BAD_ANSWERS = (_UnlikeJupyterError, TypeError, ValueError, OverflowError, RecursionError)
"""What a server can bring about by what it says: JSON of another shape, an endless number, brackets without end."""


@dataclass
class _Kept:
    """A session of one address and how many requests it serves right now."""

    session: aiohttp.ClientSession
    base_url: str
    door: Door | None = None
    in_use: int = 0
    _urls: dict[str, URL] = field(default_factory=dict)

    def url(self, path: str) -> URL:
        """Return the whole URL, parsed once: with thousands of servers the client's own cache holds none of them."""
        found = self._urls.get(path)
        if found is None:
            found = self._urls[path] = URL(self.base_url + path)
        return found


class JupyterProber:
    """Implements ports.prober.Prober. Belongs to one event loop; `close` it there."""

    def __init__(self, max_kept: int = MAX_KEPT, door_at: DoorAt | None = None) -> None:
        """Keep connections to at most `max_kept` addresses, unless more are asked at the same time.

        `door_at` says what both sides show at an address, None where nothing is shown.
        """
        self._max_kept = max_kept
        self._door_at = door_at
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._old: list[_Kept] = []

    async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:
        """Return what GET /api shows: OK is status 200 and JSON with a version. Never raises."""
        outcome = await self._look(address, timeout_s)
        if outcome is ProbeOutcome.REFUSED:
            await self._forget(address)
        return outcome

    async def activity(self, address: str, token: str, timeout_s: float) -> Activity | None:
        """Return what /api/status and, where kernels run, /api/kernels say; None when they do not say it in time.

        Neither question counts as activity. The token travels in the Authorization header only.
        """
        headers = {"Authorization": f"token {token}"}
        kept: _Kept | None = None
        try:
            kept = self._take(address)
            async with timeout(timeout_s):
                await self._make_room()
                status = await _ask(kept, "/api/status", _MAX_ANSWER_BYTES, headers)
                kernels = int(status["kernels"])
                is_busy = False
                if kernels:
                    path = "/api/kernels?no_track_activity=1"
                    models = await _ask(kept, path, _MAX_KERNELS_BYTES, headers)
                    is_busy = any(model["execution_state"] == "busy" for model in models)
                return Activity(
                    last_activity_at=_aware(status["last_activity"]),
                    is_busy=is_busy,
                    kernels=kernels,
                    connections=int(status["connections"]),
                )
        except (TimeoutError, OSError, aiohttp.ClientError, KeyError, *_BAD_ANSWERS):
            return None
        finally:
            _give_back(kept)

    async def close(self) -> None:
        """Close every connection kept."""
        while self._kept:
            self._old.append(self._kept.popitem()[1])
        while self._old:
            await self._old.pop().session.close()

    async def _look(self, address: str, timeout_s: float) -> ProbeOutcome:
        # Called thousands of times a second: what can be done without a context manager or a generator is.
        kept: _Kept | None = None
        try:
            kept = self._take(address)
            async with timeout(timeout_s):
                if len(self._kept) > self._max_kept or self._old:
                    await self._make_room()
                answer = await _ask(kept, "/api", _MAX_ANSWER_BYTES, None)
        except TimeoutError:
            return ProbeOutcome.SILENT
        except OSError as error:  # before ClientError: what fails to connect is both
            return _outcome_of(error)
        except (aiohttp.ClientError, *_BAD_ANSWERS):
            return ProbeOutcome.ODD
        finally:
            _give_back(kept)
        is_jupyter = isinstance(answer, dict) and isinstance(answer.get("version"), str)
        return ProbeOutcome.OK if is_jupyter else ProbeOutcome.ODD

    def _take(self, address: str) -> _Kept:
        """Return what is kept of `address`, in use until `_give_back`. ValueError when it is no address."""
        kept = self._kept.get(address)
        door = self._door_at(address) if self._door_at is not None else None
        if kept is not None and kept.door != door:
            # Another start has the address by now: whatever was kept leads to nobody.
            self._old.append(self._kept.pop(address))
            kept = None
        if kept is None:
            kept = self._kept[address] = _open(address, door)
        self._kept.move_to_end(address)
        kept.in_use += 1
        return kept

    async def _make_room(self) -> None:
        while self._old and not self._old[-1].in_use:
            await self._old.pop().session.close()
        while len(self._kept) > self._max_kept:
            oldest = next((address for address, kept in self._kept.items() if not kept.in_use), None)
            if oldest is None:
                return
            await self._forget(oldest)

    async def _forget(self, address: str) -> None:
        kept = self._kept.pop(address, None)
        if kept is not None:
            await kept.session.close()


def _give_back(kept: _Kept | None) -> None:
    if kept is not None:
        kept.in_use -= 1


def _open(address: str, door: Door | None) -> _Kept:
    """Return a session for `address`; ValueError when it is neither `unix:/path` nor `tcp:host:port`."""
    kind, _, rest = address.partition(":")
    connector: aiohttp.BaseConnector
    if kind == "unix" and rest.startswith("/"):
        connector = aiohttp.UnixConnector(rest, limit=_CONNECTIONS_PER_ADDRESS, keepalive_timeout=_KEEP_ALIVE_S)
        base_url = "http://localhost"
    elif kind == "tcp" and rest.rpartition(":")[0] and rest.rpartition(":")[2].isdecimal():
        shown = client_context(door) if door is not None else False
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS_PER_ADDRESS, keepalive_timeout=_KEEP_ALIVE_S, ssl=shown)
        base_url = f"{'http' if door is None else 'https'}://{rest}"
    else:
        raise ValueError(f"an address is unix:/path or tcp:host:port, not {address!r}")
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Host": "localhost"},  # Jupyter refuses every other name
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the caller's timeout rules
    )
    return _Kept(session, base_url, door)


async def _ask(kept: _Kept, path: str, most_bytes: int, headers: dict[str, str] | None) -> Any:
    """Return the JSON that `path` answers with status 200; _UnlikeJupyterError or ValueError when it is not that."""
    async with kept.session.get(kept.url(path), headers=headers, allow_redirects=False) as response:
        if response.status != HTTPStatus.OK:
            raise _UnlikeJupyterError
        body = bytearray()
        while chunk := await response.content.readany():
            body += chunk
            if len(body) > most_bytes:
                raise _UnlikeJupyterError  # leaving the block unread closes the connection
    return json.loads(body)


def _outcome_of(error: OSError) -> ProbeOutcome:
    if error.errno in _NOTHING_LISTENS:
        return ProbeOutcome.REFUSED
    if error.errno in _CUT_OFF:
        return ProbeOutcome.ODD
    # No route, no name, no free file descriptor, a full backlog: not seen to be dead, only not heard.
    return ProbeOutcome.SILENT


def _aware(text: str) -> datetime:
    """Return Jupyter's ISO time in UTC; ValueError when it has no zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC)
