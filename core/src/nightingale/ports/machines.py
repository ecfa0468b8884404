"""Machines: what stands behind the instances of one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.images import ImageCheck
from nightingale.contract.machines import Door
from nightingale.contract.vocabulary import ReasonCode


class MachineState(StrEnum):
    """What is seen of an instance's machine."""

    ABSENT = "absent"
    UP = "up"
    EXITED = "exited"
    GONE = "gone"  # started once, no longer there, and it left no exit record (reboot, kill of the launcher)


@dataclass(frozen=True)
class MachineSeen:
    """One look. `exit` belongs to the generation asked for; `code`, and `words` if any, say why it is GONE."""

    state: MachineState
    launcher: LauncherRecord | None = None
    exit: ExitRecord | None = None
    code: ReasonCode | None = None
    words: str = ""


@dataclass(frozen=True)
class SandboxSeen:
    """Whether a sandbox works here (`name` None: it does not, `why` says why).

    `is_trusted`: it may hold datasets above tier 0 (the root profile only).
    """

    name: str | None
    why: str
    is_trusted: bool


@dataclass(frozen=True)
class HomeSeen:
    """How full a home is. Nulls where nobody counts or limits it, and then `words` say why."""

    used_bytes: int | None
    limit_bytes: int | None
    is_full: bool = False
    words: str = ""


class MachineUnavailableError(Exception):
    """The machine cannot be asked now."""


class Machines(Protocol):
    """One place's machines."""

    def look(self, instance_id: str, generation: int) -> MachineSeen:
        """Return what is seen of the machine for this generation."""

    def find_all(self) -> Mapping[str, int]:
        """Return generation by instance id for every machine that is up, owned or not (to find orphans)."""

    def end_orphan(self, instance_id: str, *, is_for_good: bool) -> None:
        """End a machine that should not run; `is_for_good`: no instance will ever want it again. Homes stay.

        Raises MachineUnavailableError.
        """

    def sandbox(self) -> SandboxSeen:
        """Say which sandbox new instances get here."""

    def address(self, instance_id: str) -> str:
        """Return where Jupyter listens: `unix:/path` or `tcp:host:port`. Raises MachineUnavailableError."""

    def door(self, instance_id: str) -> Door | None:
        """Return what both sides show at a `tcp:` address, None for one that needs nothing shown. Never log it.

        Raises MachineUnavailableError.
        """

    def token(self, instance_id: str) -> str:
        """Return the Jupyter server's own token. Raises MachineUnavailableError. Never log it."""

    def own_token_hash(self, instance_id: str, *, is_shipper: bool) -> str:
        """Return the SHA-256 (hex) of the token that the instance, or what ships its reads, proves itself with.

        Raises MachineUnavailableError.
        """

    def admit(self, instance_id: str, code_hash: str, expires_at: datetime) -> None:
        """Let the browser that brings the code with this SHA-256 (hex) in, once. Raises MachineUnavailableError."""

    def quarantine(self, instance_id: str) -> None:
        """Cut the machine off from everybody and freeze what runs in it; disks, and who records its reads, stay.

        Where nothing runs, nothing starts either until `release`. Done again it makes sure that it is still so. Returns
        once it is so; raises MachineUnavailableError when it is not, or not yet: what could be done is done then.
        """

    def release(self, instance_id: str) -> None:
        """Let the machine go on where it was; one that was not in quarantine is left as it is. Raises as above."""

    def home(self, instance_id: str) -> HomeSeen | None:
        """Return how full the home is; None when there is none."""

    def image_check(self, instance_id: str) -> ImageCheck | None:
        """Return the last look at the files of the image that it was started from; None before there was one."""

    def read_log(self, instance_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` whole lines of the Jupyter server's log from byte `offset`, and the next offset."""

    def log_tail_offset(self, instance_id: str, lines: int) -> int:
        """Return the byte offset at which the log's last `lines` lines begin."""
