"""From Chalice's request to the core's, and back. One registration for every row of OPERATIONS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalice import Chalice, Response

from chalicelib import container
from nightingale.app.dispatch import Request
from nightingale.contract.operations import OPERATIONS, Operation

_CONTENT_TYPES = ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
"""Chalice answers other types by itself; these reach dispatch, which refuses all but JSON in our own words."""


def register(app: Chalice) -> None:
    """Register every operation of the contract."""
    for operation in OPERATIONS:
        app.route(operation.path, methods=[operation.method], content_types=_CONTENT_TYPES, name=operation.name)(
            _handler(app, operation)
        )


def _handler(app: Chalice, operation: Operation) -> Callable[..., Response]:
    def handle(**path: str) -> Response:
        request = app.current_request
        answer = container.dispatcher().handle(
            operation.name,
            Request(
                path=path,
                query=dict(request.query_params or {}),
                body=request.raw_body or b"",
                authorization=request.headers.get("authorization"),
                content_type=request.headers.get("content-type", ""),
                client=_client(request.context),
            ),
        )
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Request-Id": answer.request_id,
        }
        return Response(body=answer.body.decode(), headers=headers, status_code=answer.status)

    handle.__name__ = operation.name
    return handle


def _client(context: dict[str, Any]) -> str:
    """Return the caller's address as API Gateway (or the local host) saw it."""
    return str(context.get("identity", {}).get("sourceIp", ""))
