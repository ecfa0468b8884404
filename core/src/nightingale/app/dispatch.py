"""From a request to an answer, the same on every host: limits, authentication, permission, parsing, call."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.openapi import PATH_PATTERNS
from nightingale.contract.operations import BY_NAME, Operation, Query, QueryKind
from nightingale.contract.refusals import in_words
from nightingale.contract.schemas import MAX_BODY_BYTES, ErrorDetail, ErrorOut
from nightingale.contract.vocabulary import AuditTag, Permission, Reach
from nightingale.domain.access import Access, Principal
from nightingale.domain.errors import RefusedError
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog, AuditLogUnavailableError
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.store import InvalidCursorError, StoreUnavailableError
from nightingale.services.login import LoginService

_LOG = logging.getLogger(__name__)
_MOST_WORDS = 300
_MOST_AUTHORIZATION = 1024
_MOST_CLIENT = 100
_AWHILE_S = 5
MAX_PATH_BYTES = 1024
"""Of a path as it is asked for; every host refuses a longer one, and one that asks for more headers than these."""
MAX_QUERY_BYTES = 4096
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
"""Of all names and values together."""
_ANONYMOUS = Principal(name="", is_person=False)
_WATCHED = frozenset({"list_reads", "list_audit_events", "list_findings", "get_finding"})
"""Looks at others' doings: each by an administrator, lead or auditor is a fact; its further pages are not."""
_ASK_LEAD = "Ask the project's lead, or the administrator who keeps the cluster file."


@dataclass(frozen=True)
class Request:
    """What a host hands in. `path` and `query` hold decoded text; `body` is as it came."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    authorization: str | None = field(default=None, repr=False)
    content_type: str = "application/json"
    client: str = ""
    through: str = ""
    """Id of the instance whose own socket it came through, where nobody but that instance is answered."""


@dataclass(frozen=True)
class Response:
    """What a host hands out: a status and JSON, and after how many seconds to try again where that is known."""

    status: int
    body: bytes = field(repr=False)
    request_id: str
    retry_after_s: int | None = None


@dataclass(frozen=True)
class Call:
    """What a use case is called with, after every check."""

    access: Access
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = field(repr=False)
    client: str

    @property
    def principal(self) -> Principal:
        """Whoever asks."""
        return self.access.principal


UseCase = Callable[[Call], Any]


class Dispatcher:
    """Checks and calls. Knows every operation; refuses to be made with one left out."""

    def __init__(
        self, use_cases: Mapping[str, UseCase], *, login: LoginService, audit: AuditLog, clock: Clock, ids: Ids
    ) -> None:
        """Take one use case for each operation of the contract."""
        if use_cases.keys() != BY_NAME.keys():
            odd = sorted(use_cases.keys() ^ BY_NAME.keys())
            raise ValueError(f"operations and use cases differ: {odd}")
        self._use_cases = use_cases
        self._login = login
        self._audit = audit
        self._clock = clock
        self._ids = ids

    def handle(self, name: str, request: Request) -> Response:
        """Return the answer to one request for one operation. Never raises."""
        operation = BY_NAME[name]
        request_id = self._ids.new("r")
        try:
            call = self._check(operation, request)
            answer = self._use_cases[name](call)
            return Response(operation.status, msgspec.json.encode(answer), request_id)
        except RefusedError as refusal:
            details = tuple(ErrorDetail(path=path, message=message) for path, message in refusal.details)
            answer = refused(refusal.code, refusal.message, refusal.next_step, request_id, details)
            return answer if refusal.retry_after_s is None else replace(answer, retry_after_s=refusal.retry_after_s)
        except InvalidCursorError:
            message = "the cursor is not one of this list's"
            return refused(ErrorCode.BAD_REQUEST, message, "Start again without a cursor.", request_id)
        except MachineUnavailableError as error:
            _LOG.warning("machine unavailable: %s", error, extra={"operation": name, "request_id": request_id})
            again = "Try again in a few seconds; then ask the operator."
            return refused(ErrorCode.UNAVAILABLE, f"the place cannot be asked now: {error}", again, request_id)
        except (StoreUnavailableError, AuditLogUnavailableError) as error:
            _LOG.exception("store or audit log unavailable", extra={"operation": name, "request_id": request_id})
            again = "Try again in a few seconds; then ask the operator."
            return refused(ErrorCode.UNAVAILABLE, f"the platform cannot keep records now: {error}", again, request_id)
        except Exception:  # noqa: BLE001 - the boundary: nothing may escape to a host
            # The last line of defence: whatever went wrong is logged whole and answered without its inside.
            _LOG.exception("operation failed", extra={"operation": name, "request_id": request_id})
            message = "something went wrong inside the platform; nothing is known of the request"
            return refused(ErrorCode.INTERNAL, message, f"Tell the operator the request id {request_id}.", request_id)

    def _check(self, operation: Operation, request: Request) -> Call:
        if len(request.body) > MAX_BODY_BYTES:
            raise RefusedError(
                ErrorCode.BODY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes", "Send less at once."
            )
        if _size(request.query) > MAX_QUERY_BYTES or _size(request.path) > MAX_PATH_BYTES:
            raise RefusedError(ErrorCode.BAD_REQUEST, "the path or its query is too long", "See /openapi.json.")
        for name in re.findall(r"{(\w+)}", operation.path):
            if not re.fullmatch(PATH_PATTERNS[name].strip("^$"), request.path.get(name, "")):
                raise RefusedError(ErrorCode.NOT_FOUND, f"no such {name}", "Check the name.")
        principal = _ANONYMOUS
        if operation.permission is not Permission.PUBLIC:
            is_short = len(request.authorization or "") <= _MOST_AUTHORIZATION
            principal = self._login.authenticate(request.authorization if is_short else None)
        self._tell_if_carried_off(operation, principal, request)
        access = self._permit(operation, principal, request)
        if operation.name in _WATCHED and access.reach is Reach.ANY and not request.query.get("cursor"):
            detail = {"operation": operation.name, **request.path, "client": request.client[:_MOST_CLIENT]}
            self._note(AuditTag.OPERATION_ALLOWED, principal.name, operation.name, detail)
        client = request.client[:_MOST_CLIENT]
        return Call(access, request.path, _query(operation, request.query), _body(operation, request), client)

    def _permit(self, operation: Operation, principal: Principal, request: Request) -> Access:
        project = request.path.get("project", "")
        reach = principal.reach(operation.permission, project or None)
        if reach is Reach.NONE or _is_astray(request, principal):
            where = f" in {project}" if project else ""
            detail = {"operation": operation.name, "project": project, "client": request.client[:_MOST_CLIENT]}
            detail |= {"through": request.through} if request.through else {}
            self._note(AuditTag.OPERATION_DENIED, principal.name, operation.name, detail)
            raise RefusedError(
                ErrorCode.FORBIDDEN, f"{principal.name} may not {operation.permission.value}{where}", _ASK_LEAD
            )
        return Access(principal, project, reach)

    def _tell_if_carried_off(self, operation: Operation, principal: Principal, request: Request) -> None:
        """Record that an instance's token came another way than by the socket which is all that the instance has."""
        own = principal.instance
        if own is not None and own.has_socket and not request.through:
            detail = {"operation": operation.name, "project": own.project, "owner": own.owner, "door": "platform"}
            detail |= {"client": request.client[:_MOST_CLIENT]}
            self._note(AuditTag.CREDENTIAL_ASTRAY, own.id, own.id, detail)

    def _note(self, tag: AuditTag, actor: str, subject: str, detail: Mapping[str, str]) -> None:
        self._audit.append(AuditEvent(PLATFORM_STREAM, self._clock.now(), tag.value, actor, subject, detail))


def refused(
    code: ErrorCode, message: str, next_step: str, request_id: str, details: tuple[ErrorDetail, ...] = ()
) -> Response:
    """Return a refusal in the one shape that every refusal has; what is unavailable is worth a try in a while."""
    body = ErrorOut(code=code.code, message=message, next_step=next_step, details=details, request_id=request_id)
    retry_after_s = _AWHILE_S if code is ErrorCode.UNAVAILABLE else None
    return Response(code.status, msgspec.json.encode(body), request_id, retry_after_s)


def _is_astray(request: Request, principal: Principal) -> bool:
    """Return whether it came through the socket of another instance than the one that asks."""
    asking = principal.instance
    return request.through != "" and (asking is None or asking.is_shipper or asking.id != request.through)


def _size(texts: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in texts.items())


def _body(operation: Operation, request: Request) -> Any:
    if operation.request is None:
        return None
    if request.content_type.partition(";")[0].strip().lower() not in {"application/json", ""}:
        raise RefusedError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body is not JSON", "Send application/json.")
    try:
        return msgspec.json.decode(request.body, type=operation.request)
    except msgspec.ValidationError as error:
        words = in_words(str(error))
        message, path = split_path(words)
        raise RefusedError(
            ErrorCode.INVALID,
            f"the body is not valid: {_short(words)}",
            "See /openapi.json.",
            details=((_short(path), _short(message)),),
        ) from error
    except msgspec.DecodeError as error:
        words = f"the body is not JSON: {_short(str(error))}"
        raise RefusedError(ErrorCode.BAD_REQUEST, words, "See /openapi.json.") from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise RefusedError(ErrorCode.BAD_REQUEST, "the body cannot be read", "See /openapi.json.") from error


def _short(words: str) -> str:
    """Return words that may repeat what the caller sent, cut to a length that fits a log."""
    return words if len(words) <= _MOST_WORDS else words[:_MOST_WORDS] + "…"


def split_path(words: str) -> tuple[str, str]:
    """Return message and path of msgspec's words (`Expected … - at `$.people[2].keys[0]``)."""
    message, _, at = words.partition(" - at `")
    return message, at.rstrip("`").removeprefix("$").removeprefix(".")


def _query(operation: Operation, given: Mapping[str, str]) -> dict[str, Any]:
    known = {query.name: query for query in operation.query}
    values: dict[str, Any] = dict.fromkeys(known)
    for name, text in given.items():
        query = known.get(name)
        if query is None:
            raise RefusedError(
                ErrorCode.BAD_REQUEST, f"no query parameter {name[:60]}", f"Known: {', '.join(known) or 'none'}."
            )
        values[name] = _query_value(query, text)
    return values


def _query_value(query: Query, text: str) -> str | int | bool:
    if query.kind is QueryKind.FLAG and text in {"true", "false"}:
        return text == "true"
    if query.kind is QueryKind.WHOLE and re.fullmatch(r"[0-9]{1,16}", text) and int(text) <= query.most:
        return int(text)
    if query.kind is QueryKind.TEXT and re.fullmatch(query.pattern.strip("^$"), text):
        return text
    wanted = {QueryKind.FLAG: "true or false", QueryKind.WHOLE: f"a whole number up to {query.most}"}
    raise RefusedError(
        ErrorCode.BAD_REQUEST,
        f"the query parameter {query.name} is not {wanted.get(query.kind, 'well formed')}",
        "See /openapi.json.",
    )
