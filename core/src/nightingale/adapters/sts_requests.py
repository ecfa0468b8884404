"""Requests to AWS STS that need no credentials of ours: made here, sent once, answered within bounds.

The SDK would sign them, try them again by itself and write what they carry to its log when that is on.
"""

from __future__ import annotations

import http.client
import re
import ssl
from urllib.parse import urlsplit

from nightingale.ports.machine_proofs import MachineProofUnavailableError

TIMEOUT_S = 5.0
MOST_BYTES = 16_384
"""Of STS's answer: who one is takes some 500, a session's keys some 2,000."""


def post(address: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """Return status and body of what the server at `address` answers; no redirect is followed. Raises OSError."""
    parts = urlsplit(address)
    connection = (
        http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    )
    try:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(MOST_BYTES + 1)
    finally:
        connection.close()


def silent(error: Exception) -> MachineProofUnavailableError:
    """Return what to raise when there was no answer."""
    return MachineProofUnavailableError(f"AWS STS gives no answer ({type(error).__name__})")


def code_in(body: bytes) -> str:
    """Return the error code in STS's answer, in JSON or XML; never more of it."""
    match = re.search(rb'(?:"Code"\s*:\s*"|<Code>)([A-Za-z]{1,60})', body)
    return match[1].decode() if match is not None else "no reason given"
