"""Time, ids and randomness, handed in so that the core asks no one."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The one clock of a host."""

    def now(self) -> datetime:
        """Return the time, aware, UTC, in whole seconds."""


class Ids(Protocol):
    """Identifiers and secrets."""

    def new(self, prefix: str) -> str:
        """Return `prefix`, a dash and ten characters of [a-z0-9]; never the same twice."""

    def ordered(self, prefix: str, at: datetime) -> str:
        """Return an id of the same form, such that one made for a later second sorts after it."""

    def secret(self) -> str:
        """Return at least 256 random bits as URL-safe text."""
