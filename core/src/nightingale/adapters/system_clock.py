"""The clock of this machine."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """Tells the time of the operating system."""

    def now(self) -> datetime:
        """Return the time, aware, UTC, in whole seconds (the second that has begun)."""
        return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - this is the Clock port's one real clock
