"""The platform's API for this instance, over the socket that is bound into its sandbox. The standard library only."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightingale_instance.unix_http import UnixConnection

_ANSWER_S = 10.0
_RETRY_S = 0.25
_MOST_ANSWER = 1 << 22
_UNAVAILABLE = 503


class PlatformError(Exception):
    """The platform refused, in its words: `code` is stable, `next_step` says what to do."""

    def __init__(self, message: str, *, code: str, next_step: str = "") -> None:
        """Keep what was said."""
        super().__init__(message)
        self.code = code
        self.next_step = next_step


class NotReachedError(PlatformError):
    """The platform did not answer: it restarts, perhaps. Nothing is known of the request."""


class PlatformApi:
    """Calls the platform as this instance. Threads may share it: each call is a connection of its own."""

    def __init__(self, socket_path: Path, token_file: Path, *, patience_s: float = 5.0) -> None:
        """Take where the socket and the token are. A platform that is away is waited for so long."""
        self._socket = socket_path
        self._token_file = token_file
        self._patience_s = patience_s

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ, *, patience_s: float = 5.0) -> PlatformApi:
        """Return the API that the launcher's variables lead to. Raises PlatformError outside of an instance."""
        run, token = environment.get("NIGHTINGALE_RUN"), environment.get("NIGHTINGALE_INSTANCE_TOKEN_FILE")
        if not run or not token:
            missing = "NIGHTINGALE_INSTANCE_TOKEN_FILE" if run else "NIGHTINGALE_RUN"
            raise PlatformError(
                f"{missing} is not set: this is not the inside of an instance",
                code="not_inside",
                next_step="Open a terminal or a notebook of an instance; outside, use nightingale.",
            )
        return cls(Path(run) / "platform.sock", Path(token), patience_s=patience_s)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to `method` on `/v1/instance` + `path`. Raises PlatformError, NotReachedError.

        While nothing listens the call is made again: the platform has not seen it then.
        """
        until = time.monotonic() + self._patience_s
        while True:
            try:
                return self._call(method, f"/v1/instance{path}", body)
            except (ConnectionRefusedError, FileNotFoundError) as error:
                if time.monotonic() >= until:
                    raise _not_reached("nobody listens at the platform's socket") from error
                time.sleep(_RETRY_S)
            except (OSError, http.client.HTTPException) as error:
                raise _not_reached(f"the platform did not answer ({type(error).__name__})") from error

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body is not None else None
        connection = UnixConnection(self._socket, _ANSWER_S)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            said = answer.read(_MOST_ANSWER)
        finally:
            connection.close()
        try:
            document = json.loads(said)
        except ValueError as error:
            raise _not_reached(f"the platform's answer ({answer.status}) is not JSON") from error
        if not isinstance(document, dict):
            raise _not_reached(f"the platform's answer ({answer.status}) is no object")
        if answer.status < http.client.BAD_REQUEST:
            return document
        kind = NotReachedError if answer.status == _UNAVAILABLE else PlatformError
        raise kind(
            str(document.get("message", f"the platform answered {answer.status}")),
            code=str(document.get("code", "unknown")),
            next_step=str(document.get("next_step", "")),
        )

    def _token(self) -> str:
        try:
            return self._token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PlatformError(
                f"the instance's token cannot be read ({type(error).__name__})",
                code="no_token",
                next_step="Only its owner's programs can read it; started anew, the instance gets a new one.",
            ) from error


def _not_reached(message: str) -> NotReachedError:
    return NotReachedError(message, code="not_reached", next_step="Try again in a few seconds; then ask the operator.")
