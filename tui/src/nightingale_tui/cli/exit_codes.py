"""What a command's exit status means. Scripts compare these: they do not change."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from nightingale.contract.refusals import in_words
from nightingale_tui.api.errors import (
    ClientError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotLoggedInError,
    UnreachableError,
)


class ExitCode(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    FAILED = 1
    """The platform refused for another reason, the instance failed, or the person said no."""
    USAGE = 2
    """The command line is wrong, or a yes was needed and nobody was there to give it."""
    DIFFERENCE = 2
    """`admin plan` found changes (as `diff` and `terraform plan -detailed-exitcode` count)."""
    NOT_LOGGED_IN = 3
    FORBIDDEN = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNREACHABLE = 7
    INTERRUPTED = 130
    """Ctrl-C."""


MEANINGS: tuple[tuple[ExitCode, str, str], ...] = (
    (ExitCode.OK, "ok", "done; for `admin plan`: the cluster is as the file says"),
    (ExitCode.FAILED, "failed", "refused for a reason without a number of its own, the instance failed, or a no"),
    (ExitCode.USAGE, "usage", "wrong usage, or a yes was needed and there was no terminal to give it on"),
    (ExitCode.DIFFERENCE, "difference", "`admin plan`, or a change with `--dry-run`: something would change"),
    (ExitCode.NOT_LOGGED_IN, "not logged in", "no session, or one that has ended: `nightingale login`"),
    (ExitCode.FORBIDDEN, "forbidden", "you may not do this"),
    (ExitCode.NOT_FOUND, "not found", "no such thing, or none that you may see"),
    (ExitCode.CONFLICT, "conflict", "not now: busy, the name is taken, the cluster was changed meanwhile"),
    (ExitCode.UNREACHABLE, "unreachable", "the platform gave no answer; what was asked may have happened"),
    (ExitCode.INTERRUPTED, "interrupted", "Ctrl-C"),
)
"""Every exit status, its name and its meaning. `usage` and `difference` share 2: their stderr tells them apart."""


class UsageError(ClientError):
    """The command was called in a way it cannot be."""

    def __init__(self, message: str, next_step: str = "") -> None:
        """Keep the words; the code is always `usage`."""
        super().__init__("usage", message, next_step)


def cannot_be(error: msgspec.ValidationError) -> UsageError:
    """Return msgspec's refusal of what was typed as wrong usage: which value, and what it has to be."""
    words, _, path = in_words(str(error)).partition(" - at `$.")
    return UsageError(f"{path.rstrip('`')}: {words}." if path else f"{words}.")


_BY_KIND: tuple[tuple[type[ClientError], ExitCode], ...] = (
    (UsageError, ExitCode.USAGE),
    (NotLoggedInError, ExitCode.NOT_LOGGED_IN),
    (ForbiddenError, ExitCode.FORBIDDEN),
    (NotFoundError, ExitCode.NOT_FOUND),
    (ConflictError, ExitCode.CONFLICT),
    (UnreachableError, ExitCode.UNREACHABLE),
)


def exit_code_of(error: ClientError) -> ExitCode:
    """Return the exit status that stands for `error`."""
    return next((code for kind, code in _BY_KIND if isinstance(error, kind)), ExitCode.FAILED)
