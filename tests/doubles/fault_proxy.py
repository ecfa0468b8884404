"""A proxy between an AWS client and a stand-in of AWS: it answers chosen calls with AWS's errors, or loses replies.

It also keeps what EC2 promises and moto's does not: a call repeated with the same client token answers as the first.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "expect"})


class Lost(Enum):
    """Which half of a call gets lost."""

    REPLY = "reply"  # what was asked is done, and nobody hears of it


@dataclass(frozen=True)
class Refusal:
    """An error as AWS answers it."""

    code: str
    status: int
    message: str = "made up"


@dataclass(frozen=True)
class Call:
    """One call, as the client made it."""

    service: str
    action: str
    token: str = ""


@dataclass
class _Fault:
    service: str
    action: str
    what: Refusal | Lost
    first: int
    last: float

    def hits(self, call: Call, number: int) -> bool:
        return (self.service, self.action) == (call.service, call.action) and self.first <= number <= self.last


@dataclass
class FaultProxy:
    """What goes wrong, and what was called."""

    upstream: str
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _first: dict[tuple[str, str], float] = field(default_factory=dict)
    _counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _tokens: dict[Call, _Reply] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def fail(
        self, service: str, action: str, what: Refusal | Lost, *, first: int = 1, times: int | None = None
    ) -> None:
        """Let the calls of this action fail from the `first` one on (counted from now), so many times (None: all)."""
        seen = self._counted[service, action]
        last = float("inf") if times is None else seen + first + times - 1
        self._faults.append(_Fault(service, action, what, seen + first, last))

    def heal(self) -> None:
        """Let everything work again."""
        self._faults.clear()

    def count(self, service: str, action: str) -> int:
        """Return how often this action was called."""
        return self._counted[service, action]

    def at(self, service: str, action: str) -> float:
        """Return when (monotonic seconds) this action was called first."""
        return self._first[service, action]

    def _note(self, call: Call) -> Refusal | Lost | None:
        with self._turn:
            self.calls.append(call)
            self._counted[call.service, call.action] += 1
            self._first.setdefault((call.service, call.action), time.monotonic())
            number = self._counted[call.service, call.action]
            return next((fault.what for fault in self._faults if fault.hits(call, number)), None)

    def _reply(self, call: Call, handler: BaseHTTPRequestHandler, body: bytes) -> _Reply:
        if not call.token:
            return _forward(self.upstream, handler, body)
        with self._turn:
            if call not in self._tokens:
                reply = _forward(self.upstream, handler, body)
                if reply.status >= http.client.BAD_REQUEST:
                    return reply
                self._tokens[call] = reply
            return self._tokens[call]


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def call_of(method: str, path: str, headers: Any, body: bytes) -> Call:
    """Return which call a request is: by form field, by target header, or S3's by method and path."""
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", headers.get("Authorization", ""))
    service = scope[1] if scope else "none"
    if target := headers.get("X-Amz-Target"):
        return Call(service, target.rpartition(".")[2])
    if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(body.decode())
        return Call(service, form.get("Action", [""])[0], form.get("ClientToken", [""])[0])
    return Call(service, f"{method} {urlsplit(path).path}")


def _forward(upstream: str, handler: BaseHTTPRequestHandler, body: bytes) -> _Reply:
    host = urlsplit(upstream).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP}
        connection.request(handler.command, handler.path, body, {**headers, "Host": host, "Connection": "close"})
        answer = connection.getresponse()
        kept = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in _HOP)
        return _Reply(answer.status, kept, answer.read())
    finally:
        connection.close()


def refused(call: Call, refusal: Refusal) -> _Reply:
    """Return the refusal in the words of the service's protocol."""
    if call.service == "ec2":
        text = (
            f"<Response><Errors><Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error></Errors>"
            "<RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
        )
        kind = "text/xml"
    elif call.service == "s3":
        text = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
        kind = "application/xml"
    else:
        text = json.dumps({"__type": refusal.code, "message": refusal.message})
        kind = "application/x-amz-json-1.1"
    return _Reply(refusal.status, (("Content-Type", kind),), text.encode())


@contextmanager
def between(upstream: str) -> Iterator[FaultProxy]:
    """Run the proxy in front of `upstream` for as long as the block; its address is `url`."""
    proxy = FaultProxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 120

        def _answer(self) -> None:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(http.client.CONTINUE)
                self.end_headers()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            call = call_of(self.command, self.path, self.headers, body)
            fault = proxy._note(call)
            reply = refused(call, fault) if isinstance(fault, Refusal) else proxy._reply(call, self, body)
            if fault is Lost.REPLY:
                self.close_connection = True
                return
            self.send_response_only(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the standard library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
            del format, args

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that is killed in the middle is no error of the proxy's."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
