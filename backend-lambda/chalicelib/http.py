"""From Chalice's request to the core's, and back. One registration for every row of OPERATIONS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chalice import Chalice, Response

from chalicelib import container
from nightingale.contract.operations import OPERATIONS, Operation

if TYPE_CHECKING:
    from nightingale.app.dispatch import Response as Answer

_CONTENT_TYPES = ["*/*"]
"""Chalice would refuse other types in words of its own; all reach dispatch, which refuses all but JSON in ours."""


def headers_of(answer: Answer) -> dict[str, str]:
    """Return the headers of every answer, refusals of the host itself included."""
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": answer.request_id,
    }
    return headers if answer.retry_after_s is None else headers | {"Retry-After": str(answer.retry_after_s)}


def register(app: Chalice) -> None:
    """Register every operation of the contract."""
    for operation in OPERATIONS:
        app.route(operation.path, methods=[operation.method], content_types=_CONTENT_TYPES, name=operation.name)(
            _handler(app, operation)
        )


def _handler(app: Chalice, operation: Operation) -> Callable[..., Response]:
    def handle(**path: str) -> Response:
        from nightingale.app.dispatch import Request, refused  # noqa: PLC0415 - half of what `import app` would cost

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
        except container.NotWiredError as error:
            from nightingale.contract.errors import ErrorCode  # noqa: PLC0415 - same

            answer = refused(ErrorCode.UNAVAILABLE, str(error), error.next_step, request.lambda_context.aws_request_id)
        return Response(body=answer.body.decode(), headers=headers_of(answer), status_code=answer.status)

    handle.__name__ = operation.name
    return handle


def _client(context: dict[str, Any]) -> str:
    """Return the caller's address as API Gateway (or the local host) saw it."""
    return str(context.get("identity", {}).get("sourceIp", ""))
