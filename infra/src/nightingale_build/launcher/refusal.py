"""Why the launcher does not do what it was told."""

from __future__ import annotations

import json

from nightingale.contract.vocabulary import ReasonCode


class RefusalError(Exception):
    """A refusal in words. Terraform's log carries it to the build's result as one JSON line."""

    def __init__(self, code: ReasonCode, words: str, next_step: str) -> None:
        """Keep the reason code, what happened and what to do next."""
        super().__init__(words)
        self.code = code
        self.words = words
        self.next_step = next_step

    def line(self) -> str:
        """Return the one line of JSON that the build runner looks for."""
        return json.dumps({"code": self.code.value, "words": self.words, "next_step": self.next_step})


def from_os_error(error: OSError) -> RefusalError:
    """Return the refusal that says what the system refused."""
    import errno  # noqa: PLC0415 - rarely needed

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return RefusalError(
            ReasonCode.DISK_FULL,
            f"The disk is full: {error}.",
            "Free some space where the platform keeps its data, then retry.",
        )
    return RefusalError(
        ReasonCode.TERRAFORM_FAILED,
        f"The system refused: {error}.",
        "Retry; if it stays so, ask your administrator to look at the build's log.",
    )
