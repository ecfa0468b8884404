"""A platform in memory, behind httpx.MockTransport: instances with a small state machine, answers from the contract.

It is wired by contract.operations, so a path or a field that the contract does not know fails here as it would there.

    platform = FakePlatform()
    api = Api("http://127.0.0.1:8470", platform.token_of("ada"), transport=platform.transport())
    platform.add("scan")                      a running instance of ada in project heart
    platform.step()                           every instance in flight moves on by one status
    platform.settle()                         ... until none is in flight
    platform.moves_on_read = True             or: each get_instance moves that instance on by one status
    platform.fail_next["scan"] = a_reason()   its next move ends in failed
    platform.is_down = True                   connections are refused
    platform.refusals["stop_instance"] = ErrorCode.BUSY
    platform.calls                            what was called, as (operation, path values)
"""

import re
import urllib.parse
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import OPERATIONS, Operation, QueryKind
from tui.api.fake_operations import FakeOperations
from tui.api.fake_state import Refused, a_reason

__all__ = ["FakePlatform", "Refused", "a_reason"]

_ROUTES = [(row, re.compile(re.sub(r"{\w+}", "([^/]+)", row.path) + "$")) for row in OPERATIONS]


class FakePlatform(FakeOperations):
    """See the module's docstring."""

    def transport(self) -> httpx.MockTransport:
        """Return the transport to hand to Api."""
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("connection refused", request=request)
        try:
            row, values = self._route(request)
            person = self._person(request, row)
            body = self._body(request, row)
            handler: Callable[..., Any] = getattr(self, f"on_{row.name}")
            answer = handler(person, *values, **self._query(request, row), **({} if body is None else {"body": body}))
        except Refused as refused:
            error = s.ErrorOut(
                code=refused.code.code,
                message=str(refused),
                next_step="Do something else.",
                details=refused.details,
                request_id="r-1",
            )
            return _json(refused.code.status, error)
        assert isinstance(answer, row.response)
        return _json(row.status, answer)

    def _route(self, request: httpx.Request) -> tuple[Operation, tuple[str, ...]]:
        path = request.url.raw_path.decode().split("?")[0]
        for row, pattern in _ROUTES:
            found = pattern.match(path)
            if found and row.method == request.method:
                values = tuple(urllib.parse.unquote(value) for value in found.groups())
                self.calls.append((row.name, values))
                if row.name in self.refusals:
                    raise Refused(self.refusals[row.name], f"{row.name} is refused by the test.")
                return row, values
        raise Refused(ErrorCode.NOT_FOUND, f"No operation {request.method} {path}.")

    def _person(self, request: httpx.Request, row: Operation) -> str | None:
        if row.permission.value == "public":
            return None
        person = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if person is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "You are not logged in.")
        if row.path.startswith("/v1/admin") and person not in self.admins:
            raise Refused(ErrorCode.FORBIDDEN, f"{person} is no administrator.")
        return person

    def _body(self, request: httpx.Request, row: Operation) -> Any:
        if row.request is None:
            return None
        try:
            body = msgspec.json.decode(request.content, type=row.request)
        except msgspec.ValidationError as error:
            raise Refused(ErrorCode.INVALID, str(error)) from error
        self.bodies.append(body)
        return body

    def _query(self, request: httpx.Request, row: Operation) -> dict[str, Any]:
        kinds = {query.name: query.kind for query in row.query}
        read: dict[QueryKind, Callable[[str], Any]] = {
            QueryKind.TEXT: str,
            QueryKind.WHOLE: int,
            QueryKind.FLAG: {"true": True, "false": False}.__getitem__,
        }
        return {name: read[kinds[name]](value) for name, value in request.url.params.items()}


def _json(status: int, body: msgspec.Struct) -> httpx.Response:
    return httpx.Response(status, content=msgspec.json.encode(body), headers={"content-type": "application/json"})
