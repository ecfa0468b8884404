"""SSHSIG signatures (`ssh-keygen -Y sign`), checked by asyncssh's own sshsig module.

asyncssh does the cryptography. What is checked here before it runs is what a login needs and asyncssh leaves open: the
namespace, the hash, the kind and size of the key, SHA-1, and that nothing is longer than it has to be.
The format: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from nightingale.ports.signatures import GoodSignature, SignatureError

# asyncssh costs half a second to two to import, so it is imported by the first check and not by the program's start.

_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_VERSION = 1
_MAX_ARMOR = 8192  # characters, as in SessionIn; a signature of an 8192 bit RSA key has 3,000
_MAX_KEY_LINE = 2048  # characters, as in the contract's PublicKey
_MIN_RSA_BITS = 3072

_HASHES = frozenset({b"sha256", b"sha512"})
# Key kind -> the signature algorithms it may sign with. `ssh-rsa` as an algorithm is SHA-1 and stands on no list.
_ALGORITHMS: dict[bytes, frozenset[bytes]] = {
    b"ssh-ed25519": frozenset({b"ssh-ed25519"}),
    b"sk-ssh-ed25519@openssh.com": frozenset({b"sk-ssh-ed25519@openssh.com"}),
    b"ecdsa-sha2-nistp256": frozenset({b"ecdsa-sha2-nistp256"}),
    b"ecdsa-sha2-nistp384": frozenset({b"ecdsa-sha2-nistp384"}),
    b"ecdsa-sha2-nistp521": frozenset({b"ecdsa-sha2-nistp521"}),
    b"sk-ecdsa-sha2-nistp256@openssh.com": frozenset({b"sk-ecdsa-sha2-nistp256@openssh.com"}),
    b"ssh-rsa": frozenset({b"rsa-sha2-256", b"rsa-sha2-512"}),
}
_USE_ANOTHER = "use ssh-ed25519, ecdsa, a FIDO2 key of these kinds, or RSA of 3072 bits and more"

_USER_PRESENT = 0x01  # the key was touched
_USER_VERIFIED = 0x04  # by PIN or fingerprint


@dataclass(frozen=True)
class _Envelope:
    """The fields of an SSHSIG blob, not yet checked."""

    public_key: bytes
    namespace: bytes
    hash_name: bytes
    algorithm: bytes
    flags: int | None


class SshSignatures:
    """SignatureVerifier by asyncssh."""

    def fingerprint_of(self, public_key: str) -> str:
        """Return `SHA256:…` of an OpenSSH public key line (its comment is ignored).

        Raises SignatureError when the line is no public key, or one of a kind or size that may not log in.
        """
        if len(public_key) > _MAX_KEY_LINE:
            raise SignatureError(f"the public key is longer than {_MAX_KEY_LINE} characters: {_USE_ANOTHER}")
        words = public_key.split(maxsplit=2)
        if len(words) < 2:  # noqa: PLR2004 - kind and key, both are needed
            raise SignatureError("this is no public key: give the line of the .pub file, like `ssh-ed25519 AAAA…`")
        try:
            kind = words[0].encode("ascii")
            blob = base64.b64decode(words[1], validate=True)
        except ValueError as error:
            raise SignatureError("this is no public key: the second word is not base64") from error
        if kind not in _ALGORITHMS:
            raise SignatureError(f"keys of this kind may not log in: {_USE_ANOTHER}")
        return _fingerprint(kind, blob)

    def check(self, message: bytes, signature: str, namespace: str) -> GoodSignature:
        """Return who signed `message`, and how. Raises SignatureError, which says why in words."""
        blob = _unarmored(signature)
        envelope = _read(blob)
        if envelope.namespace != namespace.encode():
            raise SignatureError(f"the signature was made for another purpose: sign with `-n {namespace}`")
        if envelope.hash_name not in _HASHES:
            raise SignatureError("the signature uses an unknown hash: sign with sha512 or sha256")
        kind = _kind(envelope.public_key)
        if envelope.algorithm not in _ALGORITHMS[kind]:
            raise SignatureError("the signature's algorithm does not go with its key, or is SHA-1: update OpenSSH")
        fingerprint = _fingerprint(kind, envelope.public_key)
        if envelope.flags is not None and not envelope.flags & _USER_PRESENT:
            raise SignatureError("the hardware key was not touched: sign again and touch it")
        if not _is_valid(message, blob, kind, envelope.public_key):
            raise SignatureError("the signature does not match: it is of another message, another key, or was changed")
        return GoodSignature(
            fingerprint=fingerprint,
            algorithm=envelope.algorithm.decode("ascii"),
            is_hardware_key=envelope.flags is not None,
            is_user_verified=bool((envelope.flags or 0) & _USER_VERIFIED),
        )


def _unarmored(signature: str) -> bytes:
    """Return the bytes within the armour. Strict where asyncssh is lenient: nothing but base64 between the lines."""
    if len(signature) > _MAX_ARMOR:
        raise SignatureError(f"the signature is longer than {_MAX_ARMOR} characters")
    lines = [line.rstrip() for line in signature.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:  # noqa: PLR2004 - first, last, something between
        raise SignatureError(f"this is no SSH signature: it starts with `{_BEGIN}` and ends with `{_END}`")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError("this is no SSH signature: its body is not base64") from error


def _read(blob: bytes) -> _Envelope:
    """Return the blob's fields. Every read is bounded by the blob, which is bounded by the armour."""
    from asyncssh.packet import PacketDecodeError, SSHPacket  # noqa: PLC0415 - slow to import, see above

    packet = SSHPacket(blob)
    try:
        if packet.get_bytes(len(_MAGIC)) != _MAGIC or packet.get_uint32() != _VERSION:
            raise SignatureError("this is no SSH signature of version 1: make it with `ssh-keygen -Y sign`")
        public_key, namespace = packet.get_string(), packet.get_string()
        reserved, hash_name = packet.get_string(), packet.get_string()
        inner = SSHPacket(packet.get_string())
        packet.check_end()
        algorithm = inner.get_string()
        inner.get_string()
        flags = None
        if algorithm.startswith(b"sk-"):
            flags = inner.get_byte()
            inner.get_uint32()  # the key's counter: a hint about clones, which no one can act on here
        inner.check_end()
    except PacketDecodeError as error:
        raise SignatureError("the signature is cut short or damaged: sign again") from error
    if reserved:
        raise SignatureError("the signature has a field that version 1 keeps empty: sign with a current OpenSSH")
    return _Envelope(public_key, namespace, hash_name, algorithm, flags)


def _kind(blob: bytes) -> bytes:
    """Return the kind of key that an encoded public key says it is. Raises SignatureError for all but ours."""
    from asyncssh.packet import PacketDecodeError, SSHPacket  # noqa: PLC0415 - slow to import, see above

    try:
        kind = SSHPacket(blob).get_string()
    except PacketDecodeError as error:
        raise SignatureError("the public key is cut short or damaged") from error
    if kind not in _ALGORITHMS:
        raise SignatureError(f"keys of this kind may not log in: {_USE_ANOTHER}")
    return kind


def _fingerprint(kind: bytes, blob: bytes) -> str:
    """Return `SHA256:…` of an encoded public key that says it is of `kind`. Raises SignatureError."""
    import asyncssh  # noqa: PLC0415 - slow to import, see above
    from asyncssh.packet import PacketDecodeError, SSHPacket  # noqa: PLC0415 - as the line above

    try:
        if kind == b"ssh-rsa":
            packet = SSHPacket(blob)
            packet.get_string()
            packet.get_mpint()
            if (bits := packet.get_mpint().bit_length()) < _MIN_RSA_BITS:
                raise SignatureError(f"the RSA key has {bits} bits: {_USE_ANOTHER}")
        key = asyncssh.import_public_key(kind + b" " + base64.b64encode(blob))
    except (asyncssh.KeyImportError, PacketDecodeError) as error:
        raise SignatureError("the public key is cut short or damaged") from error
    except (ValueError, OverflowError) as error:  # numbers that no key of this kind can have
        raise SignatureError("the public key is damaged: its numbers make no key") from error
    # One key has one encoding: a second one would have another fingerprint and pass for a different key.
    if key.algorithm != kind or key.public_data != blob:
        raise SignatureError("the public key is not encoded as OpenSSH encodes it")
    return key.get_fingerprint("sha256")


def _is_valid(message: bytes, blob: bytes, kind: bytes, public_key: bytes) -> bool:
    """Let asyncssh check the signature against the one key it names; who owns that key is asked elsewhere."""
    import asyncssh  # noqa: PLC0415 - slow to import, see above

    signers = b"* " + kind + b" " + base64.b64encode(public_key)
    try:
        return asyncssh.validate_sshsig(message, blob, "signer", signers)
    except (ValueError, OverflowError):
        return False
