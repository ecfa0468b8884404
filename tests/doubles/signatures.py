"""Signatures without keys: what `sign` gave out, `verify` accepts, for that message and namespace only."""

from __future__ import annotations

import base64
import hashlib

from nightingale.ports.signatures import GoodSignature, SignatureError

_KINDS = ("ssh-", "ecdsa-", "sk-")


class FakeSignatures:
    """Fingerprints are OpenSSH's own (SHA-256 of the key's blob), so real key lines give their real fingerprints."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[bytes, str, str]] = {}
        self.plain: set[str] = set()
        """Fingerprints of keys that verify no user; the others are FIDO2 keys that do."""

    def fingerprint_of(self, public_key: str) -> str:
        words = public_key.split()
        if len(words) < 2 or not words[0].startswith(_KINDS):
            message = "this is no OpenSSH public key line"
            raise SignatureError(message)
        try:
            blob = base64.b64decode(words[1], validate=True)
        except ValueError as error:  # binascii.Error, or letters that are none of ASCII
            message = "the key's second word is not base64"
            raise SignatureError(message) from error
        return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    def check(self, message: bytes, signature: str, namespace: str) -> GoodSignature:
        given = self._given.get(signature)
        if given is None or given[:2] != (message, namespace):
            words = "the signature does not belong to this message"
            raise SignatureError(words)
        is_verified = given[2] not in self.plain
        return GoodSignature(given[2], "sk-ssh-ed25519@openssh.com", is_verified, is_verified)

    # --- what a test says -----------------------------------------------------------------------------------------

    def key(self, person: str) -> str:
        """Return a public key line for a person, always the same one."""
        return f"ssh-ed25519 {base64.b64encode(f'key of {person}'.encode()).decode()} {person}@laptop"

    def sign(self, public_key: str, message: bytes, namespace: str) -> str:
        """Return the signature that `verify` will accept."""
        fingerprint = self.fingerprint_of(public_key)
        digest = hashlib.sha256(b"\0".join((fingerprint.encode(), namespace.encode(), message))).hexdigest()
        signature = f"-----BEGIN SSH SIGNATURE-----\n{digest}\n-----END SSH SIGNATURE-----\n"
        self._given[signature] = (message, namespace, fingerprint)
        return signature
