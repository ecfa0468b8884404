"""CodeBuild's own protocol over HTTP, in front of the builds in memory: for programs that ask it by boto3."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped] # no types

from doubles.aws import FakeCodeBuild


def _plain(found: Any) -> Any:
    if isinstance(found, datetime):
        return found.timestamp()
    raise TypeError(type(found).__name__)


@contextmanager
def serving(codebuild: FakeCodeBuild, started: Callable[[str], None] | None = None) -> Iterator[str]:
    """Serve for as long as the block; yield the endpoint. `started` is told CodeBuild's id of each new build."""
    turn = threading.Lock()

    def answer(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        call = getattr(codebuild, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())
        with turn:
            before = set(codebuild.builds)
            found: dict[str, Any] = call(**request)
        for codebuild_id in set(codebuild.builds) - before:
            if started is not None:
                started(codebuild_id)
        return found

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            status = 200
            try:
                found = answer(self.headers["X-Amz-Target"].rpartition(".")[2], request)
            except ClientError as error:
                status = 400
                found = {"__type": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
            body = json.dumps(found, default=_plain).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
