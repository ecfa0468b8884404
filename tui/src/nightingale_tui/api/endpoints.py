"""The platform's addresses: calls go to one until it does not answer, then to the next.

What may go to another address, once one has failed:

    connection that never came to be      every call, since nothing was sent
    no answer, broken off, 502, 503, 504  what may happen twice: GET, what only asks, what carries a key of its own
    any other answer                      nothing: it is the platform's word

A login is different: its signature is for the one address that it names, so it stays there, and begins anew elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nightingale.contract.operations import Operation
from nightingale_tui.api.errors import BadAnswerError, ClientError, UnreachableError
from nightingale_tui.api.lean_httpx import httpx
from nightingale_tui.api.transport import mapped_errors, new_client

_GONE = frozenset({502, 503, 504})
_ONLY_ASKS = frozenset({"create_challenge", "create_estimate", "plan_cluster"})
"""POST by their form, and nothing is changed by them but a nonce more."""
_OF_ONE_ADDRESS = "create_session"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NO_ANSWER = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)


class Endpoints:
    """The addresses of one platform, the usual one first. Safe to share between threads."""

    def __init__(self, urls: Sequence[str], *, transport: httpx.BaseTransport | None, timeout_s: float) -> None:
        """Take at least one address; `transport` replaces the network in tests. Opens no connection yet."""
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._clients = [
            new_client(url, transport=transport, timeout_s=timeout_s, has_others=len(self._urls) > 1)
            for url in self._urls
        ]
        self._current = 0

    @property
    def url(self) -> str:
        """The address that answered last."""
        return self._urls[self._current]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._urls)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()

    def request(self, row: Operation, path: str, *, has_key: bool, **told: Any) -> httpx.Response:
        """Return the platform's answer, from whichever address gave it. Raises UnreachableError, BadAnswerError.

        `has_key` says that the call carries a key by which the platform knows a repeated one.
        """
        first = self._current
        may_repeat = has_key or row.method == "GET" or row.name in _ONLY_ASKS
        places = 1 if row.name == _OF_ONE_ADDRESS else self.count
        failed: list[ClientError] = []
        gone: httpx.Response | None = None
        for index in ((first + step) % self.count for step in range(places)):
            try:
                with mapped_errors(self._urls[index]):
                    answer = self._clients[index].request(row.method, path, **told)
            except (UnreachableError, BadAnswerError) as error:
                if not isinstance(error.__cause__, _NO_ANSWER if may_repeat else _NEVER_SENT):
                    raise
                failed.append(error)
                continue
            if answer.status_code not in _GONE or not may_repeat:
                self._current = index
                return answer
            gone = gone or answer
        if gone is not None:
            return gone  # it says why, and for how long
        raise failed[0] if len(failed) == 1 else _none_of(failed)

    def leave(self) -> None:
        """Begin with the next address from now on."""
        self._current = (self._current + 1) % self.count


def _none_of(failed: Sequence[ClientError]) -> UnreachableError:
    words = " ".join(error.message for error in failed)
    return UnreachableError(f"None of the platform's {len(failed)} addresses answers. {words}", failed[0].next_step)
