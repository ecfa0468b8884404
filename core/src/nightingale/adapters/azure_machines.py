"""Machines of the place `azure`: what is Azure's own of them. The rest is in started_machines.py."""

from __future__ import annotations

import time
from collections.abc import Callable

from nightingale.adapters.arm_client import ArmClient, Tokens
from nightingale.adapters.azure_quarantine import AzureQuarantine
from nightingale.adapters.azure_seen import COMPUTE_VERSION, AzureSeen
from nightingale.adapters.started_machines import INSTANCE_ID, StartedMachines
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.server_logs import ServerLogs
from nightingale.ports.starts import Starts


class AzureMachines(StartedMachines):
    """The Machines port for the place `azure`. Threads may share it."""

    def __init__(
        self,
        starts: Starts,
        logs: ServerLogs,
        *,
        subscription: str,
        resource_group: str,
        tokens: Tokens,
        endpoint: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where starts and logs are kept, where the machines are, and whose tokens Azure is asked with.

        `endpoint` replaces Azure's own address (for trying it out).
        """
        self._client = ArmClient(tokens, endpoint=endpoint, monotonic=monotonic)
        group = f"/subscriptions/{subscription}/resourceGroups/{resource_group}"
        self._azure = AzureSeen(self._client, group, monotonic)
        self._quarantine = AzureQuarantine(self._client, group, self._azure)
        super().__init__(starts, logs, self._azure, monotonic)

    def end_orphan(self, instance_id: str, *, is_for_good: bool) -> None:
        """Stop paying for a machine that should not run, or delete it for good; its home is a disk of its own.

        Azure has taken that then, and is at it. A machine that would take its home along is only deallocated. Raises
        MachineUnavailableError.
        """
        if not INSTANCE_ID.fullmatch(instance_id):
            return
        machine = self._azure.now(instance_id)
        if machine is None or machine.instance_id != instance_id or not machine.is_up:
            return
        path, what = self._azure.path(instance_id), f"the machine of {instance_id} could not be ended"
        home = f"nightingale-{instance_id}-home"
        if is_for_good and home not in machine.takes_disks:
            self._client.delete(path, COMPUTE_VERSION, what)
            return
        self._client.post(f"{path}/deallocate", COMPUTE_VERSION, what)
        if is_for_good:
            words = f"its home {home} would be deleted with it (deleteOption Delete), so it was deallocated instead"
            raise MachineUnavailableError(f"{what} for good: {words}. Set that to Detach, then delete it.")

    def quarantine(self, instance_id: str) -> None:
        """Let nothing new through to or from the machine; what runs in it runs on. Raises MachineUnavailableError.

        Azure looks at rules when a connection begins: one that stands already goes on until either side ends it, or
        nothing passed for minutes. Those of people end with the gateway's lease.
        """
        if INSTANCE_ID.fullmatch(instance_id):
            self._quarantine.put_in(instance_id)

    def release(self, instance_id: str) -> None:
        """Take the rules of quarantine away. Raises MachineUnavailableError."""
        if INSTANCE_ID.fullmatch(instance_id):
            self._quarantine.let_out(instance_id)
