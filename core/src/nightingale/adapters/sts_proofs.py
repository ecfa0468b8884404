"""Who a machine in AWS is: AWS STS is asked, with the machine's own signature.

The machine signs `GetCallerIdentity` with the credentials of its instance profile and sends the signature, not the
request. The request is put together here: STS's own address of one region, method, path, headers and body are ours, and
only the signature, its time and the session's token are the machine's. What is known to go wrong with this scheme when
a server passes on what it is handed (another host, another action, another content type of the answer) has no place to
go in. Our address, the nonce and the start's digest are headers that the signature must cover: STS checks that for us.

    SigV4: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
    EC2 names the session of an instance profile, after the machine: assumed-role/<role>/i-0123456789abcdef0
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nightingale.adapters.aws_clients import THROTTLED
from nightingale.adapters.sts_requests import MOST_BYTES, code_in, post, silent
from nightingale.contract.machines import (
    IDENTITY_BODY,
    IDENTITY_CONTENT_TYPE,
    NONCE_HEADER,
    SERVER_HEADER,
    SIGNED_HEADERS,
    START_HEADER,
    AwsProof,
    MachineProof,
    sts_host,
)
from nightingale.domain.machine import MachineIdentity
from nightingale.ports.clock import Clock
from nightingale.ports.machine_proofs import MachineProofError, MachineProofUnavailableError

MOST_SKEW = timedelta(minutes=5)
"""STS takes a signature for fifteen minutes; ours are made for one request."""

_KEY = r"[A-Z0-9]{16,128}"
_SESSION = re.compile(
    r"arn:aws(?:-cn|-us-gov)?:sts::(?P<account>[0-9]{12}):assumed-role/(?P<role>[\w+=,.@-]{1,64})"
    r"/(?P<machine>i-(?:[0-9a-f]{8}|[0-9a-f]{17}))",
    re.ASCII,
)
_VALUE = re.compile(r"[\x21-\x7e]{1,500}")
_REFUSED = frozenset({http.client.BAD_REQUEST, http.client.FORBIDDEN})

Send = Callable[[dict[str, str]], tuple[int, bytes]]


class StsProofs:
    """Implements ports.machine_proofs.MachineProofs for EC2."""

    def __init__(
        self,
        *,
        account: str,
        role: str,
        region: str,
        clock: Clock,
        endpoint: str | None = None,
        send: Send | None = None,
    ) -> None:
        """Take the account whose machines count, the role that all of them have, and STS's region.

        `endpoint` replaces STS's own address (for trying it out); machines sign that one's host then. `send` is handed
        the headers of the one request there is, and returns status and body, in place of a connection of its own.
        """
        self._account = account
        self._role = role
        self._region = region
        self._clock = clock
        address = endpoint or f"https://{sts_host(region)}"
        self._send = send or (lambda headers: post(address, headers, IDENTITY_BODY))
        self._authorization = re.compile(
            rf"AWS4-HMAC-SHA256 Credential={_KEY}/(?P<day>[0-9]{{8}})/{re.escape(region)}/sts/aws4_request, ?"
            rf"SignedHeaders={';'.join(SIGNED_HEADERS)}, ?Signature=[0-9a-f]{{64}}"
        )

    def takes(self, proof: MachineProof) -> bool:
        """Return whether it is a signature."""
        return isinstance(proof, AwsProof)

    def check(self, proof: MachineProof, *, server: str, nonce: str, start: str) -> MachineIdentity:
        """Return who signed exactly this server, nonce and start digest.

        Raises MachineProofError, MachineProofUnavailableError.
        """
        if not isinstance(proof, AwsProof):
            raise MachineProofError("this is no proof of a machine in AWS")
        match = self._authorization.fullmatch(proof.authorization)
        if match is None:
            raise MachineProofError(
                f"the signature is not one for STS in {self._region} over exactly {', '.join(SIGNED_HEADERS)}"
            )
        if match["day"] != proof.date[:8]:
            raise MachineProofError("the signature's day is not the one of its time")
        self._check_time(proof.date)
        if not all(_VALUE.fullmatch(value) for value in (server, nonce, start)):
            raise MachineProofError("what was signed cannot stand in a header")
        headers = {
            "Content-Type": IDENTITY_CONTENT_TYPE,
            "X-Amz-Date": proof.date,
            "X-Amz-Security-Token": proof.session_token,
            NONCE_HEADER: nonce,
            SERVER_HEADER: server,
            START_HEADER: start,
            "Authorization": proof.authorization,
            "Accept": "application/json",
        }
        return self._identity(self._ask(headers))

    def _check_time(self, date: str) -> None:
        try:
            at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise MachineProofError("the signature's time is none") from error
        off = (at - self._clock.now()).total_seconds()
        if abs(off) > MOST_SKEW.total_seconds():
            way = "ahead of" if off > 0 else "behind"
            raise MachineProofError(f"clock skew: the machine's clock is {abs(off):.0f} s {way} the platform's")

    def _ask(self, headers: dict[str, str]) -> bytes:
        """Return STS's answer of status 200, read no further than it must be."""
        try:
            status, body = self._send(headers)
        except (OSError, http.client.HTTPException) as error:
            raise silent(error) from error
        code = code_in(body)
        if status in _REFUSED and code not in THROTTLED:  # which STS says with the status of a bad request
            raise MachineProofError(f"AWS STS does not take the signature ({code})")
        if status != http.client.OK or len(body) > MOST_BYTES:
            raise MachineProofUnavailableError(f"AWS STS answered {status} ({code})")
        return body

    def _identity(self, body: bytes) -> MachineIdentity:
        try:
            result = json.loads(body)["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
            arn, account = str(result["Arn"]), str(result["Account"])
        except (ValueError, KeyError, TypeError) as error:
            raise MachineProofUnavailableError("AWS STS answered something else than an identity") from error
        match = _SESSION.fullmatch(arn)
        if match is None:
            raise MachineProofError("the signature is not a machine's: it was made by another kind of identity")
        if account != self._account or match["account"] != self._account:
            raise MachineProofError(f"the machine is one of another account ({match['account']})")
        if match["role"] != self._role:
            raise MachineProofError(f"the machine has another role ({match['role']})")
        return MachineIdentity(account=account, role=match["role"], machine_id=match["machine"])
