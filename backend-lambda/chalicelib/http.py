"""From Chalice's request to the core's, and back. One registration for every row of OPERATIONS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalice import Chalice, Response

from chalicelib import container
from nightingale.contract.operations import OPERATIONS, Operation
from nightingale.hosting.answers import headers_of, not_wired
from nightingale.hosting.wired import NotWiredError

_CONTENT_TYPES = ["*/*"]
"""Chalice would refuse other types in words of its own; all reach dispatch, which refuses all but JSON in ours."""


def register(app: Chalice) -> None:
    """Register every operation of the contract."""
    for operation in OPERATIONS:
        app.route(operation.path, methods=[operation.method], content_types=_CONTENT_TYPES, name=operation.name)(
            _handler(app, operation)
        )


def _handler(app: Chalice, operation: Operation) -> Callable[..., Response]:
    def handle(**path: str) -> Response:
        from nightingale.app.dispatch import Request  # noqa: PLC0415 - half of what `import app` would cost

        request = app.current_request
        try:
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
        except NotWiredError as error:
            answer = not_wired(error, request.lambda_context.aws_request_id)
        return Response(body=answer.body.decode(), headers=headers_of(answer), status_code=answer.status)

    handle.__name__ = operation.name
    return handle


def _client(context: dict[str, Any]) -> str:
    """Return the caller's address as API Gateway (or the local host) saw it."""
    return str(context.get("identity", {}).get("sourceIp", ""))
