"""The gateway's API as a real server whose answers a test sets."""

from __future__ import annotations

import contextlib
import operator
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.machines import Door
from nightingale.contract.operations import BY_NAME, Operation
from nightingale.contract.schemas import ChannelOut, Empty, ErrorOut, GatewayKeyOut

PATIENCE = 15.0  # seconds for an event that must come
TOKEN = "gateway-token-of-the-test"
GATEWAY_OPERATIONS = ("identify_key", "open_channel", "renew_channel", "close_channel", "record_refusal")


class Diary:
    """A list that can be waited on."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = threading.Condition()

    def add(self, entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self.entries.clear()

    def wait_for(self, matches: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
        """Return the first entry that matches, waiting for it."""
        with self._changed:
            self._changed.wait_for(lambda: any(map(matches, self.entries)), seconds)
            found = [entry for entry in self.entries if matches(entry)]
        assert found, f"it never came; what came: {self.entries}"
        return found[0]


class _PlatformServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # five by default: the rest of a burst would wait for a second


@dataclass
class FakeApi:
    """The five operations of the gateway, over real HTTP, checked against the contract."""

    socket_path: str
    keys: dict[str, str] = field(default_factory=dict)
    refused_targets: dict[str, ErrorOut] = field(default_factory=dict)
    refused_renewal: ErrorCode | None = None
    is_silent: bool = False
    token: str = TOKEN
    lease_seconds: int = 30
    byte_limit: int | None = None
    address: str | None = None
    """Where channels lead to in place of the socket, with what `door` says is shown there."""
    door: Door | None = None
    calls: Diary = field(default_factory=Diary)
    opened: int = 0
    open_channels: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._voice = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = api.call(self.command, self.path, self.headers["Authorization"], body)
                if api.is_silent:
                    api._voice.wait(PATIENCE)
                content = msgspec.json.encode(answer)
                with contextlib.suppress(OSError):  # the gateway may be gone by now
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            do_POST = do_PUT = answer  # noqa: N815 - names of http.server

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self._server = _PlatformServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def reset(self) -> None:
        """Forget the test before."""
        self.refused_targets.clear()
        self.refused_renewal, self.byte_limit = None, None
        self.address = self.door = None
        self.token = TOKEN
        self.speak()
        self.calls.clear()

    def speak(self) -> None:
        """Be silent no longer: what was asked meanwhile is answered too."""
        self.is_silent = False
        self._voice.set()
        self._voice = threading.Event()

    def settle(self) -> None:
        """Wait until every channel has told its last word, so that none of them speaks in the next test."""
        for channel in tuple(self.open_channels):
            self.calls.wait_for(partial(operator.eq, ("settled", channel)))

    def stop(self) -> None:
        """Answer no more."""
        self._voice.set()
        self._server.shutdown()
        self._server.server_close()

    def call(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Any]:
        """Return status and body of the answer, as the platform would."""
        for name in GATEWAY_OPERATIONS:
            operation = BY_NAME[name]
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path)
            if method == operation.method and (match := re.fullmatch(pattern, path)):
                if authorization != f"Bearer {self.token}":
                    return _refusal(ErrorCode.UNAUTHENTICATED)
                return self._answer(operation, body, match.groupdict())
        return _refusal(ErrorCode.NOT_FOUND)

    def _answer(self, operation: Operation, body: bytes, path: dict[str, str]) -> tuple[int, Any]:
        assert operation.request is not None
        try:
            request = msgspec.json.decode(body, type=operation.request)
        except msgspec.ValidationError as error:
            self.calls.add(("invalid", str(error)))
            return _refusal(ErrorCode.INVALID)
        self.calls.add((operation.name, request))
        if operation.name == "identify_key":
            person = self.keys.get(request.public_key)
            return (200, GatewayKeyOut(person=person)) if person else _refusal(ErrorCode.NOT_FOUND)
        if operation.name == "open_channel":
            if request.target in self.refused_targets:
                return ErrorCode.FORBIDDEN.status, self.refused_targets[request.target]
            self.opened += 1
            self.open_channels.add(f"c-{self.opened}")
            return operation.status, ChannelOut(
                channel_id=f"c-{self.opened}",
                instance_id="i-aaaaaaaaaa",
                lease_seconds=self.lease_seconds,
                socket=self.socket_path if self.address is None else None,
                address=self.address,
                door_certificate=self.door.certificate if self.door is not None else None,
                door_key=self.door.key if self.door is not None else None,
                byte_limit=self.byte_limit,
            )
        if operation.name == "renew_channel" and self.refused_renewal is not None:
            return _refusal(self.refused_renewal)
        if operation.name == "close_channel":
            self.open_channels.discard(path["channel"])
            self.calls.add(("settled", path["channel"]))
        return operation.status, Empty()

    def wait_for(self, name: str, matches: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the body of the first such call."""
        return self.calls.wait_for(lambda call: call[0] == name and matches(call[1]))[1]

    def wait_for_refusal(self, words: str) -> Any:
        """Return the recorded refusal that contains these words."""
        return self.wait_for("record_refusal", lambda refusal: words in refusal.what)

    def bodies(self, name: str) -> list[Any]:
        """Return the bodies of every call of an operation."""
        return [body for called, body in self.calls.entries if called == name]


def _refusal(code: ErrorCode) -> tuple[int, ErrorOut]:
    return code.status, ErrorOut(code=code.code, message="No.", next_step="Ask someone.")
