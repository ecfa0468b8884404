"""The door of a machine: TLS from outside, the sandbox's socket inside. It passes bytes on and looks at none.

    gateway, watcher ── TLS, this start's pair on both sides ──▶ :8888 ──▶ DIR/instances/<id>/run/jupyter.sock

Who does not show the pair gets no byte through. The socket lies in a folder that belongs to the instance's owner, who
may put anything there: all it gets is what the owner's own Jupyter would have got.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

MOST_CONNECTIONS = 256
HANDSHAKE_S = 5.0
CONNECT_S = 5.0
_AT_ONCE = 65_536


class DoorKeeper:
    """Listens; `serve` ends when it is cancelled."""

    def __init__(self, target: Path, context: ssl.SSLContext) -> None:
        """Take the socket to pass on to, and what to show and to ask for."""
        self._target = target
        self._context = context
        self._open = 0

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Return the server, which lets in from now on. Raises OSError."""
        return await asyncio.start_server(
            self._serve, host, port, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S, backlog=MOST_CONNECTIONS
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        inside: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                answers, inside = await asyncio.open_unix_connection(str(self._target))
            await _relay((reader, inside), (answers, writer))
        except (OSError, TimeoutError):  # nothing listens inside, or it broke off: the other side sees it end
            pass
        finally:
            self._open -= 1
            for one in (writer, inside):
                if one is not None:
                    with contextlib.suppress(AttributeError):  # CPython 3.11: of a TLS transport that is closed already
                        one.transport.abort()


async def _relay(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Pass on in both directions until one side has said all that it will."""
    tasks = [asyncio.create_task(_pass_on(source, sink)) for source, sink in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_AT_ONCE):
        sink.write(data)
        await sink.drain()
    with contextlib.suppress(OSError, RuntimeError):
        sink.close()
        await sink.wait_closed()  # what was written is on its way before anything is cut off
