"""Identifiers and secrets out of the operating system's randomness."""

from __future__ import annotations

import secrets
import string
from datetime import UTC, datetime

_ALPHABET = string.digits + string.ascii_lowercase  # in the order in which they sort
_ID_LENGTH = 10  # 36**10 ids: beside a million others a new one is taken with a chance of 1 in 3.6 billion
_SECRET_BYTES = 32

_ORDERED_SINCE = datetime(2020, 1, 1, tzinfo=UTC)
_ORDERED_LENGTH = 6  # 36**6 seconds: until 2088; four random characters tell the ids of one second apart


class SystemIds:
    """Makes ids and secrets that nobody can guess."""

    def new(self, prefix: str) -> str:
        """Return `prefix`, a dash and ten random characters of [a-z0-9], such as `i-k3m9x0q2ab`."""
        return f"{prefix}-{_digits(secrets.randbelow(36**_ID_LENGTH), _ID_LENGTH)}"

    def ordered(self, prefix: str, at: datetime) -> str:
        """Return an id whose first six characters are seconds since 2020, so that lists by key are lists by age."""
        seconds = int((at - _ORDERED_SINCE).total_seconds())
        return f"{prefix}-{_digits(seconds, _ORDERED_LENGTH)}{_digits(secrets.randbelow(36**4), 4)}"

    def secret(self) -> str:
        """Return 256 random bits as 43 characters of URL-safe text."""
        return secrets.token_urlsafe(_SECRET_BYTES)


def _digits(number: int, length: int) -> str:
    """Return the last `length` digits to the base of 36.

    An id is one draw: each asks the kernel, and lets another thread in meanwhile, which a busy host waits for.
    """
    return "".join(_ALPHABET[number // 36**place % 36] for place in reversed(range(length)))
