"""A proxy before DynamoDB's double that loses, delays and refuses by seed: real sockets, for real processes.

What is done with a request is drawn when it comes; `Shares()` lets everything through.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from faults_dynamodb.faulty_store import Kind


@dataclass(frozen=True)
class Shares:
    """How many of all requests meet which fault; delays are drawn between these seconds."""

    of: dict[Kind, float] = field(default_factory=dict)
    delay: tuple[float, float] = (0.2, 3.0)


STORMY = Shares({
    Kind.DROPPED: 0.02,
    Kind.REFUSED: 0.02,
    Kind.THROTTLED: 0.02,
    Kind.LOST: 0.03,
    Kind.BROKEN: 0.02,
    Kind.LATE_REQUEST: 0.01,
    Kind.LATE_REPLY: 0.01,
})  # fmt: skip


class LossyProxy(ThreadingHTTPServer):
    """`shares` may be set at any time; `met` counts what happened."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, endpoint: str, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        parts = urlsplit(endpoint)
        assert parts.hostname is not None
        assert parts.port is not None
        self.upstream = (parts.hostname, parts.port)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.shares = Shares()
        self.met: Counter[str] = Counter()
        self._dice = random.Random(seed)  # noqa: S311 - a seed, so that a run can be had again
        self._turn = threading.Lock()

    def draw(self) -> tuple[Kind | None, float]:
        """Return what happens to the request that has come, and for how many seconds."""
        with self._turn:
            at, delay = self._dice.random(), self._dice.uniform(*self.shares.delay)
            for kind, share in self.shares.of.items():
                if at < share:
                    self.met[kind.value] += 1
                    return kind, delay
                at -= share
            self.met["well"] += 1
            return None, 0.0

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections that end are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65_536
    timeout = 300
    server: LossyProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind, delay = self.server.draw()
        if kind is Kind.LATE_REQUEST:
            time.sleep(delay)  # the fault itself
        if kind is Kind.DROPPED:
            self._cut()
        elif kind is Kind.REFUSED:
            self._refuse(500, "InternalServerError")
        elif kind is Kind.THROTTLED:
            self._refuse(400, "ProvisionedThroughputExceededException")
        else:
            self._forward(body, kind, delay)

    def _forward(self, body: bytes, kind: Kind | None, delay: float) -> None:
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        try:
            upstream.request("POST", self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if kind is Kind.LATE_REPLY:
            time.sleep(delay)  # the fault itself
        if kind is Kind.LOST:
            self._cut()
        elif kind is Kind.BROKEN:
            self._refuse(500, "InternalServerError")
        else:
            checksum = {"x-amz-crc32": found} if (found := answer.getheader("x-amz-crc32")) is not None else {}
            self._answer(answer.status, content, checksum)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, status: int, kind: str) -> None:
        document = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "made up"}
        self._answer(status, json.dumps(document).encode(), {})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/x-amz-json-1.0", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing: there are thousands."""


@contextmanager
def lossy(endpoint: str, seed: int) -> Iterator[LossyProxy]:
    """Run a proxy in a thread for as long as the block."""
    proxy = LossyProxy(endpoint, seed)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
