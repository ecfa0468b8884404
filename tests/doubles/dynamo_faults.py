"""Faults between a DynamoStore and its server, by botocore's event hooks in the client."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]  # botocore has no types
from botocore.exceptions import ConnectionClosedError  # type: ignore[import-untyped]  # same
from botocore.httpsession import URLLib3Session  # type: ignore[import-untyped]  # same

from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_items import connection_of


def client_of(store: DynamoStore) -> Any:
    """The botocore client of a store."""
    return connection_of(store._connect()).client


class LostReplies:
    """Hooks a store's client: the server does what is asked, and the reply of a share of the calls never comes.

    Never twice in a row for one thread, so that the client's own retries are enough.
    """

    def __init__(self, store: DynamoStore, share: float, *, only: str = "*", seed: int = 0) -> None:
        self.count = 0
        self._share = share
        self._random = random.Random(seed)  # noqa: S311 - a seed, so that a run can be had again
        self._turn = threading.Lock()
        self._last = threading.local()
        self._session = URLLib3Session(max_pool_connections=50)
        client_of(store).meta.events.register(f"before-send.dynamodb.{only}", self._send)

    def _send(self, request: Any, **_: Any) -> AWSResponse | None:
        with self._turn:
            is_lost = self._random.random() < self._share and not getattr(self._last, "was_lost", False)
            self.count += is_lost
        self._last.was_lost = is_lost
        if not is_lost:
            return None
        self._session.send(request)
        raise ConnectionClosedError(endpoint_url=request.url)

    def close(self) -> None:
        self._session.close()


class Answers:
    """Hooks a store's client: these answers come instead of the server's, then the server's again."""

    def __init__(self, store: DynamoStore, *answers: tuple[int, dict[str, Any]]) -> None:
        self.left = list(answers)
        self.tokens: list[str] = []
        client_of(store).meta.events.register("before-send.dynamodb", self._send)

    def _send(self, request: Any, **_: Any) -> AWSResponse | None:
        self.tokens.append(json.loads(request.body).get("ClientRequestToken", ""))
        if not self.left:
            return None
        status, body = self.left.pop(0)
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, _Raw(body))


class _Raw:
    def __init__(self, body: dict[str, Any]) -> None:
        self._body = json.dumps(body).encode()

    def stream(self) -> Iterator[bytes]:
        yield self._body


def refusal(kind: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """An answer for `Answers`: DynamoDB refuses with this code."""
    return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "their words", **more}


def cancelled(*codes: str) -> tuple[int, dict[str, Any]]:
    """An answer for `Answers`: the transaction is cancelled for these reasons, one a write."""
    return refusal("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])
