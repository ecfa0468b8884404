"""Packages inside: a port on the sandbox's own loopback that leads to the platform's index, for pip and uv.

Neither speaks to a unix socket. The bytes are handed on as they are: what may be had is decided on the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

MOST_CONNECTIONS = 16
"""At a time; what comes on top waits to be let in."""
_LOG = logging.getLogger(__name__)
_QUEUE = 64
_ASKED_S = 2.0
_CHUNK = 1 << 16
_HOST = "127.0.0.1"


def package_folders(home: Path) -> tuple[Path, Path]:
    """Return where Python in kernels and terminals looks before it looks into the image, which is read-only.

    The first is for `pip install --target ~/packages`, the second for `pip install --prefix ~/.local`.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return home / "packages", home / ".local" / "lib" / version / "site-packages"


def package_environment(port: int | None, home: Path) -> Mapping[str, str]:
    """Return what makes pip and uv ask the platform's index, and Python find what they put into the home."""
    if port is None:
        return {}
    index = f"http://{_HOST}:{port}/simple/"
    return {
        "PIP_INDEX_URL": index,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_DEFAULT_TIMEOUT": "600",  # an answer begins once the platform has the whole file
        "PIP_RETRIES": "1",
        "UV_DEFAULT_INDEX": index,
        "UV_HTTP_TIMEOUT": "600",
        "UV_PYTHON_DOWNLOADS": "never",
        "PYTHONPATH": os.pathsep.join(map(str, package_folders(home))),
    }


class Forwarder:
    """Listens from the moment it is made; lets in once `serve` runs."""

    def __init__(self, port: int, target: Path) -> None:
        """Take the port. Raises OSError when another program has it."""
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((_HOST, port))
            self._listener.listen(_QUEUE)
            self._listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        except OSError:
            self._listener.close()
            raise

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        """Let the port go."""
        self._listener.close()

    async def serve(self) -> None:
        """Let in until cancelled."""
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(MOST_CONNECTIONS)
        try:
            while True:
                await room.acquire()
                try:
                    inner, _ = await loop.sock_accept(self._listener)
                except OSError as error:  # it left again, or there is no descriptor to spare
                    _LOG.warning("No connection to packages: %s", error.strerror)
                    room.release()
                    await asyncio.sleep(0.1)
                    continue
                task = loop.create_task(self._forward(inner))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(lambda _: room.release())
        finally:
            self.close()
            for task in self._tasks:
                task.cancel()

    async def _forward(self, inner: socket.socket) -> None:
        try:
            near_in, near_out = await asyncio.open_connection(sock=inner, limit=_CHUNK)
        except OSError:
            inner.close()
            return
        try:
            far_in, far_out = await asyncio.open_unix_connection(str(self._target), limit=_CHUNK)
        except OSError as error:
            near_out.write(_not_there(f"the platform's package index is not there ({error.strerror}): try again"))
            with contextlib.suppress(OSError, TimeoutError):
                await near_out.drain()
                # Closed on unread bytes, the connection would be reset and the answer lost.
                await asyncio.wait_for(near_in.read(_CHUNK), _ASKED_S)
            near_out.close()
            return
        try:
            there, back = (
                asyncio.ensure_future(_copy(near_in, far_out)),
                asyncio.ensure_future(_copy(far_in, near_out)),
            )
            try:
                await back  # the index ends it: an answer may still come when the asking side says no more
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        finally:
            far_out.close()
            near_out.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()


def _not_there(words: str) -> bytes:
    body = f"{words}\n".encode()
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def open_forwarder(port: int | None, target: Path) -> Forwarder | None:
    """Return a forwarder; None where there is no port for it (no sandbox), or another program has it."""
    if port is None:
        return None
    try:
        return Forwarder(port, target)
    except OSError as error:
        _LOG.warning("Packages cannot be installed: port %d: %s", port, error.strerror)
        return None
