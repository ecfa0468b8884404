"""DynamoDB inside this process, below the real adapter: faults at the wire, and no socket, no wait.

botocore hands each request to the hook, which gives it to the double's application (`doubles.dynamo_server`) or does
not. botocore's own retries stand, as many and for the same reasons; only their waits are left out.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]  # botocore has no types
from botocore.exceptions import ConnectionClosedError  # type: ignore[import-untyped]  # same

from doubles.dynamo_faults import client_of
from doubles.dynamo_server import Answer, Faults, OneAtATime, copy_tables_quickly
from faults_dynamodb.faulty_store import IS_DONE, Fault, Kind
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import table_spec

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

T = TypeVar("T")

TABLE = "nightingale"
_ENDPOINT = "http://127.0.0.1:9"
_SDK_ATTEMPTS = 3


class Wire:
    """One table on a DynamoDB of its own: `store`, and `breaking` for a FaultyStore around it."""

    def __init__(self) -> None:
        os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
        from moto.moto_server.werkzeug_app import create_backend_app  # noqa: PLC0415 - loads half of moto

        copy_tables_quickly()
        self._application = OneAtATime(create_backend_app("dynamodb"), Faults())
        self.store = DynamoStore(TABLE, endpoint=_ENDPOINT, wait=lambda _seconds: None)
        self.attempts = 0
        """Requests that the SDK sent."""
        self._fault = threading.local()
        client = client_of(self.store)
        client.meta.events.register("before-send.dynamodb", self._send)
        client.meta.events.register_first("needs-retry.dynamodb", _retry_at_once)
        client.create_table(**table_spec(TABLE))

    def reset(self) -> None:
        """Forget every item, as a new table would."""
        client = client_of(self.store)
        client.delete_table(TableName=TABLE)
        client.create_table(**table_spec(TABLE))

    def breaking(self, fault: Fault, ask: Callable[[], T]) -> T:
        """Do a call of the store whose first request, or each, meets the fault."""
        self._fault.now = fault
        try:
            return ask()
        finally:
            self._fault.now = None

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        self.attempts += 1
        fault: Fault | None = getattr(self._fault, "now", None)
        if fault is None:
            return self._answer(request)
        if not fault.lasts:
            self._fault.now = None
        if fault.kind in IS_DONE:
            self._answer(request)
        if fault.kind is Kind.THROTTLED:
            return _response(request, 400, "ProvisionedThroughputExceededException")
        if fault.kind in {Kind.REFUSED, Kind.BROKEN}:
            return _response(request, 500, "InternalServerError")
        raise ConnectionClosedError(endpoint_url=request.url)

    def _answer(self, request: Any) -> AWSResponse:
        body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
        answer = Answer(self._application, _environ(request, body))
        return AWSResponse(request.url, int(answer.status[:3]), dict(answer.headers), _Raw(answer.body))


def _environ(request: Any, body: bytes) -> WSGIEnvironment:
    parts = urlsplit(request.url)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": parts.path or "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "9",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        text = value.decode() if isinstance(value, bytes) else str(value)
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = text
    return environ


def _retry_at_once(
    response: tuple[Any, dict[str, Any]] | None, attempts: int, caught_exception: Exception | None, **_: Any
) -> float | None:
    """Return 0 seconds where the SDK's standard mode would wait a random time; None: it decides."""
    if attempts >= _SDK_ATTEMPTS:
        return None
    code = "" if response is None else response[1].get("Error", {}).get("Code", "")
    is_passing = response is not None and response[0].status_code >= 500
    return 0 if caught_exception is not None or is_passing or code.startswith("ProvisionedThroughput") else None


def _response(request: Any, status: int, kind: str) -> AWSResponse:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "made up"}
    headers = {"Content-Type": "application/x-amz-json-1.0"}
    return AWSResponse(request.url, status, headers, _Raw(json.dumps(body).encode()))


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body
