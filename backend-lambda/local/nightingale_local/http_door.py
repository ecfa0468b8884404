"""How a host on one machine reads requests: bounded, answering to its own names only, refusing in one shape.

Whatever is refused before it reaches dispatch is refused in the same shape. It answers only to its own names: a web
page in somebody's browser may let its own name lead to this machine (DNS rebinding), and would then be of one origin
with this server. No answer allows another origin (CORS), and no request of one is answered.

Neither Chalice nor Azure Functions is known here: `_answer` is a host's own.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from nightingale.adapters.system_ids import SystemIds
from nightingale.app.dispatch import MAX_HEADER_BYTES, MAX_HEADERS, MAX_PATH_BYTES, MAX_QUERY_BYTES, refused
from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import MAX_BODY_BYTES
from nightingale.hosting.answers import SEE, headers_of, methods_at
from nightingale_local.metrics import CONTENT_TYPE
from nightingale_local.observing import MetricsPage

_LOG = logging.getLogger(__name__)
_IDS = SystemIds()
_NOT_IMPLEMENTED = 501
_METRICS = "/metrics"
OWN_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 - names to tell apart, nothing is bound
_DISCARD_BYTES = 4 * MAX_BODY_BYTES
_DISCARD_SECONDS = 2.0
_LONGEST_TURN_S = 0.05


class Turns:
    """Reads answered one after the other, as long as none takes long.

    Threads that run Python at once run it by turns anyway, and each word with the disk gives the turn away: eight
    connections cost 2.3 ms of CPU a read so, and 1.7 ms like this.
    """

    def __init__(self) -> None:
        """Begin with nobody's turn."""
        self._lock = threading.Lock()
        self._began = 0.0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Take a turn; beside whoever has had theirs for too long, none is taken and none is waited for."""
        left = self._began + _LONGEST_TURN_S - time.monotonic()
        has_turn = self._lock.acquire(timeout=left) if left > 0 else self._lock.acquire(blocking=False)
        if has_turn:
            self._began = time.monotonic()
        try:
            yield
        finally:
            if has_turn:
                self._lock.release()


class ApiServer(ThreadingHTTPServer):
    """A thread for each connection; bound before it serves."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True
    own_names: frozenset[str] = OWN_NAMES
    metrics: MetricsPage | None = None
    reads: Turns

    def server_bind(self) -> None:
        """Bind, and begin with nobody's turn."""
        self.reads = Turns()
        super().server_bind()

    def know(self, host: str, metrics: MetricsPage | None) -> None:
        """Answer to the name that it is bound to as well, and show these metrics."""
        self.metrics = metrics
        if host not in ANY_ADDRESS:
            self.own_names = OWN_NAMES | {f"[{host}]" if ":" in host else host.lower()}

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the standard library's signature
        """Log what ended a connection: a client that left is no fault of ours."""
        error = sys.exc_info()[1]
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        _LOG.log(level, "a connection ended badly", exc_info=error)


class Door(BaseHTTPRequestHandler):
    """One connection. 44 ms an answer without the first two lines, 1 ms with them: delayed acknowledgements."""

    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a silent connection is kept
    server_version = "nightingale"
    sys_version = ""

    def _generic_handle(self) -> None:
        path, _, query = self.path.partition("?")
        if why := self._why_not():
            self._refuse(ErrorCode.FORBIDDEN, why)
            return
        if len(path) > MAX_PATH_BYTES or len(query) > MAX_QUERY_BYTES:
            self._refuse(ErrorCode.BAD_REQUEST, "the path or its query is too long")
            return
        if path == _METRICS and (page := self._metrics()) is not None and self._is_near():
            self._show_metrics(page)
            return
        allowed = self._allowed(path)
        lengths = self.headers.get_all("content-length", ["0"])
        if self.command not in allowed:
            self._refuse_path(allowed)
        elif self.headers.get("transfer-encoding") is not None:
            self._refuse(ErrorCode.BAD_REQUEST, "a body needs a Content-Length, not a Transfer-Encoding")
        elif len(lengths) != 1 or not re.fullmatch(r"[0-9]{1,15}", lengths[0]):
            self._refuse(ErrorCode.BAD_REQUEST, "the Content-Length is not one whole number")
        elif int(lengths[0]) > MAX_BODY_BYTES:
            self._refuse(ErrorCode.BODY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
        elif self.command == "GET":
            with self._turn():
                self._answer(path, query)
            self.wfile.flush()
        else:
            self._answer(path, query)
            self.wfile.flush()

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        turns: Turns | None = getattr(self.server, "reads", None)
        return turns.one() if turns is not None else contextlib.nullcontext()

    def _allowed(self, path: str) -> Sequence[str]:
        """Return the methods that this server answers at the path."""
        return methods_at(path)

    def _answer(self, path: str, query: str) -> None:
        """Answer a request that may be read."""
        raise NotImplementedError

    def _send_http_response(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send an answer; length and content type go first."""
        first = {"Content-Length": str(len(body)), "Content-Type": headers.get("Content-Type", "application/json")}
        self.send_response(status)
        for name, value in {**first, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def parse_request(self) -> bool:
        """Read the request's head; refuse one with too many headers or too long ones."""
        if not super().parse_request():
            return False
        if len(self.headers) > MAX_HEADERS or sum(len(n) + len(v) for n, v in self.headers.items()) > MAX_HEADER_BYTES:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too many or too long")
            return False
        return True

    def _why_not(self) -> str:
        """Return why a request to this name, or from this web page, is not answered; empty when it is."""
        hosts = self.headers.get_all("host", [])
        if len(hosts) != 1 or _name_of(hosts[0]) not in self._own_names():
            return "this server answers to its own address only, and the request has another Host"
        if any(_name_of(origin.partition("://")[2]) not in self._own_names() for origin in self._origins()):
            return "this server answers to no web page of another origin"
        return ""

    def _own_names(self) -> frozenset[str]:
        names: frozenset[str] = getattr(self.server, "own_names", OWN_NAMES)
        return names

    def _metrics(self) -> MetricsPage | None:
        page: MetricsPage | None = getattr(self.server, "metrics", None)
        return page

    def _is_near(self) -> bool:
        """Return whether the caller is on this machine: to all others the page of metrics is not there."""
        return ip_address(self.client_address[0]).is_loopback

    def _show_metrics(self, page: MetricsPage) -> None:
        if self.command != "GET":
            self._refuse_method(["GET"])
            return
        self._send_http_response(
            HTTPStatus.OK, {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}, page.text()
        )
        self.wfile.flush()

    def _origins(self) -> list[str]:
        return [str(origin) for origin in self.headers.get_all("origin", [])]

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = _generic_handle  # noqa: N815 - names of the standard library's handler

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the standard library's signature
        """Answer what the standard library refuses by itself: no HTTP, a line too long, a method it never heard of."""
        self.request_version = self.protocol_version  # it had not come so far, and an answer needs its first line
        if code == _NOT_IMPLEMENTED:
            path = self.path.partition("?")[0]
            self._refuse_method(self._allowed(path))
            return
        self._refuse(ErrorCode.BAD_REQUEST, f"this is no request that can be read: {message or code}")

    def _refuse_path(self, allowed: Sequence[str]) -> None:
        """Refuse what no operation answers: there is no such path, or not by this method."""
        if allowed:
            self._refuse_method(allowed)
        else:
            self._refuse(ErrorCode.NOT_FOUND, "no such path")

    def _refuse_method(self, allowed: Sequence[str]) -> None:
        words = ", ".join(allowed) or "nothing"
        self._refuse(ErrorCode.METHOD_NOT_ALLOWED, f"only {words} is allowed here", Allow=words)

    def _refuse(self, code: ErrorCode, message: str, **more: str) -> None:
        """Refuse and end the connection: a body that may follow is not read as the next request."""
        answer = refused(code, message, SEE, _IDS.new("r"))
        _LOG.info(
            "request refused", extra={"status": answer.status, "code": code.code, "request_id": answer.request_id}
        )
        self._send_last(answer.status, headers_of(answer) | more, answer.body)

    def _send_last(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Answer without having read the request's body, and end the connection."""
        self.close_connection = True
        shown = b"" if self.command == "HEAD" else body
        self._send_http_response(status, {**headers, "Connection": "close"}, shown)
        self._discard()

    def _discard(self) -> None:
        """Read on for a moment: closing on unread bytes resets the connection, and the client never sees the answer."""
        left, until = _DISCARD_BYTES, time.monotonic() + _DISCARD_SECONDS
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_DISCARD_SECONDS / 2)
            while left > 0 and time.monotonic() < until and (data := self.rfile.read1(64 * 1024)):
                left -= len(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Log requests at debug level: dispatch logs what matters, with request ids."""
        _LOG.debug(format, *args)


def _name_of(host: str) -> str:
    """Return a Host without its port, in small letters: who forwards a port may well call it by another number."""
    return re.sub(r":[0-9]{1,5}$", "", host.strip().lower())


def matches(template: str, path: str) -> bool:
    """Return whether the path is one of an operation's."""
    wanted, given = template.strip("/").split("/"), path.strip("/").split("/")
    return len(wanted) == len(given) and all(
        part == other or part.startswith("{") for part, other in zip(wanted, given, strict=True)
    )
