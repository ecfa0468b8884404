"""What the platform, the build runner, the launcher and the image's entry point say to each other, as JSON files.

Every file is written whole: to a temporary name, flushed, then renamed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode

BUILD_VARIABLE = "NIGHTINGALE_BUILD_ID"
INSTANCE_VARIABLE = "NIGHTINGALE_INSTANCE_ID"
GENERATION_VARIABLE = "NIGHTINGALE_GENERATION"
"""What a build in CodeBuild is told by its environment, and what the event of its end repeats."""


class BuildSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`builds/<build_id>/spec.json`: one Terraform run. Carries no secret."""

    build_id: str
    instance_id: str
    generation: int
    action: Action
    desired_state: DesiredState
    place: str
    """`local`, `aws`, `azure` or `gcp`: the folder of `infra/instance/`."""
    variables: dict[str, Any]
    """Terraform variables of the module, see infra/instance/README.md."""
    timeout_seconds: int


class BuildResult(msgspec.Struct, frozen=True, kw_only=True):
    """`builds/<build_id>/result.json`: how the run ended. Seconds of init and of apply are wall time."""

    build_id: str
    is_ok: bool
    started_at: datetime
    finished_at: datetime
    init_s: float = 0.0
    apply_s: float = 0.0
    code: ReasonCode | None = None
    words: str = ""
    next_step: str = ""
    log_tail: tuple[str, ...] = ()
    outputs: dict[str, Any] = {}


class LaunchMount(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset folder that the instance sees read-only at `/data/<dataset>`."""

    dataset: str
    version: str
    tier: int
    source: str


PACKAGES_PORT = 3141
"""Where pip and uv find the package index: on the loopback inside a sandbox, whose network is its own."""


class LaunchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher is told, once per start (local place). Carries no secret: the launcher makes the token."""

    instance_id: str
    name: str
    project: str = ""
    owner: str
    owner_uid: int | None
    generation: int
    instance_dir: str
    home_dir: str
    python: str
    """Interpreter of the image's environment."""
    container: str | None = None
    """Podman's name of a container image that is taken in place of the environment, where it can be."""
    cores: int
    memory_mib: int
    disk_gib: int
    tier: int
    datasets: tuple[LaunchMount, ...] = ()
    home_is_disk: bool = False
    """The home is a disk of its own that is mounted at `home_dir` already, as in a cloud."""


class StartTokens(msgspec.Struct, frozen=True, kw_only=True):
    """`instances/<id>/tokens.json`: the tokens of the next start, where the platform was shown them before it."""

    jupyter: str
    instance: str
    shipper: str

    def __repr__(self) -> str:
        """Return none of them."""
        return "StartTokens(...)"


class LauncherRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`instances/<id>/launcher.json`: who the launcher is. Alive means: the lock `launcher.lock` is held."""

    pid: int
    start_time: int
    """Clock ticks after boot (field 22 of /proc/pid/stat); 0 where there is no /proc."""
    boot_id: str
    generation: int
    started_at: datetime
    sandbox: str
    """`podman`, `bubblewrap` or `none`."""
    limits: tuple[dict[str, str | None], ...] = ()
    """Like contract.schemas.LimitOut: resource, limit, enforced_by, why."""
    image_digest: str | None = None
    """`sha256:…` of the image that it was started from: of an environment's files, or the container image's."""
    observer: str | None = None
    """What watches the reads of its datasets (contract.reads.ObserverSeen), or None."""
    observer_words: str = ""
    """How exact that is, or why nothing watches."""


class ExitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`instances/<id>/exit.json`: how the Jupyter server of one generation ended."""

    generation: int
    code: ReasonCode
    words: str
    next_step: str
    started_at: datetime
    ended_at: datetime
    exit_code: int | None = None
    signal: int | None = None
    is_asked: bool = False
    """Ended because the launcher was told to stop."""
    last_lines: tuple[str, ...] = ()
