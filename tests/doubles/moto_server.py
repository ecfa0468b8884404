"""What moto's servers have in common: how one is served, and how a test runs one in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def serve_forever(application: Callable[..., Any], host: str, port: int) -> None:
    """Serve a WSGI application until killed; the first line on standard output is the endpoint's URL."""
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - who starts this needs no moto

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65_536
        timeout = 300

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            del code, size  # a line for each request would fill the pipe

        def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
            del format, args  # connections that end are no errors here

    server = make_server(host, port, application, threaded=True, request_handler=Handler)
    print(f"http://{host}:{server.server_port}", flush=True)  # noqa: T201 - what the caller waits for
    server.serve_forever()


@contextmanager
def running(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server's module in a process of its own for as long as the block; yield the endpoint's URL."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            assert url.startswith("http://"), "the server did not start: its words stand above"
            yield url
        finally:
            server.kill()
