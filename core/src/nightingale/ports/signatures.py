"""Checks a person's SSH signature."""

from __future__ import annotations

from typing import Protocol


class SignatureError(Exception):
    """The signature is not good; the message says why, without secrets."""


class SignatureVerifier(Protocol):
    """Checks SSHSIG signatures (the format of `ssh-keygen -Y sign`)."""

    def fingerprint_of(self, public_key: str) -> str:
        """Return `SHA256:…` of an OpenSSH public key line. Raises SignatureError when it is none."""

    def verify(self, message: bytes, signature: str, namespace: str) -> str:
        """Return the fingerprint of the key that signed. Raises SignatureError."""
