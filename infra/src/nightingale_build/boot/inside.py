"""The platform's API for what runs in the sandbox: a socket in the run folder, as the platform has one on one machine.

What comes through is asked in this instance's own name, whatever it brings along: a token of anybody else's leads
nowhere from here. Only the operations of an instance about itself are passed on.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.own_instance import SOCKET_NAME
from nightingale.contract.schemas import MAX_BODY_BYTES, ErrorOut
from nightingale.contract.vocabulary import Permission
from nightingale_build.boot.api import Answer, Api, ApiSilentError
from nightingale_build.boot.sandbox_socket import SandboxHandler, SandboxServer

MOST_CONNECTIONS = 8
SILENCE_S = 10.0
_OFFERED = tuple(
    (row.method, re.compile(re.sub(r"{\w+}", "[a-z0-9-]{1,32}", row.path)))
    for row in OPERATIONS
    if row.permission is Permission.INSTANCE_SELF
)


class InsideServer(SandboxServer):
    """Serves the platform's API to the sandbox. `serve_forever` is a thread's."""

    def __init__(self, folder: Path, api: Api, token: str) -> None:
        """Bind the socket in the run folder of the instance whose folder this is. Raises OSError."""
        self.api = api
        self.token = token
        super().__init__(folder, SOCKET_NAME, _Handler, MOST_CONNECTIONS)


class _Handler(SandboxHandler):
    timeout = SILENCE_S
    server: InsideServer

    def _pass_on(self) -> None:
        path = self.path
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or self.headers.get("Transfer-Encoding") is not None:
            self._refuse(ErrorCode.BAD_REQUEST, "a body's length must be told")
        elif int(length) > MAX_BODY_BYTES:
            self._refuse(ErrorCode.BODY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
        elif not any(self.command == method and offered.fullmatch(path) for method, offered in _OFFERED):
            self._refuse(ErrorCode.NOT_FOUND, "nothing is offered there")
        else:
            body = self.rfile.read(int(length)) if int(length) else None
            try:
                answer = self.server.api.ask(self.command, path, body, self.server.token)
            except ApiSilentError as error:
                self._refuse(ErrorCode.UNAVAILABLE, str(error))
            else:
                self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass_on  # noqa: N815 - names of http.server

    def _refuse(self, code: ErrorCode, words: str) -> None:
        self.close_connection = True  # a body may lie unread
        said = ErrorOut(code=code.code, message=words, next_step="Try again in a few seconds.")
        self._send(Answer(code.status, msgspec.json.encode(said)))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
