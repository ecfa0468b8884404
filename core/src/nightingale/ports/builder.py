"""The builder: runs Terraform for an instance, somewhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import BuildState


class BuilderUnavailableError(Exception):
    """The builder could not take the build now; try again with the same id. The message is in words."""


class BuilderFullError(BuilderUnavailableError):
    """The builder works and has as much to do as it may: the build waits its turn. Try again with the same id."""


@dataclass(frozen=True)
class BuildSeen:
    """What the builder knows of a build. `result` is there once it ended.

    A build that was started and died without a result is seen as failed with a result whose code is `build_lost`;
    one that it never heard of is QUEUED.
    """

    state: BuildState
    result: BuildResult | None = None


class Builder(Protocol):
    """Starts builds and says how they stand."""

    def start(self, spec: BuildSpec) -> None:
        """Start the build, once: a second call with the same build id does nothing.

        Raises BuilderUnavailableError, and BuilderFullError where others are in front of it.
        """

    def look(self, build_id: str) -> BuildSeen:
        """Return how the build stands."""

    def cancel(self, build_id: str) -> None:
        """End the build's processes if any still run (its deadline passed). Does nothing when it has ended."""

    def read_log(self, build_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` whole lines from byte `offset`, and the next offset."""
