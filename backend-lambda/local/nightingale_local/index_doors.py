"""The index proxy's doors into the sandboxes: a socket in the run folder of each instance that is up.

Through which door a request came says whose it is; nothing in the request does. As in `instance_doors`, one look at
the folder of announcements four times a second tells whether anything came or went.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from nightingale.contract.build import LaunchSpec
from nightingale.contract.packages import SOCKET_NAME
from nightingale_local.door_sockets import announced, bind
from nightingale_local.folders import Folders, read_json
from nightingale_local.index_callers import Caller
from nightingale_local.index_platform import Whose

_LOG = logging.getLogger(__name__)
_NO_ACCESS_LOG = logging.getLogger(f"{__name__}.access")
_NO_ACCESS_LOG.setLevel(logging.CRITICAL)  # what is served and refused is recorded by the platform

LOOK_S = 0.25
ROUND_TICKS = 120
"""Looks until every door has been looked at once more: half a minute."""
MOST_CONNECTIONS = 24
"""Of one instance at a time: pip takes a few, uv up to fifty, and waits for them. One more is cut off."""

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Door(Caller):
    """An open door and what comes through it."""

    inode: tuple[int, int] = (0, 0)
    server: asyncio.Server | None = None
    connections: int = 0


class _Connection(RequestHandler):
    """One connection through a door."""

    __slots__ = ("door",)

    def __init__(self, manager: web.Server, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(manager, loop=loop, keepalive_timeout=15, access_log=_NO_ACCESS_LOG, lingering_time=1)
        self.door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cut off one too many."""
        super().connection_made(transport)
        self.door.connections += 1
        if self.door.connections > MOST_CONNECTIONS and isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room."""
        self.door.connections -= 1
        super().connection_lost(exc)


def door_of(request: web.BaseRequest) -> Door:
    """Return the door that a request came through."""
    protocol: Any = request.protocol
    door: Door = protocol.door
    return door


class IndexDoors:
    """Opens doors for what comes up, shuts those of what goes. Belongs to one event loop."""

    def __init__(self, folders: Folders, answer: Answer, forget: Callable[[Whose], None]) -> None:
        """Take the data folder, what answers, and who is told of each instance that went."""
        self._instances = folders.root / "instances"
        self._up = folders.up
        self._manager: web.Server = web.Server(answer)
        self._forget = forget
        self._doors: dict[str, Door] = {}
        self._seen: dict[str, int] = {}
        self._seen_at = -1
        self._is_settled = False
        self._tick = 0

    async def run(self) -> None:
        """Look without end; ends by being cancelled."""
        while True:
            try:
                await self.look()
            except OSError as error:
                _LOG.warning("instances cannot be looked at", extra={"why": str(error)})
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Shut every door, and end what is open."""
        for name in list(self._doors):
            self._shut(name)
        await self._manager.shutdown(1)

    async def look(self) -> None:
        """Open the doors of what came up, shut those of what went, and look at some of the others."""
        try:
            at = self._up.stat().st_mtime_ns
        except FileNotFoundError:
            at = 0
        # Once more after a change: what happens in the same instant as a look leaves the folder's time as it was.
        if at != self._seen_at or not self._is_settled:
            self._is_settled = at == self._seen_at
            self._seen_at = at
            found = announced(self._up)
            for name in self._seen.keys() - found.keys():
                self._shut(name)
            for name in [name for name, began in found.items() if self._seen.get(name) != began]:
                await self._open(name)
            self._seen = found
        self._tick += 1
        for name in sorted(self._seen)[self._tick % ROUND_TICKS :: ROUND_TICKS]:
            if not self._stands(name):
                await self._open(name)

    def _stands(self, name: str) -> bool:
        """Return whether the socket is where it was put."""
        door = self._doors.get(name)
        with contextlib.suppress(OSError):
            found = (self._instances / name / "run" / SOCKET_NAME).lstat()
            return door is not None and (found.st_dev, found.st_ino) == door.inode
        return False

    async def _open(self, name: str) -> None:
        self._shut(name)
        folder = self._instances / name
        spec = read_json(folder / "launch.json", LaunchSpec)
        if spec is None or spec.instance_id != name:
            return
        try:
            listener, inode = bind(folder, SOCKET_NAME)
        except OSError as error:
            _LOG.info("no packages for an instance", extra={"instance": name, "why": str(error)})
            return
        self._doors[name] = await self._serve(listener, Door(Whose(spec.project, name), inode))

    async def _serve(self, listener: socket.socket, door: Door) -> Door:
        loop = asyncio.get_running_loop()
        door.server = await loop.create_unix_server(lambda: _Connection(self._manager, door, loop), sock=listener)
        return door

    def _shut(self, name: str) -> None:
        door = self._doors.pop(name, None)
        if door is not None and door.server is not None:
            door.server.close()
            self._forget(door.whose)
