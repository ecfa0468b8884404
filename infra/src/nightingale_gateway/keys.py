"""Which keys may log in at the gateway, and the gateway's own host key."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import asyncssh

from nightingale_gateway.config import ConfigError, read_private

_MIN_RSA_BITS = 3072
_MAX_LINE = 2048  # characters, as in the contract's PublicKey
# The same kinds as at login, each with the signatures it may make: asyncssh would also take SHA-1 and WebAuthn.
SIGNATURES: dict[bytes, frozenset[bytes]] = {
    b"ssh-ed25519": frozenset({b"ssh-ed25519"}),
    b"sk-ssh-ed25519@openssh.com": frozenset({b"sk-ssh-ed25519@openssh.com"}),
    b"ecdsa-sha2-nistp256": frozenset({b"ecdsa-sha2-nistp256"}),
    b"ecdsa-sha2-nistp384": frozenset({b"ecdsa-sha2-nistp384"}),
    b"ecdsa-sha2-nistp521": frozenset({b"ecdsa-sha2-nistp521"}),
    b"sk-ecdsa-sha2-nistp256@openssh.com": frozenset({b"sk-ecdsa-sha2-nistp256@openssh.com"}),
    b"ssh-rsa": frozenset({b"rsa-sha2-512", b"rsa-sha2-256"}),
}


def public_line(key: asyncssh.SSHKey) -> str:
    """Return the key as an OpenSSH line without a comment."""
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])


def why_not(key: asyncssh.SSHKey, line: str) -> str:
    """Return why this key may not log in, empty when it may; hold it to its good signatures."""
    allowed = SIGNATURES.get(key.algorithm)
    if allowed is None:
        return "key of a kind that may not log in"
    if key.algorithm == b"ssh-rsa" and getattr(key.pyca_key, "key_size", 0) < _MIN_RSA_BITS:
        return f"RSA key of less than {_MIN_RSA_BITS} bits"
    if len(line) > _MAX_LINE:
        return f"key longer than {_MAX_LINE} characters"
    key.all_sig_algorithms = set(allowed)
    return ""


def load_host_key(path: Path) -> asyncssh.SSHKey:
    """Return the gateway's ed25519 host key, made with mode 0600 when the file is absent. Raises ConfigError."""
    if not path.exists():
        _make_host_key(path)
    text = read_private(path)
    try:
        key = asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ConfigError(f"{path} is no private key without a passphrase: restore it, or move it away") from error
    if key.algorithm != b"ssh-ed25519":
        raise ConfigError(f"{path} is not an ed25519 key: move it away and a new one is made")
    return key


def _make_host_key(path: Path) -> None:
    """Write a new key whole or not at all, and never over one that another process has just made."""
    text = asyncssh.generate_private_key("ssh-ed25519", comment="nightingale-gateway").export_private_key("openssh")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    except OSError as error:
        raise ConfigError(f"the host key {path} cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)
