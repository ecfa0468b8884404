"""An AWS account of moto's that writes down which calls it got: `python -m doubles.aws_recorder --calls FILE`.

Each line of the file is `service operation` as the signature and the request name them; S3, which names no operation,
is told by method and query. In two things it is made to be like AWS where moto is not:

    policies of buckets     moto takes `deny without TLS` for `deny`: those of buckets named -control- are not kept
    one request at a time   moto loses updates between threads
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import parse_qs

from doubles import moto_server
from doubles.dynamo_server import Faults, OneAtATime

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([\w-]+)/aws4_request")
_OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_BUCKET = {"GET": "ListObjectsV2", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}


def call_of(environ: WSGIEnvironment, body: bytes) -> tuple[str, str]:
    """Return service and operation of a request, the operation empty where a REST service does not name it."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    service = scope[1] if scope is not None else ""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return service, target.rpartition(".")[2]
    action = parse_qs(body.decode("latin-1")).get("Action", [""])[0]
    if action:
        return service, action
    if service == "s3":
        method = str(environ["REQUEST_METHOD"])
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        _, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        aspect = next((name for name in query if name not in {"list-type", "prefix", "max-keys", "x-id"}), "")
        if key:
            return service, _OBJECT.get(method, method)
        return service, f"{method} {aspect}" if aspect else _BUCKET.get(method, method)
    return service, ""


class Recorder:
    """The application around moto's."""

    def __init__(self, application: WSGIApplication, calls: TextIO | None) -> None:
        self._application = application
        self._calls = calls
        self._turn = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        if self._calls is not None:
            with self._turn:
                print(*call_of(environ, body), file=self._calls, flush=True)
        is_policy = environ["REQUEST_METHOD"] == "PUT" and environ.get("QUERY_STRING", "").startswith("policy")
        if is_policy and "-control-" in environ["PATH_INFO"]:
            start("204 No Content", [("Content-Length", "0")])
            return []
        return self._application(environ, start)


def serve(calls: TextIO | None) -> None:
    """Serve until killed; the first line on standard output is the endpoint's URL."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - who starts this needs no moto
        DomainDispatcherApplication,
        create_backend_app,
    )

    application = Recorder(OneAtATime(DomainDispatcherApplication(create_backend_app), Faults()), calls)
    moto_server.serve_forever(application, "127.0.0.1", 0)


@contextmanager
def running(calls: Path) -> Iterator[str]:
    """Run the server in a process of its own for as long as the block; yield the endpoint's URL."""
    environment = {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with moto_server.running("doubles.aws_recorder", "--calls", str(calls), environment=environment) as url:
        yield url


def environment_for(endpoint: str) -> dict[str, str]:
    """Return what sends Terraform, its provider, its S3 backend and boto3 to this server alone."""
    services = ("", "_S3", "_STS", "_IAM", "_DYNAMODB")
    return {
        **{f"AWS_ENDPOINT_URL{service}": endpoint for service in services},
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=Path, required=True)
    told = parser.parse_args()

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    with told.calls.open("a", encoding="utf-8") as calls:
        serve(calls)


if __name__ == "__main__":
    main()
