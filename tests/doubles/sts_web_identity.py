"""AWS STS, as far as AssumeRoleWithWebIdentity goes: it verifies tokens, by a key that Entra is taken to have.

Entra signs by RSA; here it is a MAC, since nothing that is tried looks into a token but this server. Which provider,
which audience, which role: in the order and with the errors of the real one, in the JSON that it answers when asked to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

ACCOUNT = "123456789012"
TENANT = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
AUDIENCE = f"api://{TENANT}/nightingale-machines"
ISSUER = f"sts.windows.net/{TENANT}/"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/nightingale-azure-machines"
PRINCIPAL = "9a1b2c3d-0000-4e5f-8a6b-7c8d9e0f1a2b"
OTHER_PRINCIPAL = "1f2e3d4c-1111-4b5a-9c8d-7e6f5a4b3c2d"
SECRET_KEY = "secret-that-nobody-is-to-see"
NOW = 1_795_000_000
"""The time that STS has, in seconds of the epoch."""
_ENTRA = b"the key that Entra has"


def token_of(principal: str = PRINCIPAL, *, key: bytes = _ENTRA, **claims: Any) -> str:
    """Return the token that Azure gives to a machine with this identity; claims may be other than they are."""
    said = {"aud": AUDIENCE, "iss": f"https://{ISSUER}", "sub": principal, "oid": principal, "exp": NOW + 86_400}
    signed = f"{_text({'typ': 'JWT', 'alg': 'RS256'})}.{_text({**said, **claims})}"
    return f"{signed}.{_coded(hmac.digest(key, signed.encode(), 'sha256'))}"


def _text(told: dict[str, Any]) -> str:
    return _coded(json.dumps(told).encode())


def _coded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class FakeWebIdentitySts:
    """What the account has: identity providers with their audiences, and roles with whom they trust."""

    providers: dict[str, set[str]] = field(default_factory=lambda: {ISSUER: {AUDIENCE, "api://second-backend"}})
    roles: dict[str, tuple[str, str]] = field(default_factory=lambda: {ROLE: (ISSUER, AUDIENCE)})
    """Issuer and audience by role."""
    asked: list[tuple[dict[str, str], dict[str, str]]] = field(default_factory=list)
    """Headers and form of every request."""
    answer: tuple[int, bytes] | None = None
    """What to answer whatever is asked."""
    names_issuer: bool = False
    """Whether the provider is named by its issuer, as the documentation has it."""

    def send(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        form = {name: one for name, [one] in parse_qs(body.decode(), strict_parsing=True).items()}
        self.asked.append((headers, form))
        if self.answer is not None:
            return self.answer
        wrong = self._wrong_form(headers, form)
        return wrong if wrong is not None else self._opened(form)

    def _wrong_form(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, bytes] | None:
        if (form.get("Action"), form.get("Version")) != ("AssumeRoleWithWebIdentity", "2011-06-15"):
            return failed(400, "InvalidAction")
        if "Authorization" in headers or headers.get("Accept") != "application/json":
            return failed(400, "InvalidParameterValue")
        named = re.fullmatch(r"[\w+=,.@-]{2,64}", form["RoleSessionName"])
        if named is None or not 900 <= int(form["DurationSeconds"]) <= 43_200:
            return failed(400, "ValidationError")
        try:
            json.loads(form["Policy"])
        except ValueError:
            return failed(400, "MalformedPolicyDocument")
        return None

    def _opened(self, form: dict[str, str]) -> tuple[int, bytes]:
        signed, _, mac = form["WebIdentityToken"].rpartition(".")
        try:
            claims = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
        except (ValueError, IndexError):
            return failed(400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT")
        issuer = str(claims.get("iss", "")).removeprefix("https://")
        wrong = self._wrong_claims(
            claims, issuer, is_signed=mac == _coded(hmac.digest(_ENTRA, signed.encode(), "sha256"))
        )
        if wrong is not None:
            return wrong
        if self.roles.get(form["RoleArn"]) != (issuer, claims["aud"]):
            return failed(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        provider = f"https://{issuer}" if self.names_issuer else f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"
        name = form["RoleArn"].rpartition("/")[2]
        result = {
            "Audience": claims["aud"],
            "AssumedRoleUser": {
                "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{form['RoleSessionName']}",
                "AssumedRoleId": f"AROAEXAMPLE:{form['RoleSessionName']}",
            },
            "Credentials": {
                "AccessKeyId": "ASIAEXAMPLEEXAMPLE00",
                "SecretAccessKey": SECRET_KEY,
                "SessionToken": hashlib.sha512(signed.encode()).hexdigest(),
                "Expiration": NOW + int(form["DurationSeconds"]),
            },
            "PackedPolicySize": 3,
            "Provider": provider,
            "SubjectFromWebIdentityToken": claims["sub"],
        }
        return 200, answered(result)

    def _wrong_claims(self, claims: dict[str, Any], issuer: str, *, is_signed: bool) -> tuple[int, bytes] | None:
        if issuer not in self.providers:
            return failed(400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account")
        if not is_signed:
            return failed(400, "InvalidIdentityToken", "The provided token could not be verified")
        if claims["exp"] < NOW:
            return failed(400, "ExpiredTokenException", "Token expired")
        if claims["aud"] not in self.providers[issuer]:
            return failed(400, "InvalidIdentityToken", "Incorrect token audience")
        return None


def answered(result: dict[str, Any]) -> bytes:
    """Return a good answer with this in it."""
    said = {"AssumeRoleWithWebIdentityResult": result, "ResponseMetadata": {"RequestId": "r-1"}}
    return json.dumps({"AssumeRoleWithWebIdentityResponse": said}).encode()


def failed(status: int, code: str, words: str = "made up") -> tuple[int, bytes]:
    """Return an error's status and body."""
    said = {"Error": {"Code": code, "Message": words, "Type": "Sender"}, "RequestId": "r-1"}
    return status, json.dumps(said).encode()
