"""Identifiers and secrets out of the operating system's randomness."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 10  # 36**10 ids: beside a million others a new one is taken with a chance of 1 in 3.6 billion
_SECRET_BYTES = 32


class SystemIds:
    """Makes ids and secrets that nobody can guess."""

    def new(self, prefix: str) -> str:
        """Return `prefix`, a dash and ten random characters of [a-z0-9], such as `i-k3m9x0q2ab`."""
        return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))}"

    def secret(self) -> str:
        """Return 256 random bits as 43 characters of URL-safe text."""
        return secrets.token_urlsafe(_SECRET_BYTES)
