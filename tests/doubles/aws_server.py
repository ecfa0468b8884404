"""EC2, IAM and what else moto knows of AWS, one request at a time, in a process of its own.

Run it beside Terraform with `python -m doubles.aws_server`; the first line printed is the endpoint for all services.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doubles.dynamo_server import Faults, OneAtATime


def serve(host: str, port: int) -> None:
    """Serve until killed; the first line on standard output is the endpoint's URL."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - who starts this needs no moto
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - same

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65_536
        timeout = 300

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            del code, size  # a line for each request would fill the pipe

        def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
            del format, args  # connections that end are no errors here

    application = OneAtATime(DomainDispatcherApplication(create_backend_app), Faults())
    server = make_server(host, port, application, threaded=True, request_handler=Handler)
    print(f"http://{host}:{server.server_port}", flush=True)  # noqa: T201 - what the caller waits for
    server.serve_forever()


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a process of its own for as long as the block; yield the endpoint's URL."""
    command = [sys.executable, "-m", "doubles.aws_server", "--until-stdin-closes"]
    where = str(Path(__file__).parents[1])
    # Without it moto makes five hundred images of machines for whoever asks first.
    environment = {**os.environ, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    with subprocess.Popen(
        command, cwd=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            assert url.startswith("http://"), "the server did not start: its words stand above"
            yield url
        finally:
            server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the URL is the first line printed")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started this one")
    told = parser.parse_args()
    if told.until_stdin_closes:

        def wait() -> None:
            sys.stdin.read()
            os._exit(0)

        threading.Thread(target=wait, daemon=True).start()
    serve(told.host, told.port)


if __name__ == "__main__":
    main()
