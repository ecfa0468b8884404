"""EC2's metadata service, version 2: a real server that gives nothing without a token of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TypeVar

from doubles.sts import ROLE, Session

CREDENTIALS = "/latest/meta-data/iam/security-credentials/"
ACTION = "/latest/meta-data/spot/instance-action"


@dataclass
class FakeMetadata:
    """What the service says, by path."""

    session: Session
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every question."""
    has_come: threading.Event = field(default_factory=threading.Event)
    """Set once the notice of an interruption was given."""
    is_down: bool = False
    url: str = ""
    _token: int = 0

    def __post_init__(self) -> None:
        said = {
            "Code": "Success",
            "AccessKeyId": self.session.access_key,
            "SecretAccessKey": self.session.secret_key,
            "Token": self.session.token,
        }
        self.answers |= {CREDENTIALS: f"{ROLE}\n", CREDENTIALS + ROLE: json.dumps(said)}

    def interrupt(self, at: str) -> None:
        """Announce that the machine is taken away then."""
        self.answers[ACTION] = json.dumps({"action": "terminate", "time": at})

    def forget_tokens(self) -> None:
        self._token += 1

    def reply(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        self.asked.append((method, path))
        if self.is_down:
            return 503, ""
        if method == "PUT" and path == "/latest/api/token":
            if not headers.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdecimal():
                return 400, ""
            return 200, f"token-{self._token}"
        if headers.get("x-aws-ec2-metadata-token") != f"token-{self._token}":
            return 401, ""
        if path not in self.answers:
            return 404, ""
        if path == ACTION:
            self.has_come.set()
        return 200, self.answers[path]


class Service(Protocol):
    """A metadata service's inside."""

    url: str

    def reply(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Return status and text; headers are in lower case."""


S = TypeVar("S", bound=Service)


@contextmanager
def running(session: Session) -> Iterator[FakeMetadata]:
    """Run EC2's service on this machine for as long as the block."""
    with serving(FakeMetadata(session)) as fake:
        yield fake


@contextmanager
def serving(fake: S) -> Iterator[S]:
    """Run a service on this machine for as long as the block."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, said = fake.reply(self.command, self.path, headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said.encode())))
            self.end_headers()
            self.wfile.write(said.encode())

        do_GET = do_PUT = answer  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
