"""The Chalice app on its own threaded local server, tuned: no delayed ACKs, buffered writes, bounded bodies."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from chalice.config import Config
from chalice.local import ChaliceRequestHandler, LocalDevServer, LocalGatewayException, ThreadedHTTPServer

import app as lambda_app
from chalicelib import container
from nightingale.app.dispatch import Response, refused
from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.schemas import MAX_BODY_BYTES
from nightingale_local.container import local_platform
from nightingale_local.folders import Folders, Ready, Settings, write_json

_LOG = logging.getLogger(__name__)


class _Server(ThreadedHTTPServer):  # type: ignore[misc] # chalice has no types
    request_queue_size = 128
    allow_reuse_address = True


class _Handler(ChaliceRequestHandler):  # type: ignore[misc] # chalice has no types
    """FACTS of Chalice's local server: 44 ms an answer without the first two lines, 1 ms with them."""

    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    timeout = 60  # seconds that a silent connection is kept
    server_version = "nightingale"
    sys_version = ""

    def _parse_payload(self) -> tuple[Any, bytes | None]:
        length = self.headers.get("content-length", "0")
        if self.headers.get("transfer-encoding") is not None or not length.isdecimal():
            self.close_connection = True
            raise _Unreadable(ErrorCode.BAD_REQUEST, "a body needs a Content-Length")
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise _Unreadable(ErrorCode.BODY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
        payload: tuple[Any, bytes | None] = super()._parse_payload()
        return payload

    def _generic_handle(self) -> None:
        try:
            super()._generic_handle()
        except _Unreadable as error:
            self._refuse(refused(error.code, str(error), "See /openapi.json.", ""))
        self.wfile.flush()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = _generic_handle  # noqa: N815 - names of the standard library's handler

    def _send_error_response(self, error: LocalGatewayException) -> None:  # noqa: ARG002 - Chalice's own words are not used
        """Answer what Chalice's gateway refuses by itself (unknown paths) in the shape of our own refusals."""
        known = {row.method for row in OPERATIONS if _matches(row.path, self.path.partition("?")[0])}
        if known and self.command not in known:
            message = f"{self.command} is not among {', '.join(sorted(known))} here"
            self._refuse(refused(ErrorCode.METHOD_NOT_ALLOWED, message, "See /openapi.json.", ""))
            return
        self._refuse(refused(ErrorCode.NOT_FOUND, "no such path", "See /openapi.json for what there is.", ""))

    def _refuse(self, answer: Response) -> None:
        self._send_http_response(answer.status, {"Content-Type": "application/json"}, answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Log requests at debug level: dispatch logs what matters, with request ids."""
        _LOG.debug(format, *args)


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def _matches(template: str, path: str) -> bool:
    wanted, given = template.strip("/").split("/"), path.strip("/").split("/")
    return len(wanted) == len(given) and all(
        part == other or part.startswith("{") for part, other in zip(wanted, given, strict=True)
    )


def serve(folders: Folders, settings: Settings) -> None:
    """Serve the API until the process is ended."""
    platform = local_platform(folders)
    container.use(platform.dispatcher())
    platform.adapters.machines["local"].sandbox()  # tried once now, not in the first launch
    try:
        server = LocalDevServer(
            lambda_app.app, Config(), settings.host, settings.port, handler_cls=_Handler, server_cls=_Server
        ).server
    except OSError as error:
        raise SystemExit(f"port {settings.port} cannot be had: {error.strerror}") from error
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    write_json(folders.ready("api"), Ready(pid=os.getpid(), host=settings.host, port=settings.port))
    server.serve_forever(poll_interval=0.5)
