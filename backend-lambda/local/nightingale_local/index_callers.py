"""Who asks the index proxy: an instance, with what it may ask at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus

from nightingale_local.index_platform import Whose
from nightingale_local.index_requests import RefusedError

BURST, A_SECOND = 400, 40
"""Requests of one instance: so many at once, then so many a second."""


@dataclass
class Caller:
    """An instance that asks."""

    whose: Whose
    _left: float = field(default=BURST, kw_only=True)
    _at: float = field(default_factory=time.monotonic, kw_only=True)

    def take_turn(self) -> None:
        """Count one request. Raises RefusedError for one too many."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * A_SECOND)
        self._at = now
        if self._left < 1:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too many requests: wait a few seconds")
        self._left -= 1
