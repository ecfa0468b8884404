"""The index proxy for machines in a cloud: one TLS port in their network, in place of a socket for each sandbox.

    on the machine   packages.sock ── its keeper, which holds the instance's token
    here             :3142 TLS ── whose token? ── rules ── page or file ── record ── answer

A process of its own beside nothing else: what reads strangers' pages has no store, no door of a machine, and a token
that may ask for rules and write records. `python -m nightingale_local.index_service CONFIG`, as infra/control-plane/aws
runs it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import ssl
import sys
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from nightingale.contract.door_tls import shown_context
from nightingale.contract.machines import Door
from nightingale_local.index_callers import Caller
from nightingale_local.index_platform import IndexPlatform, PlatformSilentError, Whose, tell_on
from nightingale_local.index_proxy import IndexProxy
from nightingale_local.index_upstream import DEFAULT_INDEX, Upstream

_LOG = logging.getLogger(__name__)
_NO_ACCESS_LOG = logging.getLogger(f"{__name__}.access")
_NO_ACCESS_LOG.setLevel(logging.CRITICAL)  # what is served and refused is recorded by the platform

MOST_CONNECTIONS = 1024
MOST_AT_ONCE = 24
"""Requests of one instance that are being answered."""
MOST_CALLERS = 4096
"""Instances that are remembered with what they asked last."""
HANDSHAKE_S = 5.0
_TOKEN = re.compile(r"Bearer (ni_[a-z0-9_-]{1,80}_[0-9a-f]{64})")
_CALLER = web.RequestKey("caller", Caller)


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`CONFIG`, JSON. `pair_file` holds certificate and key, as JSON of a Door; the token's file is read each time."""

    api_url: str
    token_file: str
    pair_file: str
    folder: str
    listen_host: str = "0.0.0.0"  # noqa: S104 - the network decides who comes near, and TLS and tokens who is answered
    listen_port: int = 3142
    index: str = DEFAULT_INDEX


class IndexGate:
    """Lets in whoever brings an instance's token; everything after that is the proxy's."""

    def __init__(
        self, platform: IndexPlatform, upstream: Upstream, index: str = DEFAULT_INDEX, most: int = MOST_CALLERS
    ) -> None:
        """Take what is asked, and how many instances are remembered."""
        self._most = most
        self._platform = platform
        self._proxy = IndexProxy(platform, upstream, _caller_of, index)
        self._callers: dict[Whose, Caller] = {}
        self.answering: dict[Whose, int] = {}
        """How many requests of each are being answered."""
        self._manager: web.Server = web.Server(self.answer)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to one request."""
        told = _TOKEN.fullmatch(request.headers.get("Authorization", ""))
        try:
            whose = await self._platform.whose(told[1]) if told is not None else None
        except PlatformSilentError as error:
            _LOG.warning("the platform cannot be asked whose a token is: %s", error)
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "the platform cannot be asked now: try again in a minute")
        if whose is None:
            return _refused(HTTPStatus.UNAUTHORIZED, "this index answers to instances that are up, and to nobody else")
        if self.answering.get(whose, 0) >= MOST_AT_ONCE:
            return _refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests at the same moment: wait a few seconds")
        request[_CALLER] = self.caller(whose)
        self.answering[whose] = self.answering.get(whose, 0) + 1
        try:
            return await self._proxy.answer(request)
        finally:
            self.answering[whose] -= 1

    def caller(self, whose: Whose) -> Caller:
        """Return what is known of an instance; of too many, those that ask nothing now are forgotten."""
        if whose not in self._callers and len(self._callers) >= self._most:
            for one in [one for one in self._callers if not self.answering.get(one)]:
                del self._callers[one]
                self.answering.pop(one, None)
                self._platform.forget(one)
        return self._callers.setdefault(whose, Caller(whose))

    async def listen(self, host: str, port: int, context: ssl.SSLContext) -> asyncio.Server:
        """Return the server, which answers from now on. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: _Connection(self._manager, loop),
            host,
            port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S,
            backlog=MOST_CONNECTIONS,
        )

    async def close(self) -> None:
        """End what is open."""
        await self._manager.shutdown(1)


class _Connection(RequestHandler):
    """One connection of a machine."""

    __slots__ = ("_cap",)

    def __init__(self, manager: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(manager, loop=loop, keepalive_timeout=15, access_log=_NO_ACCESS_LOG, lingering_time=1)
        self._cap = manager

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cut off one too many."""
        super().connection_made(transport)
        if len(self._cap.connections) > MOST_CONNECTIONS and isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _caller_of(request: web.BaseRequest) -> Caller:
    caller: Caller = request[_CALLER]
    return caller


def _refused(status: HTTPStatus, words: str) -> web.Response:
    answer = web.Response(status=status, text=f"{words}\n", headers={"Cache-Control": "no-store"})
    answer.force_close()
    return answer


async def run(config: ServiceConfig, context: ssl.SSLContext) -> None:
    """Serve until the process is told to end. Raises OSError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))
        inside = await stack.enter_async_context(aiohttp.ClientSession())
        platform = IndexPlatform(config.api_url, Path(config.token_file), inside)
        gate = IndexGate(platform, Upstream(Path(config.folder), outside), config.index)
        server = await gate.listen(config.listen_host, config.listen_port, context)
        telling = asyncio.create_task(tell_on(platform))
        _LOG.info("packages are served at port %d", config.listen_port)
        await stop.wait()
        server.close()
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        await gate.close()
        await platform.tell()


def main(arguments: list[str]) -> int:
    """Serve as the file named says; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if len(arguments) != 1:
        sys.stderr.write("error: say the configuration's file\nhint: index_service CONFIG\n")
        return 2
    try:
        config = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=ServiceConfig)
        pair = msgspec.json.decode(Path(config.pair_file).read_bytes(), type=Door)
        asyncio.run(run(config, shown_context(pair)))
    except (OSError, ValueError, msgspec.DecodeError) as error:
        sys.stderr.write(f"error: packages are not served: {error}\nhint: look at {arguments[0]} and what it names\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
