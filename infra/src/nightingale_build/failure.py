"""Why a build failed."""

from __future__ import annotations

import errno

from nightingale.contract.vocabulary import ReasonCode

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BuildFailedError(Exception):
    """A build that failed: a reason code, what happened in words, and what to do next."""

    def __init__(self, code: ReasonCode, words: str, next_step: str) -> None:
        """Keep all three."""
        super().__init__(words)
        self.code = code
        self.words = words
        self.next_step = next_step


def disk_full(what: str) -> BuildFailedError:
    """Return the failure of a disk that is full."""
    return BuildFailedError(
        ReasonCode.DISK_FULL,
        f"The disk is full: {what}",
        "Free some space where the platform keeps its data, then retry.",
    )


def from_os_error(error: OSError) -> BuildFailedError:
    """Return the failure that says what the system refused."""
    if error.errno in FULL:
        return disk_full(str(error))
    return BuildFailedError(
        ReasonCode.TERRAFORM_FAILED,
        f"The build could not be run: {error}",
        "Retry; if it stays so, ask your administrator to look at the build's log.",
    )


def timed_out(seconds: int) -> BuildFailedError:
    """Return the failure of a build whose time is up."""
    return BuildFailedError(
        ReasonCode.BUILD_TIMEOUT,
        f"Terraform had not finished after {seconds} s and was ended.",
        "Retry; the build's log says what it was waiting for.",
    )


def cancelled() -> BuildFailedError:
    """Return the failure of a build that was told to end."""
    return BuildFailedError(
        ReasonCode.BUILD_TIMEOUT,
        "The build was told to end: its deadline had passed, or this machine is shutting down.",
        "Retry; the build's log says what it was waiting for.",
    )
