"""Checks a person's SSH signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class SignatureError(Exception):
    """The signature is not good; the message says why, without secrets."""


@dataclass(frozen=True)
class GoodSignature:
    """What a checked signature says about its signer.

    `is_user_verified` is true only when a FIDO2 key asked for PIN or fingerprint: what counts as multi-factor.
    """

    fingerprint: str
    algorithm: str
    is_hardware_key: bool = False
    is_user_verified: bool = False


class SignatureVerifier(Protocol):
    """Checks SSHSIG signatures (the format of `ssh-keygen -Y sign`)."""

    def fingerprint_of(self, public_key: str) -> str:
        """Return `SHA256:…` of an OpenSSH public key line. Raises SignatureError when it is none."""

    def check(self, message: bytes, signature: str, namespace: str) -> GoodSignature:
        """Return who signed `message`, and how. Raises SignatureError."""
