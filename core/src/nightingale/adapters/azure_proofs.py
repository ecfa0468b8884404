"""Who a machine in Azure is: AWS STS is asked, with the token of the machine's managed identity.

    machine ── token, made out to our audience ──▶ platform ── AssumeRoleWithWebIdentity ──▶ STS ── keys of Entra

STS fetches Entra's keys, verifies signature, issuer, audience and time, and says whose token it was. What it gives
beside that are credentials of a role that may do nothing, for as short a time as there is and under a policy that
denies everything: they are read by nobody here. Address, role, policy and session are ours; the token alone is the
machine's (ADR 0021, with what is weaker than in AWS).

    docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from nightingale.adapters.sts_requests import MOST_BYTES, code_in, post, silent
from nightingale.contract.machines import AzureProof, MachineProof, sts_host
from nightingale.domain.machine import MachineIdentity
from nightingale.ports.machine_proofs import MachineProofError, MachineProofUnavailableError

SECONDS = 900
"""STS makes no shorter session."""
NOTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'

_CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"
_REFUSED = frozenset({"AccessDenied", "ExpiredTokenException", "IDPRejectedClaim", "InvalidIdentityToken"})
"""What says something of the token; every other error is the platform's own, or passes."""
_NO_KEYS = b"retrieve verification key"
"""In an `InvalidIdentityToken` that says nothing of the token: STS could not fetch Entra's keys."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OBJECT = re.compile(_ID, re.IGNORECASE)
_PROVIDER = r"(?:https://|arn:aws(?:-cn|-us-gov)?:iam::[0-9]{12}:oidc-provider/)"
"""How STS names an issuer: as the documentation has it, or, as it really does, by what stands for it in IAM."""

Send = Callable[[dict[str, str], bytes], tuple[int, bytes]]


class AzureProofs:
    """Implements ports.machine_proofs.MachineProofs for virtual machines in Azure."""

    def __init__(
        self,
        *,
        tenant: str,
        audience: str,
        role: str,
        region: str,
        endpoint: str | None = None,
        send: Send | None = None,
    ) -> None:
        """Take the tenant whose identities count, what their tokens must be made out to, and the role's ARN.

        `role` may do nothing; `region` is STS's, the platform's own. `endpoint` replaces STS's address (for trying it
        out); `send` is handed headers and body of the one request there is, and returns status and body.
        """
        self._tenant = tenant
        self._audience = audience
        self._role = role
        self._issuer = re.compile(rf"{_PROVIDER}sts\.windows\.net/{re.escape(tenant)}/?")
        address = endpoint or f"https://{sts_host(region)}"
        self._send = send or (lambda headers, body: post(address, headers, body))

    def takes(self, proof: MachineProof) -> bool:
        """Return whether it is a token."""
        return isinstance(proof, AzureProof)

    def check(self, proof: MachineProof, *, server: str, nonce: str, start: str) -> MachineIdentity:
        """Return whose token it is. Server and nonce are bound to it by nothing; `start` names the session at STS.

        Raises MachineProofError, MachineProofUnavailableError.
        """
        del server, nonce
        if not isinstance(proof, AzureProof):
            raise MachineProofError("this is no proof of a machine in Azure")
        if not _DIGEST.fullmatch(start):
            raise MachineProofError("the digest of the start is none")
        asked = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self._role,
            "RoleSessionName": f"start-{start[:32]}",  # in CloudTrail: which start it was asked for
            "DurationSeconds": str(SECONDS),
            "Policy": NOTHING,
            "WebIdentityToken": proof.token,
        }
        headers = {"Content-Type": _CONTENT_TYPE, "Accept": "application/json"}
        try:
            status, body = self._send(headers, urlencode(asked).encode())
        except (OSError, http.client.HTTPException) as error:
            raise silent(error) from error
        if status != http.client.OK:
            raise _refusal(status, body)
        return self._identity(body)

    def _identity(self, body: bytes) -> MachineIdentity:
        subject, audience, provider = _named(body)
        if audience != self._audience:
            raise MachineProofError("the token is made out to another audience")
        if not self._issuer.fullmatch(provider):
            raise MachineProofError("the token is one of another tenant")
        if not _OBJECT.fullmatch(subject):
            raise MachineProofError("the token is not a machine's: its subject is no identity of Azure")
        return MachineIdentity(account=self._tenant, role="", machine_id=subject.lower())


def _named(body: bytes) -> tuple[str, str, str]:
    """Return subject, audience and provider; of the credentials beside them nothing. Raises what `check` does."""
    if len(body) > MOST_BYTES:
        raise MachineProofUnavailableError("AWS STS answered more than it ever does")
    try:
        told: dict[str, Any] = json.loads(body)["AssumeRoleWithWebIdentityResponse"]["AssumeRoleWithWebIdentityResult"]
        subject, audience, provider = (told[name] for name in ("SubjectFromWebIdentityToken", "Audience", "Provider"))
    except (ValueError, KeyError, TypeError):
        # Without the error that led here: it may hold what lies around, and credentials do.
        raise MachineProofUnavailableError("AWS STS answered something else than an identity") from None
    return str(subject), str(audience), str(provider)


def _refusal(status: int, body: bytes) -> Exception:
    """Return what an answer that is none says: of the token, or of AWS and the platform's settings alone."""
    code = code_in(body)
    if code not in _REFUSED or (code == "InvalidIdentityToken" and _NO_KEYS in body):
        return MachineProofUnavailableError(f"AWS STS answered {status} ({code})")
    if code == "AccessDenied":
        return MachineProofError("AWS STS does not open the role to this token (AccessDenied): look at their audiences")
    return MachineProofError(f"AWS STS does not take the token ({code})")
