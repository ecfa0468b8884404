"""The Chalice host over real HTTP, in a thread of this process, on a platform in memory."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chalicelib import container
from doubles.platforms import FakePlatform
from nightingale_local.api_host import make_server


@dataclass(frozen=True)
class Answer:
    """One answer as it came over the wire; header names in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class ChaliceServer:
    """Where the host listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """Return a connection on which a test may say anything."""
        return socket.create_connection((self.host, self.port), timeout=10)

    def say(self, request: bytes) -> Answer:
        """Send these bytes and return the answer; the connection must be closed by the host or by our half."""
        with self.connect() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    """Return what comes until the connection ends, as one answer."""
    received = b""
    while block := connection.recv(65536):
        received += block
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1.1 "), received[:200]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


@contextmanager
def open_server(platform: FakePlatform) -> Iterator[ChaliceServer]:
    """Serve this platform until the context ends."""
    container.use(platform.dispatcher)
    server = make_server("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        host, port = server.server_address[:2]
        yield ChaliceServer(str(host), int(port))
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
