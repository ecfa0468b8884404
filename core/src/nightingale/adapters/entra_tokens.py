"""Tokens for Azure in the name of an application in Entra, by a token of another issuer: no secret is kept anywhere.

    AWS: who this function is ── signed by AWS STS ──▶ Entra: is that whom the application trusts? ── token ──▶ Azure

OAuth 2.0 client credentials with a client assertion (RFC 7523), as Entra's workload identity federation takes it. A
token is kept until shortly before its end. Then one thread fetches the next one while the others go on with what there
is; when that is about to end too, they wait for it.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from nightingale.adapters.aws_clients import LazyClient, code_of, is_aws_error, words_of
from nightingale.adapters.azure_identity import TokenError

ENTRA = "https://login.microsoftonline.com"
AUDIENCE = "api://AzureADTokenExchange"
"""What a federated credential takes tokens for, unless it says otherwise."""

RENEWED_BEFORE_S = 300.0
LAST_S = 30.0
"""So long before its end nobody is handed a token any more: a request may take its time."""

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIVES_S = 300
_TIMEOUT_S = 10.0
_MOST_BYTES = 64 * 1024
_OFF = "OutboundWebIdentityFederationDisabledException"
_TURN_ON = "AWS signs no token for others in this account: `aws iam enable-outbound-web-identity-federation` once"

_MEANINGS = {
    "AADSTS70025": "the application has no federated credential",
    "AADSTS700016": "there is no such application in this tenant",
    "AADSTS700024": "AWS's token was out of its time: look at the clocks",
    "AADSTS700211": "no federated credential of the application names this issuer",
    "AADSTS700212": "no federated credential of the application takes this audience",
    "AADSTS700213": "no federated credential of the application names this role of AWS as its subject",
    "AADSTS90002": "there is no such tenant",
}
"""https://learn.microsoft.com/entra/identity-platform/reference-error-codes"""


class AwsAssertion:
    """Has AWS STS sign who this function is, for Entra. Needs sts:GetWebIdentityToken, and the regional endpoint."""

    def __init__(self, client: LazyClient, audience: str = AUDIENCE) -> None:
        """Take the client of STS."""
        self._client = client
        self._audience = audience

    def __call__(self) -> str:
        """Return a token that is good for a few minutes. Raises TokenError."""
        try:
            answer = self._client().get_web_identity_token(
                Audience=[self._audience],
                SigningAlgorithm="RS256",  # the one that Entra reads
                DurationSeconds=_ASSERTION_LIVES_S,
            )
        except Exception as error:
            if not is_aws_error(error):
                raise
            raise TokenError(_TURN_ON if code_of(error) == _OFF else words_of(error, "AWS signs no token")) from error
        return str(answer["WebIdentityToken"])


class EntraTokens:
    """Tokens of one application for one API. Threads may share it; nothing is asked before the first request."""

    def __init__(
        self,
        tenant: str,
        client_id: str,
        assertion: Callable[[], str],
        scope: str,
        *,
        endpoint: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take tenant and application, what returns a fresh token of the other issuer, and what tokens are for.

        `endpoint` replaces Entra's own address (for trying it out). `assertion` may raise TokenError.
        """
        self._tenant = tenant
        self._client_id = client_id
        self._assertion = assertion
        self._scope = scope
        self._address = urlsplit(endpoint or ENTRA)
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._kept: tuple[str, float] | None = None

    def __repr__(self) -> str:
        """Name the application; never a token."""
        return f"EntraTokens({self._tenant!r}, {self._client_id!r})"

    def __call__(self) -> str:
        """Return a token that is good for half a minute at least. Raises TokenError."""
        kept = self._good(LAST_S)
        if kept is None:
            with self._turn:  # whoever waited finds what was fetched meanwhile
                return self._good(LAST_S) or self._fetch()
        if self._good(RENEWED_BEFORE_S) is not None or not self._turn.acquire(blocking=False):
            return kept
        try:
            return self._fetch()
        except TokenError:
            return kept  # it is good for a while yet
        finally:
            self._turn.release()

    def forget(self) -> None:
        """Keep the present token no longer: it was refused."""
        self._kept = None

    def _good(self, for_s: float) -> str | None:
        kept = self._kept
        return kept[0] if kept is not None and self._monotonic() + for_s < kept[1] else None

    def _fetch(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_assertion_type": _ASSERTION,
            "client_assertion": self._assertion(),
            "scope": self._scope,
        }
        asked_at = self._monotonic()
        try:
            status, body = self._post(urlencode(form))
        except (OSError, http.client.HTTPException) as error:
            raise TokenError(f"Entra gave no answer ({type(error).__name__})") from error
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if status != http.client.OK:
            raise TokenError(f"Entra refused a token ({_why(status, told)})")
        token, lives = (told.get("access_token"), told.get("expires_in")) if isinstance(told, dict) else (None, None)
        if not isinstance(token, str) or not token or not isinstance(lives, int | float | str):
            raise TokenError("Entra gave an answer without a token")
        try:
            self._kept = (token, asked_at + float(lives))
        except ValueError as error:
            raise TokenError("Entra gave a token without its end") from error
        return token

    def _post(self, form: str) -> tuple[int, bytes]:
        """Return status and body of what Entra answers; no redirect is followed."""
        connection = (
            http.client.HTTPSConnection(self._address.netloc, timeout=_TIMEOUT_S, context=ssl.create_default_context())
            if self._address.scheme == "https"
            else http.client.HTTPConnection(self._address.netloc, timeout=_TIMEOUT_S)
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            connection.request("POST", f"/{self._tenant}/oauth2/v2.0/token", form, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST_BYTES)
        finally:
            connection.close()


class HostTokens:
    """Tokens of the identity that the host itself has in Azure, which keeps them until shortly before their end."""

    def __init__(self, token: Callable[[], str]) -> None:
        """Take what asks the host: azure_identity.ManagedIdentity."""
        self._token = token

    def __call__(self) -> str:
        """Return a token. Raises TokenError."""
        return self._token()

    def forget(self) -> None:
        """Do nothing: none is kept here."""


def _why(status: int, told: Any) -> str:
    """Return Entra's error code and what it means; never more of its answer, which repeats what it was sent."""
    told = told if isinstance(told, dict) else {}
    match = re.match(r"AADSTS[0-9]{4,8}", str(told.get("error_description", "")))
    code = match[0] if match is not None else ""
    if code in _MEANINGS:
        return f"{code}: {_MEANINGS[code]}"
    error = str(told.get("error", ""))
    return code or (error if re.fullmatch(r"[a-z_]{1,40}", error) else str(status))
