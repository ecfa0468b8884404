"""Decoy credentials: they open nothing, and whoever tries one says where it was taken from."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import secrets
import string
import subprocess
from pathlib import Path

_KEY_ID = re.compile(r"\bA[A-Z]IA[A-Z2-7]{16}\b")
_BASE32 = string.ascii_uppercase + "234567"


def aws(path: Path, like: Path | None, draw: random.Random) -> str:
    """Write an AWS credentials file; return the access key id.

    With `like`, a credentials file with a key of an IAM user that may do nothing, that is copied: only such a key
    leaves a trace in CloudTrail. Raises ValueError when it holds no access key id.
    """
    if like is not None:
        text = like.read_text(encoding="utf-8")
        found = _KEY_ID.search(text)
        if found is None:
            raise ValueError(f"{like} holds no AWS access key id (AKIA and 16 letters or digits)")
        path.write_text(text, encoding="utf-8")
        return found[0]
    key_id = "AKIA" + "".join(draw.choice(_BASE32) for _ in range(16))
    secret = base64.b64encode(secrets.token_bytes(30)).decode()
    path.write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n", encoding="utf-8")
    return key_id


def ssh(path: Path, like: Path | None, draw: random.Random) -> str:
    """Write an SSH key pair by ssh-keygen; return its fingerprint. Raises ValueError without ssh-keygen."""
    del like
    try:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"backup@archive{draw.randrange(1, 9)}", "-f", path],
            check=True,
            capture_output=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(f"ssh-keygen made no key: {error}") from error
    public = path.with_name(f"{path.name}.pub").read_text(encoding="ascii").split()[1]
    digest = hashlib.sha256(base64.b64decode(public)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def token(path: Path, like: Path | None, draw: random.Random) -> str:
    """Write what looks like a token of this platform; return `token:` and its SHA-256."""
    del like, draw
    made = secrets.token_urlsafe(32)
    path.write_text(f"{made}\n", encoding="ascii")
    return f"token:{hashlib.sha256(made.encode()).hexdigest()}"
