"""Refusals of the domain: what happened, why, what to do next."""

from __future__ import annotations

from nightingale.contract.errors import ErrorCode


class RefusedError(Exception):
    """A request that the platform refuses; nothing was changed.

    `details` are (path, message) pairs of its body; `retry_after_s` tells after how many seconds it would be taken.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        next_step: str = "",
        *,
        details: tuple[tuple[str, str], ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        """Keep the code, the words and the next step."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = next_step
        self.details = details
        self.retry_after_s = retry_after_s
