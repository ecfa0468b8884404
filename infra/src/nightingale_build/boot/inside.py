"""The platform's API for what runs in the sandbox: a socket in the run folder, as the platform has one on one machine.

What comes through is asked in this instance's own name, whatever it brings along: a token of anybody else's leads
nowhere from here. Only the operations of an instance about itself are passed on.
"""

from __future__ import annotations

import os
import re
import socket
import socketserver
import stat
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.own_instance import SOCKET_NAME
from nightingale.contract.schemas import MAX_BODY_BYTES, ErrorOut
from nightingale.contract.vocabulary import Permission
from nightingale_build.boot.api import Answer, Api, ApiSilentError

MOST_CONNECTIONS = 8
SILENCE_S = 10.0
_OFFERED = tuple(
    (row.method, re.compile(re.sub(r"{\w+}", "[a-z0-9-]{1,32}", row.path)))
    for row in OPERATIONS
    if row.permission is Permission.INSTANCE_SELF
)


class InsideServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves the sandbox. `serve_forever` is a thread's."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, folder: Path, api: Api, token: str) -> None:
        """Bind the socket in the run folder of the instance whose folder this is. Raises OSError."""
        self.api = api
        self.token = token
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._folder = folder
        super().__init__(str(folder / SOCKET_NAME), _Handler)

    def server_bind(self) -> None:
        """Bind where nobody else may go, then rename into the run folder, which is a person's: no link is followed."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        outer = os.open(self._folder, flags)
        try:
            run = os.open("run", flags, dir_fd=outer)
            try:
                path = self._folder / SOCKET_NAME
                path.unlink(missing_ok=True)
                self.socket.bind(str(path))
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
                owner = os.fstat(run)
                if os.geteuid() == 0:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
                os.rename(SOCKET_NAME, SOCKET_NAME, src_dir_fd=outer, dst_dir_fd=run)
            finally:
                os.close(run)
        finally:
            os.close(outer)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Serve a connection in a thread, once there is room; what is too much waits in the socket's queue."""
        self._room.acquire()
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Give the room back."""
        try:
            super().shutdown_request(request)
        finally:
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = False
    timeout = SILENCE_S
    server: InsideServer

    def handle_one_request(self) -> None:
        """Serve one request; a method that has no handler is refused like a path that is none."""
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.close_connection = True

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

    def address_string(self) -> str:
        """Return a name: a unix socket's client has no address."""
        return "sandbox"

    def log_message(self, *_: object) -> None:
        """Say nothing: what is asked from inside is the platform's to log."""
