"""The time, for processes of their own that have no Clock port."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the time, aware, UTC, in whole seconds (the second that has begun), like the platform's clock."""
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - a process of its own has no Clock port
