"""Azure Resource Manager by plain HTTP: what the adapters of Azure ask, put and delete there, its refusals in words.

Not by Azure's SDK: its packages for machines and networks and for signing in were 44 MB installed and 1.4 s to import
(measured, 2026-11), and five calls of a stable REST API are all that is made. No redirect is followed, an answer is
read no further than it must be, and a page's successor is asked of the same host alone.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

from nightingale.adapters.azure_identity import TokenError
from nightingale.ports.machines import MachineUnavailableError

ARM = "https://management.azure.com"
SCOPE = "https://management.azure.com/"
"""What tokens for it are made out to: as a resource; with `.default` behind it as a scope."""

TIMEOUT_S = 10.0
MOST_BYTES = 8 * 1024 * 1024
MOST_PAGES = 50

ANGRY_S = 1.0
"""After a failure it is left alone for so long."""

_NO_TOKEN_S = 5.0
"""And after it had no token: Entra counts those who fail."""

_MOST_ANGRY_S = 300.0
"""However long Azure asks for: an answer that says a day must not keep a machine from being cut off for one."""

_TAKEN = frozenset({200, 201, 202, 204})
_LATER = frozenset({429, 503})


class Tokens(Protocol):
    """Whose name Azure is asked in."""

    def __call__(self) -> str:
        """Return a token for Azure Resource Manager. Raises TokenError."""

    def forget(self) -> None:
        """Keep the present token no longer: it was refused."""


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class ArmClient:
    """Asks Azure Resource Manager. Threads may share it; each request has a connection of its own."""

    def __init__(
        self, tokens: Tokens, *, endpoint: str | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Take who has tokens. `endpoint` replaces Azure's own address (for trying it out)."""
        address = urlsplit(endpoint or ARM)
        self._tokens = tokens
        self._host = address.netloc
        self._is_tls = address.scheme == "https"
        self._monotonic = monotonic
        self._memory = threading.Lock()
        self._angry: tuple[float, str] = (0.0, "")

    def get(self, path: str, version: str, what: str, **query: str) -> dict[str, Any] | None:
        """Return what is at the path, None when nothing is. Raises MachineUnavailableError that begins with `what`."""
        return self._read(self._ask("GET", _target(path, version, query), None, what), what)

    def pages(self, path: str, version: str, what: str) -> Iterator[dict[str, Any]]:
        """Yield what is listed at the path, page by page. Raises as `get`."""
        target = _target(path, version, {})
        for _ in range(MOST_PAGES):
            page = self._read(self._ask("GET", target, None, what), what)
            if page is None:
                return
            yield from (one for one in page.get("value", ()) if isinstance(one, dict))
            following = page.get("nextLink")
            if not following:
                return
            target = self._same_host(str(following), what)
        raise MachineUnavailableError(f"{what}: Azure's list has more than {MOST_PAGES} pages.")

    def put(self, path: str, version: str, body: Mapping[str, Any], what: str) -> None:
        """Put the document at the path: Azure has taken it then, and may still be at it. Raises as `get`."""
        if self._ask("PUT", _target(path, version, {}), body, what).status == http.client.NOT_FOUND:
            raise MachineUnavailableError(f"{what}: Azure knows nothing of where it belongs (404).")

    def post(self, path: str, version: str, what: str) -> None:
        """Ask for an action; what is not there needs none. Azure may still be at it. Raises as `get`."""
        self._ask("POST", _target(path, version, {}), None, what)

    def delete(self, path: str, version: str, what: str) -> None:
        """Delete what is at the path, if anything is. Azure may still be at it. Raises as `get`."""
        self._ask("DELETE", _target(path, version, {}), None, what)

    def _same_host(self, link: str, what: str) -> str:
        address = urlsplit(link)
        if address.netloc != self._host or (address.scheme == "https") is not self._is_tls:
            raise MachineUnavailableError(f"{what}: Azure's list goes on at another host, which is not asked.")
        return f"{address.path}?{address.query}"

    def _ask(self, method: str, target: str, body: Mapping[str, Any] | None, what: str) -> _Answer:
        until, why = self._angry
        if self._monotonic() < until:
            raise MachineUnavailableError(f"{what}: {why}")
        try:
            token = self._tokens()
        except TokenError as error:
            raise self._left_alone(what, f"there is no token for Azure: {error}.", _NO_TOKEN_S) from error
        try:
            answer = self._send(method, target, body, token)
        except (OSError, http.client.HTTPException) as error:
            words = f"Azure gave no answer ({type(error).__name__}). It is tried again; if it stays so, look at the"
            raise self._left_alone(what, f"{words} network.", ANGRY_S) from error
        if answer.status in _TAKEN or answer.status == http.client.NOT_FOUND:
            return answer
        code = _code(answer.body)
        if answer.status in _LATER:
            told = answer.headers.get("retry-after", "")
            wait_s = min(float(told), _MOST_ANGRY_S) if told.isdecimal() else ANGRY_S
            words = f"Azure takes no more requests at this moment ({answer.status}, {code}). It is tried again"
            raise self._left_alone(what, f"{words} in {wait_s:.0f} s.", max(wait_s, ANGRY_S))
        if answer.status == http.client.UNAUTHORIZED:
            self._tokens.forget()
            words = f"Azure took the platform's token no longer, or never did ({code}). Another one is asked for; if it"
            raise MachineUnavailableError(f"{what}: {words} stays so, look at tenant and federated credential.")
        if answer.status == http.client.FORBIDDEN:
            words = f"Azure refused it ({code}). Look at the role of the platform's identity on the resource group."
            raise MachineUnavailableError(f"{what}: {words}")
        words = f"Azure answered {answer.status} ({code}). Look at the place's settings and at Azure's status page."
        raise MachineUnavailableError(f"{what}: {words}")

    def _left_alone(self, what: str, words: str, seconds: float) -> MachineUnavailableError:
        with self._memory:
            self._angry = (self._monotonic() + seconds, words)
        return MachineUnavailableError(f"{what}: {words}")

    def _send(self, method: str, target: str, body: Mapping[str, Any] | None, token: str) -> _Answer:
        connection = (
            http.client.HTTPSConnection(self._host, timeout=TIMEOUT_S, context=ssl.create_default_context())
            if self._is_tls
            else http.client.HTTPConnection(self._host, timeout=TIMEOUT_S)
        )
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif method == "POST":
            headers["Content-Length"] = "0"
        try:
            connection.request(method, target, content, headers)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return _Answer(answer.status, told, answer.read(MOST_BYTES + 1))
        finally:
            connection.close()

    @staticmethod
    def _read(answer: _Answer, what: str) -> dict[str, Any] | None:
        if answer.status == http.client.NOT_FOUND:
            return None
        if len(answer.body) > MOST_BYTES:
            raise MachineUnavailableError(f"{what}: Azure's answer is longer than {MOST_BYTES} bytes.")
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise MachineUnavailableError(f"{what}: Azure answered something else than a JSON object.")
        return told


def _target(path: str, version: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode({**{f'${name}': value for name, value in query.items()}, 'api-version': version})}"


def _code(body: bytes) -> str:
    """Return the error code in Azure's answer; never more of it."""
    match = re.search(rb'"code"\s*:\s*"([A-Za-z]{1,60})"', body[:MOST_BYTES])
    return match[1].decode() if match is not None else "no reason given"
