"""The platform's API, as a machine asks it: few questions, bounded answers, and the platform's clock beside them."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from nightingale.contract.schemas import ErrorOut

TIMEOUT_S = 10.0
MOST_BYTES = 1 << 20
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


class ApiSilentError(Exception):
    """The platform gave no answer that can be used."""


@dataclass(frozen=True)
class Answer:
    """An answer. `at` is the platform's time, None where its host does not say it."""

    status: int
    body: bytes = field(repr=False)
    at: datetime | None = None

    @property
    def is_good(self) -> bool:
        """Whether it did what it was asked."""
        return self.status < http.client.MULTIPLE_CHOICES

    def error(self) -> ErrorOut:
        """Return the refusal, in words of our own where there is none in it."""
        try:
            return msgspec.json.decode(self.body, type=ErrorOut)
        except msgspec.DecodeError:
            return ErrorOut(code="internal", message=f"the platform answered {self.status}")


class Api:
    """Asks. Each question has a connection of its own, so threads may share it."""

    def __init__(self, url: str) -> None:
        """Take the API's address, as machines sign it. Raises ValueError when it is not to be trusted with tokens."""
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self._host, self._prefix = parts.netloc, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        if self._tls is None and parts.hostname not in _HERE:
            raise ValueError(f"{url} is not https: no token is sent there")

    def ask(self, method: str, path: str, body: bytes | None = None, token: str = "") -> Answer:
        """Return the answer, whatever its status. Raises ApiSilentError."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = (
            http.client.HTTPSConnection(self._host, timeout=TIMEOUT_S, context=self._tls)
            if self._tls is not None
            else http.client.HTTPConnection(self._host, timeout=TIMEOUT_S)
        )
        try:
            connection.request(method, self._prefix + path, body, headers)
            answer = connection.getresponse()
            said = answer.read(MOST_BYTES + 1)
            date = answer.getheader("Date")
        except (OSError, http.client.HTTPException) as error:
            raise ApiSilentError(f"the platform does not answer ({type(error).__name__}: {error})") from error
        finally:
            connection.close()
        if len(said) > MOST_BYTES:
            raise ApiSilentError("the platform's answer is too long to be its own")
        return Answer(answer.status, said, _time(date))


def _time(date: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
