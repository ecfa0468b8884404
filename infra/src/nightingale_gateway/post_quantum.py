"""Key exchanges that no quantum computer undoes later, also for OpenSSH 8.9 to 9.8, which knows no ML-KEM.

Those know sntrup761 with X25519. asyncssh has that exchange, but takes sntrup761 itself from the C library liboqs,
which PyPI does not carry. Here it comes from pqcrypto, a wheel. The exchange stays asyncssh's: it is given a class with
the methods of its `PQKey`, by the call with which it registers its own (the last lines of `asyncssh.kex_dh`).

The secret of a session is SHA-512 over both halves, sntrup761's and X25519's (draft-ietf-sshm-ntruprime-ssh): a fault
of the young library leaves what X25519 alone gives.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha512

from asyncssh.crypto import Curve25519DH
from asyncssh.kex import get_kex_algs, register_kex_alg
from asyncssh.kex_dh import _KexHybridECDH  # not public: asyncssh is pinned, and a test says when this changes
from pqcrypto.kem import sntrup_761

_SNTRUP761 = ("sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com")  # OpenSSH since 9.9, and since 8.9
_BEST_FIRST = ("mlkem768x25519-sha256", *_SNTRUP761)


class Sntrup761:
    """sntrup761 as asyncssh's exchange wants it: one object an exchange, and ValueError for what is no key."""

    pubkey_bytes: int = sntrup_761.PUBLIC_KEY_SIZE
    privkey_bytes: int = sntrup_761.SECRET_KEY_SIZE
    ciphertext_bytes: int = sntrup_761.CIPHERTEXT_SIZE
    secret_bytes: int = sntrup_761.SHARED_SECRET_SIZE

    def __init__(self, alg_name: bytes = b"sntrup761") -> None:
        """Raise ValueError for any other algorithm."""
        if alg_name != b"sntrup761":
            raise ValueError(f"this is sntrup761, not {alg_name!r}")

    @cached_property
    def _pair(self) -> tuple[bytes, bytes]:
        # Public and secret key. The client's alone, so made when asked for: 18 ms, and 0.2 are all that a server needs.
        public, secret = sntrup_761.keygen()
        return bytes(public), bytes(secret)

    def get_public(self) -> bytes:
        """Return the public key, `pubkey_bytes` long; the same one each time."""
        return self._pair[0]

    def encaps(self, peer_public: bytes) -> tuple[bytes, bytes]:
        """Return a new secret, and what only the key's owner can read it from. Raises ValueError for a wrong length."""
        ciphertext, secret = sntrup_761.encaps(peer_public)
        return bytes(secret), bytes(ciphertext)

    def decaps(self, ciphertext: bytes) -> bytes:
        """Return the secret; for a forged ciphertext another one, by design. Raises ValueError for a wrong length."""
        return bytes(sntrup_761.decaps(self._pair[1], ciphertext))


def post_quantum_exchanges() -> list[str]:
    """Teach asyncssh what it lacks, and return every post-quantum exchange that this machine has, best first.

    Where asyncssh found a liboqs on this machine, its own sntrup761 stays. ML-KEM comes from the cryptography library,
    and is absent only where that was built on an OpenSSL before 3.5.
    """
    for name in _SNTRUP761:
        if name.encode() not in get_kex_algs():
            arguments = (Sntrup761, b"sntrup761", Curve25519DH)
            register_kex_alg(name.encode(), _KexHybridECDH, sha512, arguments, default=False)
    known = get_kex_algs()
    return [name for name in _BEST_FIRST if name.encode() in known]
