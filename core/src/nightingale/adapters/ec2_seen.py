"""What EC2 says of machines, asked as seldom as will do: many with one question, whose answer is kept a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightingale.adapters.aws_clients import LazyClient, is_aws_error, words_of
from nightingale.contract.vocabulary import ReasonCode
from nightingale.ports.machines import MachineUnavailableError

INSTANCE_TAG = "nightingale:instance"
GENERATION_TAG = "nightingale:generation"

KEPT_S = 2.0
"""What was seen is good for so long."""

WANTED_S = 60.0
"""Machines that were asked for within this time are described together."""

ANGRY_S = 1.0
"""After a question that failed EC2 is left alone for so long."""

_A_FILTER = 100
"""Values of one filter; EC2 takes 200."""

_PAGE = 500
UP = frozenset({"pending", "running"})

_BY_SPOT = frozenset({"Server.SpotInstanceTermination", "Server.SpotInstanceShutdown"})
_WHY = {
    "Client.InstanceInitiatedShutdown": "the machine was shut down from inside",
    "Client.UserInitiatedShutdown": "the machine was ended through EC2, by someone other than this platform",
    "Client.InternalError": "the machine could not start: a disk cannot be opened, often for want of its KMS key",
    "Client.InvalidSnapshot.NotFound": "the machine could not start: a snapshot is gone",
    "Client.VolumeLimitExceeded": "the machine could not start: the account may have no more disks",
    "Server.InsufficientInstanceCapacity": "AWS had no machine of this type to give",
    "Server.InternalError": "AWS had a fault and ended the machine",
    "Server.ScheduledStop": "AWS stopped the machine to repair what it ran on",
}


@dataclass(frozen=True)
class Ec2Machine:
    """One machine as EC2 describes it."""

    id: str
    instance_id: str
    generation: int
    state: str
    launched_at: datetime
    reason: str

    @property
    def is_up(self) -> bool:
        """Whether it runs, or is about to."""
        return self.state in UP

    def is_one(self, machine_id: str) -> bool:
        """Return whether this is its id: a machine's session in STS is named so."""
        return self.id == machine_id

    @property
    def code(self) -> ReasonCode:
        """Why it is no longer up."""
        return ReasonCode.INTERRUPTED if self.reason in _BY_SPOT else ReasonCode.MACHINE_GONE

    @property
    def words(self) -> str:
        """The same in words; empty where the code says it all."""
        if self.code is ReasonCode.INTERRUPTED:
            return ""
        told = _WHY.get(self.reason, f"the machine is {self.state}, and AWS does not say why")
        return f"{told} ({self.reason})" if self.reason else told


class Ec2Seen:
    """Describes machines by the instances they are. Threads may share it."""

    cloud = "EC2"

    def __init__(self, client: LazyClient, vpc_id: str, monotonic: Callable[[], float]) -> None:
        """Take the client, and the network that holds this platform's machines and nobody else's."""
        self._client = client
        self._vpc = {"Name": "vpc-id", "Values": [vpc_id]}
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._wanted: dict[str, float] = {}
        self._seen: dict[str, tuple[Ec2Machine, ...]] = {}
        self._seen_at: dict[str, float] = {}
        self._failed: tuple[float, MachineUnavailableError] | None = None

    def of(self, instance_id: str) -> tuple[Ec2Machine, ...]:
        """Return the instance's machines, newest first; one that ended is listed for about an hour.

        Raises MachineUnavailableError.
        """
        with self._turn:
            now = self._monotonic()
            self._wanted[instance_id] = now
            at = self._seen_at.get(instance_id)
            if at is None or now - at >= KEPT_S:
                self._wanted = {one: asked for one, asked in self._wanted.items() if now - asked < WANTED_S}
                self._describe([one for one in self._wanted if now - self._seen_at.get(one, -KEPT_S) >= KEPT_S], now)
            return self._seen.get(instance_id, ())

    def up(self) -> dict[str, Ec2Machine]:
        """Return every machine that is up, by the instance it is tagged as. Raises MachineUnavailableError."""
        states = {"Name": "instance-state-name", "Values": sorted(UP)}
        filters = [self._vpc, {"Name": "tag-key", "Values": [INSTANCE_TAG]}, states]
        with self._turn:
            return {one.instance_id: one for one in self._asked(filters)}

    def _describe(self, ids: list[str], now: float) -> None:
        found: dict[str, list[Ec2Machine]] = {one: [] for one in ids}
        for first in range(0, len(ids), _A_FILTER):
            named = {"Name": f"tag:{INSTANCE_TAG}", "Values": ids[first : first + _A_FILTER]}
            for machine in self._asked([self._vpc, named]):
                found.setdefault(machine.instance_id, []).append(machine)
        for one, machines in found.items():
            self._seen[one] = tuple(sorted(machines, key=lambda machine: machine.launched_at, reverse=True))
            self._seen_at[one] = now
        for old in [one for one in self._seen if one not in self._wanted]:
            del self._seen[old], self._seen_at[old]

    def _asked(self, filters: list[dict[str, Any]]) -> list[Ec2Machine]:
        now = self._monotonic()
        if self._failed is not None and now - self._failed[0] < ANGRY_S:
            raise self._failed[1]
        try:
            pages = (
                self._client()
                .get_paginator("describe_instances")
                .paginate(Filters=filters, PaginationConfig={"PageSize": _PAGE})
            )
            found = list(_machines(pages))
        except Exception as error:
            if not is_aws_error(error):
                raise
            unavailable = MachineUnavailableError(words_of(error, "machines in EC2 cannot be looked at"))
            self._failed = (now, unavailable)
            raise unavailable from error
        self._failed = None
        return found


def _machines(pages: Iterable[dict[str, Any]]) -> Iterator[Ec2Machine]:
    for page in pages:
        for reservation in page.get("Reservations", ()):
            for machine in reservation.get("Instances", ()):
                tags = {tag["Key"]: tag["Value"] for tag in machine.get("Tags", ())}
                generation = tags.get(GENERATION_TAG, "")
                yield Ec2Machine(
                    id=machine["InstanceId"],
                    instance_id=tags.get(INSTANCE_TAG, ""),
                    generation=int(generation) if generation.isdecimal() else 0,
                    state=machine["State"]["Name"],
                    launched_at=machine["LaunchTime"],
                    reason=machine.get("StateReason", {}).get("Code", ""),
                )
