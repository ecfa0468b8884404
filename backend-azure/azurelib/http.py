"""From a request of Functions to the core's, and back. One function for every row of OPERATIONS.

One more takes what no row names: Functions would answer it without a word of ours.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func

from azurelib import container
from nightingale.contract.operations import OPERATIONS, Operation
from nightingale.hosting.answers import headers_of, not_wired
from nightingale.hosting.wired import NotWiredError

if TYPE_CHECKING:
    from nightingale.app.dispatch import Response

_LOG = logging.getLogger(__name__)
ANYTHING_ELSE = "anything_else"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


def register(app: func.FunctionApp) -> None:
    """Register every operation of the contract."""
    for operation in OPERATIONS:
        _add(app, operation.name, operation.path.lstrip("/"), [operation.method], _handler(operation))
    _add(app, ANYTHING_ELSE, "{*path}", _METHODS, refuse_anything_else)


def _add(
    app: func.FunctionApp,
    name: str,
    route: str,
    methods: list[str],
    handle: Callable[[func.HttpRequest], func.HttpResponse],
) -> None:
    app.function_name(name)(app.route(route=route, methods=methods)(handle))


def _handler(operation: Operation) -> Callable[[func.HttpRequest], func.HttpResponse]:
    def handle(req: func.HttpRequest) -> func.HttpResponse:
        from nightingale.app.dispatch import Request  # noqa: PLC0415 - half of what `import function_app` would cost

        try:
            answer = container.dispatcher().handle(
                operation.name,
                Request(
                    path=dict(req.route_params),
                    # Functions joins what is given twice by commas; its own address has it as it came.
                    query=dict(parse_qsl(urlsplit(req.url).query, keep_blank_values=True)),
                    body=req.get_body(),
                    authorization=req.headers.get("authorization"),
                    content_type=req.headers.get("content-type", ""),
                    client=_client(req),
                ),
            )
        except NotWiredError as error:
            answer = not_wired(error, _made_up_id())
        return _to_functions(answer)

    handle.__name__ = operation.name
    return handle


def refuse_anything_else(req: func.HttpRequest) -> func.HttpResponse:
    """Refuse what no operation answers, in the shape of our refusals."""
    from nightingale.app.dispatch import refused  # noqa: PLC0415 - see `_handler`
    from nightingale.contract.errors import ErrorCode  # noqa: PLC0415 - same
    from nightingale.hosting.answers import SEE, methods_at  # noqa: PLC0415 - compiles every path

    allowed = ", ".join(methods_at(urlsplit(req.url).path))
    code = ErrorCode.METHOD_NOT_ALLOWED if allowed else ErrorCode.NOT_FOUND
    words = f"only {allowed} is allowed here" if allowed else "no such path"
    response = _to_functions(refused(code, words, SEE, _made_up_id()))
    if allowed:
        response.headers["Allow"] = allowed
    return response


def _made_up_id() -> str:
    """Return an id for a refusal that no dispatcher numbered."""
    return f"r-{secrets.token_hex(5)}"


def _to_functions(answer: Response) -> func.HttpResponse:
    return func.HttpResponse(answer.body, status_code=answer.status, headers=headers_of(answer))


def _client(req: func.HttpRequest) -> str:
    """Return the caller's address as App Service saw it: the last entry is its own, those before are the caller's."""
    address = str(req.headers.get("x-forwarded-for", "")).rpartition(",")[2].strip()
    host, colon, port = address.rpartition(":")
    has_port = bool(colon) and port.isdecimal() and (host.endswith("]") or ":" not in host)
    return (host if has_port else address).strip("[]")
