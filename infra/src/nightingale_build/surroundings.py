"""Where a build stands: a folder of this machine, or a container of a cloud with its files in object storage.

The runner is the same in both; what differs is behind these two.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nightingale.contract.build import BuildResult, BuildSpec

if TYPE_CHECKING:  # types only: a build on one machine starts while a person waits
    from nightingale_build.plan_gate import Knowledge
    from nightingale_build.terraform_run import TerraformRun


class LeftAloneError(Exception):
    """The build has ended already, or another run of it goes on: there is nothing to do and no result to write."""


@dataclass(frozen=True)
class Workspace:
    """Where Terraform runs for one instance, while nobody else does."""

    folder: Path
    templates: Path
    """What `terraform init` made for a module, by the module's digest."""
    backend: dict[str, Any] | None = None
    """Terraform's backend by its type, None for the folder itself."""
    is_state_lost: bool = False
    """Nobody knows any more what there is: the state was torn, and no copy of it is left."""
    knowledge: Knowledge | None = None
    """What the plan is judged by before it is applied; None: it is applied unseen."""


class Surroundings(Protocol):
    """What a build is handed, and where it leaves what it made."""

    build_id: str
    log: Path
    """What Terraform printed, and what is read of it."""
    end_s: float
    """So many seconds Terraform may take to end by itself: it writes its state and lets go of its lock."""

    def prepare(self) -> None:
        """Make sure that a result can be written later. Raises OSError, LeftAloneError."""

    def spec(self) -> bytes:
        """Return the specification as it was written. Raises OSError, BuildFailedError."""

    def deadline(self, spec: BuildSpec) -> float:
        """Return the moment (monotonic seconds) by which Terraform must have ended."""

    def workspace(self, spec: BuildSpec, deadline: float) -> AbstractContextManager[Workspace]:
        """Hold the instance for this build alone. Raises BuildFailedError, LeftAloneError, OSError."""

    def introduce(self, spec: BuildSpec) -> None:
        """Let the place's cloud know Terraform's next command, where it does not by itself. Raises BuildFailedError."""

    def unlock(self, terraform: TerraformRun) -> None:
        """Release the state where a run that is proven dead holds it. Raises BuildFailedError where one may live."""

    def keep_state(self, terraform: TerraformRun) -> None:
        """Save a state that Terraform could not write where it belongs. Raises BuildFailedError."""

    def has_room(self) -> bool:
        """Return whether there is room on the disk for more words."""

    def write(self, result: BuildResult) -> BuildResult:
        """Write the result, once; return the one that stands. Raises OSError."""
