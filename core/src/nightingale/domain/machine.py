"""What the platform keeps of one start of a machine in a cloud."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.machines import HomeReport


@dataclass(frozen=True)
class MachineIdentity:
    """Who a proof was made by, as the cloud says."""

    account: str
    """The account in AWS, the tenant in Azure."""
    role: str
    """The machine's role, empty where machines have none."""
    machine_id: str
    """What the cloud knows the machine by when it proves itself: EC2's id; in Azure its identity's object id."""


@dataclass(frozen=True)
class MachineStart:
    """The one start that a generation has. Tokens are kept as hashes, but for those the platform itself enters by."""

    instance_id: str
    generation: int
    machine_id: str
    address: str
    at: datetime
    digest: str
    """Of all that the machine made for it: the same machine may say it again, nobody else can."""
    instance_token_hash: str
    shipper_token_hash: str
    jupyter_token: str = field(repr=False)
    door_certificate: str = field(repr=False)
    door_key: str = field(repr=False)
    launcher: LauncherRecord | None = None
    exit: ExitRecord | None = None
    interrupted_at: datetime | None = None
    home: HomeReport | None = None
    """How full its home was when the machine last said so."""

    def with_launcher(self, record: LauncherRecord) -> MachineStart:
        """Return it with its launcher's record."""
        return replace(self, launcher=record)

    def with_exit(self, record: ExitRecord) -> MachineStart:
        """Return it with how it ended; the first end is the one that counts."""
        return self if self.exit is not None else replace(self, exit=record)

    def with_home(self, report: HomeReport) -> MachineStart:
        """Return it with how full its home is now."""
        return replace(self, home=report)

    def with_interruption(self, at: datetime) -> MachineStart:
        """Return it with the time at which the cloud takes the machine away, as first told."""
        return self if self.interrupted_at is not None else replace(self, interrupted_at=at)
