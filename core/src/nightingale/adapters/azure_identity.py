"""Tokens of a managed identity in Azure App Service and Azure Functions, by the address that the host is told.

    GET IDENTITY_ENDPOINT?api-version=2019-08-01&resource=AUDIENCE[&client_id=ID]     X-IDENTITY-HEADER: IDENTITY_HEADER

The address is on the machine itself, and its header, new with each start, keeps other programs' requests out. It keeps
tokens by itself until shortly before their end: none is kept here.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

ENDPOINT, HEADER = "IDENTITY_ENDPOINT", "IDENTITY_HEADER"
_VERSION = "2019-08-01"
_TIMEOUT_S = 5.0
_MOST_BYTES = 64 * 1024


class TokenError(OSError):
    """There is no token; the message says why, and what to look at."""


class ManagedIdentity:
    """Asks for tokens made out to `audience`, as the identity `client_id` or the host's only one."""

    def __init__(self, environment: Mapping[str, str], audience: str, client_id: str | None = None) -> None:
        """Take the host's environment; it is looked at when a token is asked for."""
        self._environment = environment
        self._audience = audience
        self._client_id = client_id
        # The address is this machine's: no proxy may see it. A redirect would carry the header elsewhere.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def __call__(self) -> str:
        """Return a token. Raises TokenError."""
        endpoint, header = self._environment.get(ENDPOINT, ""), self._environment.get(HEADER, "")
        if not endpoint or not header:
            raise TokenError("this host has no managed identity: switch one on for the function app")
        if not endpoint.startswith(("http://", "https://")):
            raise TokenError(f"{ENDPOINT} is no address of a managed identity")
        query = {"api-version": _VERSION, "resource": self._audience}
        if self._client_id:
            query["client_id"] = self._client_id
        request = urllib.request.Request(  # noqa: S310 - http or https, by the line above
            f"{endpoint}?{urllib.parse.urlencode(query)}", headers={"X-IDENTITY-HEADER": header}
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                told = json.loads(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                words = f"the managed identity's endpoint answered {error.code} for {self._audience}"
            raise TokenError(f"{words}: is that audience registered, and the identity allowed to ask for it?") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TokenError(f"the managed identity's endpoint gave no token ({type(error).__name__})") from error
        token = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(token, str) or not token:
            raise TokenError("the managed identity's endpoint gave an answer without a token")
        return token


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow none: the answer is then an error."""
