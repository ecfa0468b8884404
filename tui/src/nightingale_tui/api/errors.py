"""What can go wrong between this machine and the platform, each with words and a next step.

ClientError                 anything the client reports to its person
  ApiError                  the platform refused (it answered with an error document)
    NotLoggedInError 401, ForbiddenError 403, NotFoundError 404, ConflictError 409
  UnreachableError          no answer: connection refused, name unknown, timeout, broken off
  BadAnswerError            an answer that is not the platform's: a proxy's page, another program's port
"""

from __future__ import annotations

from nightingale.contract.schemas import ErrorDetail, ErrorOut


class ClientError(Exception):
    """Base of every error shown to a person: a stable `code`, what happened, what to do next."""

    def __init__(self, code: str, message: str, next_step: str = "", details: tuple[ErrorDetail, ...] = ()) -> None:
        """Keep the parts; `str()` is the message alone."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = next_step
        self.details = details


class ApiError(ClientError):
    """The platform refused. `status` is HTTP's, `request_id` names the call in the platform's log."""

    def __init__(
        self,
        code: str,
        message: str,
        next_step: str = "",
        details: tuple[ErrorDetail, ...] = (),
        *,
        status: int = 0,
        request_id: str = "",
    ) -> None:
        """Keep the parts of the error document."""
        super().__init__(code, message, next_step, details)
        self.status = status
        self.request_id = request_id


class NotLoggedInError(ApiError):
    """No token, an unknown one, or one that has ended (401)."""


class ForbiddenError(ApiError):
    """The person may not do this (403)."""


class NotFoundError(ApiError):
    """No such thing, or not one this person may see (404)."""


class ConflictError(ApiError):
    """Not now: busy, taken, changed meanwhile (409)."""


class UnreachableError(ClientError):
    """The platform gave no answer."""

    def __init__(self, message: str, next_step: str) -> None:
        """Keep the words; the code is always `unreachable`."""
        super().__init__("unreachable", message, next_step)


class BadAnswerError(ClientError):
    """Something answered that is not the platform, or not one this client understands."""

    def __init__(self, message: str, next_step: str) -> None:
        """Keep the words; the code is always `bad_answer`."""
        super().__init__("bad_answer", message, next_step)


_BY_STATUS: dict[int, type[ApiError]] = {
    401: NotLoggedInError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
}


def refusal(status: int, error: ErrorOut) -> ApiError:
    """Return the error that stands for this error document."""
    next_step = error.next_step
    if status == 401 and not next_step:  # noqa: PLR2004 - HTTP's own number
        next_step = "Log in with `nightingale login`."
    kind = _BY_STATUS.get(status, ApiError)
    return kind(error.code, error.message, next_step, error.details, status=status, request_id=error.request_id)
