"""The AWS SDK as our adapters use it: made at the first call, short of patience, its errors in words."""

from __future__ import annotations

import threading
from typing import Any, Protocol

THROTTLED = frozenset(
    {
        "AccountLimitExceededException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "UnauthorizedOperation",
    }
)
_CONNECT_S = 3
_READ_S = 10
_ATTEMPTS = 3


class Credentials(Protocol):
    """Whose name AWS is asked in, where its own tools would not find it."""

    def give_to(self, session: Any) -> None:
        """Let a botocore session use these credentials and no others."""


class LazyClient:
    """One service's client, made when it is first asked for: botocore alone costs half a second to import."""

    def __init__(
        self,
        service: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        client: Any = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Take what boto3 is to be told, or a client that is there already."""
        self._service = service
        self._region = region
        self._endpoint = endpoint
        self._client = client
        self._credentials = credentials
        self._making = threading.Lock()

    def __call__(self) -> Any:
        """Return the client. Threads may share it, but not its making."""
        with self._making:
            if self._client is None:
                import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - no types; see the class
                from botocore.config import Config  # type: ignore[import-untyped] # noqa: PLC0415 - same

                patience = Config(
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                )
                import botocore.session  # type: ignore[import-untyped] # noqa: PLC0415 - same

                under = botocore.session.get_session()
                if self._credentials is not None:
                    self._credentials.give_to(under)
                session = boto3.session.Session(region_name=self._region, botocore_session=under)
                self._client = session.client(self._service, endpoint_url=self._endpoint, config=patience)
            return self._client


def is_aws_error(error: Exception) -> bool:
    """Return whether the SDK raised this: an answer that is a refusal, or no answer."""
    from botocore.exceptions import (  # type: ignore[import-untyped] # noqa: PLC0415 - no types; loaded by who raised it
        BotoCoreError,
        ClientError,
    )

    return isinstance(error, BotoCoreError | ClientError)


def code_of(error: Exception) -> str:
    """Return the error code of AWS's answer (`NoSuchKey`), empty when there was no answer."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def words_of(error: Exception, what: str) -> str:
    """Return what could not be done, why, and what to do next."""
    code = code_of(error)
    if code in THROTTLED:
        return f"{what}: AWS takes no more requests at this moment ({code}). It is tried again."
    if code in _DENIED:
        return f"{what}: AWS refused it ({code}). Look at the permissions of the function's role."
    if code:
        return f"{what}: AWS answered {code}. Look at the function's settings and at the AWS Health Dashboard."
    return (
        f"{what}: AWS gave no answer ({type(error).__name__}). It is tried again; if it stays so, look at the network."
    )
