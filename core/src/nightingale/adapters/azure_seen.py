"""What Azure says of machines, asked as seldom as will do: one machine's answer is kept a while.

A machine is known by its name, which infra/instance/azure makes of the instance's id: one question names it. The list
of a resource group says nothing of what runs (Azure adds that to lists of scale sets alone), so each machine of it is
asked for by name too, where all that run are wanted: by the job that ends orphans.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nightingale.adapters.arm_client import ArmClient
from nightingale.contract.vocabulary import ReasonCode

COMPUTE_VERSION = "2024-07-01"
"""Of Microsoft.Compute: the one that infra/instance/azure starts and stops machines with."""

INSTANCE_TAG = "nightingale-instance"
GENERATION_TAG = "nightingale-generation"

KEPT_S = 4.0
"""What was seen is good for so long: Azure counts questions, and a machine takes longer to come or go."""

_FORGOTTEN_S = 60.0
_DOWN = frozenset({"stopping", "stopped", "deallocating", "deallocated"})


@dataclass(frozen=True)
class AzureMachine:
    """One machine as Azure describes it."""

    id: str
    principal_id: str
    """Its own identity, new with each machine that is made: what it proves itself by."""
    instance_id: str
    generation: int
    power: str
    """`running`, `deallocated`, …; empty while Azure makes it."""
    failure: str
    """The code by which making or changing it failed, if it did."""
    is_spot: bool
    takes_disks: tuple[str, ...]
    """Names of data disks that would be deleted with it."""

    @property
    def is_up(self) -> bool:
        """Whether it runs, or is about to."""
        return self.power not in _DOWN and not (self.failure and self.power != "running")

    @property
    def code(self) -> ReasonCode:
        """Why it is no longer up: Azure does not say that it took a machine back; the machine told so before."""
        return ReasonCode.MACHINE_GONE

    @property
    def words(self) -> str:
        """The same in words."""
        if self.failure and self.power != "running":
            return f"Azure could not start the machine ({self.failure})"
        if self.is_spot and self.power.startswith("dealloc"):
            return "the machine is deallocated: Azure took the spare capacity back, or somebody did it through Azure"
        if self.power.startswith("dealloc"):
            return "the machine is deallocated, by someone other than this platform"
        return f"the machine is {self.power}: it was shut down from inside, or by someone other than this platform"

    def is_one(self, machine_id: str) -> bool:
        """Return whether this is the machine's id, its identity's or its own. Azure minds no case."""
        return machine_id.lower() in {self.id.lower(), self.principal_id.lower()} - {""}


class AzureSeen:
    """Describes the machines of one resource group. Threads may share it."""

    cloud = "Azure"

    def __init__(self, client: ArmClient, group: str, monotonic: Callable[[], float]) -> None:
        """Take the client, and the resource group's path: `/subscriptions/…/resourceGroups/…`."""
        self._client = client
        self._machines = f"{group}/providers/Microsoft.Compute/virtualMachines"
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._seen: dict[str, tuple[float, AzureMachine | None]] = {}

    def path(self, instance_id: str) -> str:
        """Return where an instance's machine is."""
        return f"{self._machines}/nightingale-{instance_id}"

    def of(self, instance_id: str) -> tuple[AzureMachine, ...]:
        """Return the instance's machine, if there is one. Raises MachineUnavailableError."""
        with self._turn:
            at, found = self._seen.get(instance_id, (None, None))
            if at is None or self._monotonic() - at >= KEPT_S:
                found = self._ask(instance_id)
        return (found,) if found is not None else ()

    def now(self, instance_id: str) -> AzureMachine | None:
        """Return the instance's machine as it is now, None where there is none. Raises MachineUnavailableError."""
        with self._turn:
            return self._ask(instance_id)

    def up(self) -> dict[str, AzureMachine]:
        """Return every machine that is up, by the instance it is tagged as. Raises MachineUnavailableError."""
        listed = list(self._client.pages(self._machines, COMPUTE_VERSION, "machines in Azure cannot be listed"))
        ids = {str((one.get("tags") or {}).get(INSTANCE_TAG, "")) for one in listed} - {""}
        named = {one.rpartition("nightingale-")[2] for one in (str(found.get("name", "")) for found in listed)}
        # What is tagged and named otherwise is not ours to ask for, or to end.
        found = {one: self.of(one) for one in sorted(ids & named)}
        return {one: machines[0] for one, machines in found.items() if machines and machines[0].is_up}

    def _ask(self, instance_id: str) -> AzureMachine | None:
        now = self._monotonic()
        what = f"the machine of {instance_id} cannot be looked at"
        told = self._client.get(self.path(instance_id), COMPUTE_VERSION, what, expand="instanceView")
        found = _machine(told) if told is not None else None
        self._seen[instance_id] = (now, found)
        for old in [one for one, (at, _) in self._seen.items() if now - at >= _FORGOTTEN_S]:
            del self._seen[old]
        return found


def _machine(told: Mapping[str, Any]) -> AzureMachine:
    tags, properties = told.get("tags") or {}, told.get("properties") or {}
    statuses = [str(one.get("code", "")) for one in (properties.get("instanceView") or {}).get("statuses") or ()]
    power = next((one.partition("/")[2] for one in statuses if one.startswith("PowerState/")), "")
    failed = next((one for one in statuses if one.startswith("ProvisioningState/failed")), "")
    if not failed and properties.get("provisioningState") == "Failed":
        failed = "ProvisioningState/failed"
    generation = str(tags.get(GENERATION_TAG, ""))
    disks = (properties.get("storageProfile") or {}).get("dataDisks") or ()
    return AzureMachine(
        id=str(told.get("id", "")),
        principal_id=str((told.get("identity") or {}).get("principalId") or ""),
        instance_id=str(tags.get(INSTANCE_TAG, "")),
        generation=int(generation) if generation.isdecimal() else 0,
        power=power,
        failure=failed.removeprefix("ProvisioningState/"),
        is_spot=properties.get("priority") == "Spot",
        takes_disks=tuple(str(one.get("name", "")) for one in disks if one.get("deleteOption") == "Delete"),
    )
