"""Brings records to the platform, through the instance's own socket to its API."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from nightingale_instance.recording import NotSentError, Record
from nightingale_instance.settings import SettingsError, read_token

PATH = "/v1/instance/contents"
TIMEOUT_S = 5.0
_FINAL = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)  # about what was sent; everything else is about the platform or the token, and may pass


class PlatformSender:
    """Posts batches with the instance's own token, which is read anew each time: it may be exchanged."""

    def __init__(self, platform_socket: Path, token_file: Path | None) -> None:
        """Connect to nothing yet."""
        self._socket = platform_socket
        self._token_file = token_file
        self._client: Any = None

    async def send(self, records: Sequence[Record]) -> None:
        """Return when the platform has taken the batch; NotSentError, without any secret, when it has not."""
        if self._token_file is None:
            raise NotSentError("this instance was given no token for the platform")
        try:
            token = read_token(self._token_file)
        except SettingsError as error:
            raise NotSentError(str(error)) from None
        body = json.dumps({"records": [record.as_json() for record in records]})
        try:
            answer = await self._connected().fetch(
                f"http://localhost{PATH}",
                method="POST",
                body=body,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                request_timeout=TIMEOUT_S,
                follow_redirects=False,
                raise_error=False,
            )
        except OSError as error:
            raise NotSentError(f"its socket does not answer ({type(error).__name__})") from None
        if answer.code < HTTPStatus.MULTIPLE_CHOICES:
            return
        raise NotSentError(f"it answered {answer.code}", is_final=answer.code in _FINAL)

    def _connected(self) -> Any:  # tornado is not in the environment mypy runs in
        """Return the client, made with the first batch: its import is not on the way to the first page."""
        if self._client is None:
            from tornado.netutil import Resolver  # noqa: PLC0415 # see above
            from tornado.simple_httpclient import SimpleAsyncHTTPClient  # noqa: PLC0415 # see above

            path = str(self._socket)

            class ToTheSocket(Resolver):  # type: ignore[misc] # tornado is not in the environment mypy runs in
                """Leads every host to the platform's socket."""

                async def resolve(self, *_args: object, **_kwargs: object) -> list[tuple[int, str]]:
                    """Return the one address there is."""
                    return [(socket.AF_UNIX, path)]

            self._client = SimpleAsyncHTTPClient(force_instance=True, resolver=ToTheSocket())
        return self._client
