"""Why a deployment does not go on."""

from __future__ import annotations


class DeployError(Exception):
    """It cannot go on; the message says what happened and why, `hint` what to do next."""

    def __init__(self, message: str, hint: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.hint = hint
