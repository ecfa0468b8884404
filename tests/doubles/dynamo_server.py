"""DynamoDB for tests: moto's server, made whole where the store would notice, in a process of its own.

moto keeps tables in memory. What it lacks and this adds: one request at a time (it loses updates between threads),
the client request token of transactions (a repeated one does nothing and answers as before), and replies that are
lost or late after the write was done. Run it beside the platform with `python -m doubles.dynamo_server --port 8000`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import random
import secrets
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from doubles import moto_server
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import create_table
from nightingale.ports.clock import Clock

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

TOKEN_SECONDS = 600.0
"""So long DynamoDB knows a client request token."""

_MAX_TOKENS = 100_000


class Answer:
    """A whole answer of the wrapped application."""

    def __init__(self, application: WSGIApplication, environ: WSGIEnvironment) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        parts = application(environ, self._start)
        try:
            self.body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        del exc_info  # the application's own business
        self.status = status
        self.headers = headers

    def send(self, start: StartResponse) -> Iterable[bytes]:
        start(self.status, self.headers)
        return [self.body]


class Faults:
    """Which replies get lost or come late: shares of all replies, drawn from a seed. The write is done all the same."""

    def __init__(self, *, lost: float = 0.0, late: float = 0.0, late_seconds: float = 0.2, seed: int = 0) -> None:
        self._lost = lost
        self._late = late
        self._late_seconds = late_seconds
        self._random = random.Random(seed)  # noqa: S311 - a seed, so that a run can be had again
        self._turn = threading.Lock()

    def is_lost(self) -> bool:
        """Wait if this reply is a late one; return whether it is lost."""
        with self._turn:
            late, lost = self._random.random() < self._late, self._random.random() < self._lost
        if late:
            time.sleep(self._late_seconds)
        return lost


class OneAtATime:
    """The WSGI application around moto's."""

    def __init__(self, application: WSGIApplication, faults: Faults) -> None:
        self._application = application
        self._faults = faults
        self._turn = threading.Lock()
        self._tokens: OrderedDict[str, tuple[float, bytes, Answer]] = OrderedDict()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        with self._turn:
            if environ.get("HTTP_X_AMZ_TARGET", "").endswith(".TransactWriteItems"):
                answer = self._transact(environ, body)
            else:
                answer = Answer(self._application, environ)
        if self._faults.is_lost():
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            message = "the reply is lost"
            raise ConnectionResetError(message)
        return answer.send(start)

    def _transact(self, environ: WSGIEnvironment, body: bytes) -> Answer:
        token = json.loads(body).get("ClientRequestToken")
        if token is None:
            return Answer(self._application, environ)
        now, digest = time.monotonic(), hashlib.sha256(body).digest()
        at, before, answer = self._tokens.get(token, (-TOKEN_SECONDS, b"", None))
        if answer is not None and now - at < TOKEN_SECONDS:
            return answer if digest == before else Answer(_mismatch, environ)
        answer = Answer(self._application, environ)
        if answer.status.startswith("200"):
            self._tokens[token] = (now, digest, answer)
            if len(self._tokens) > _MAX_TOKENS:
                self._tokens.popitem(last=False)
        return answer


def _mismatch(_environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    kind = "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException"
    start("400 Bad Request", [("Content-Type", "application/x-amz-json-1.0")])
    return [json.dumps({"__type": kind, "message": "the token was used for other writes"}).encode()]


def _copy_quickly(table: Any, memo: object) -> Any:
    """Copy a table of moto's without its items' insides.

    moto copies the whole table before each transaction, which would make a write cost as much as the table is long.
    Puts and deletes replace whole items, so the folders they lie in are all that must be copied to go back. (An
    UpdateItem inside a transaction changes an item in place: the store has none.)
    """
    del memo  # nothing in a table refers back to it
    copied = copy.copy(table)
    copied.items = copy.copy(table.items)
    for name, of_partition in table.items.items():
        copied.items[name] = copy.copy(of_partition)
    return copied


def copy_tables_quickly() -> None:
    """Let moto, in this process, copy tables by `_copy_quickly`."""
    from moto.dynamodb.models.table import Table  # noqa: PLC0415 - the tests that start this process need no moto

    vars_of_table: Any = Table
    vars_of_table.__deepcopy__ = _copy_quickly


def serve(host: str, port: int, faults: Faults) -> None:
    """Serve until killed; the first line on standard output is the endpoint's URL."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    from moto.moto_server.werkzeug_app import create_backend_app  # noqa: PLC0415 - who starts this needs no moto

    copy_tables_quickly()
    moto_server.serve_forever(OneAtATime(create_backend_app("dynamodb"), faults), host, port)


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """Run the server in a process of its own for as long as the block; yield the endpoint's URL."""
    with moto_server.running("doubles.dynamo_server", "--until-stdin-closes", *arguments) as url:
        yield url


def fresh_store(endpoint: str, clock: Clock | None = None) -> DynamoStore:
    """Return a store on a new, empty table at this endpoint."""
    table = f"nightingale-{secrets.token_hex(6)}"
    create_table(table, endpoint=endpoint)
    return DynamoStore(table, endpoint=endpoint, clock=clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the URL is the first line printed")
    parser.add_argument("--lost", type=float, default=0.0, help="share of replies lost after the write was done")
    parser.add_argument("--late", type=float, default=0.0, help="share of replies that come late")
    parser.add_argument("--late-seconds", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started this one")
    told = parser.parse_args()
    if told.until_stdin_closes:

        def wait() -> None:
            sys.stdin.read()
            os._exit(0)

        threading.Thread(target=wait, daemon=True).start()
    serve(told.host, told.port, Faults(lost=told.lost, late=told.late, late_seconds=told.late_seconds, seed=told.seed))


if __name__ == "__main__":
    main()
