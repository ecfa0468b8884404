"""Machines of the place `aws`: what is EC2's own of them. The rest is in started_machines.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nightingale.adapters.aws_clients import Credentials, LazyClient, code_of, is_aws_error, words_of
from nightingale.adapters.ec2_quarantine import Ec2Quarantine
from nightingale.adapters.ec2_seen import Ec2Seen
from nightingale.adapters.started_machines import INSTANCE_ID, StartedMachines
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.server_logs import ServerLogs
from nightingale.ports.starts import Starts

_GONE = frozenset({"InvalidInstanceID.NotFound", "IncorrectInstanceState"})
_NOT_OF_SPOT = "UnsupportedOperation"
"""What EC2 says where a machine cannot be stopped, or protected, because it is a spot one."""


class Ec2Machines(StartedMachines):
    """The Machines port for the place `aws`. Threads may share it."""

    def __init__(
        self,
        starts: Starts,
        logs: ServerLogs,
        *,
        vpc_id: str,
        quarantine_group: str | None = None,
        region: str | None = None,
        endpoint: str | None = None,
        client: Any = None,
        credentials: Credentials | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where starts and logs are kept, the machines' network, the group for quarantine, what boto3 is told."""
        self._client = LazyClient("ec2", region=region, endpoint=endpoint, client=client, credentials=credentials)
        self._ec2 = Ec2Seen(self._client, vpc_id, monotonic)
        self._quarantine = Ec2Quarantine(self._client, vpc_id, quarantine_group)
        super().__init__(starts, logs, self._ec2, monotonic)

    def end_orphan(self, instance_id: str, *, is_for_good: bool) -> None:
        """Stop a machine that should not run, or end it for good; its home is a disk of its own and stays.

        Raises MachineUnavailableError.
        """
        machine = self._ec2.up().get(instance_id)
        if machine is None:
            return
        try:
            if is_for_good:
                self._terminate(machine.id)
            else:
                self._stop(machine.id)
        except Exception as error:
            if not is_aws_error(error):
                raise
            if code_of(error) not in _GONE:
                raise MachineUnavailableError(words_of(error, f"machine {machine.id} could not be ended")) from error

    def _stop(self, machine_id: str) -> None:
        try:
            self._client().stop_instances(InstanceIds=[machine_id])
        except Exception as error:
            if code_of(error) != _NOT_OF_SPOT:
                raise
            self._terminate(machine_id)  # a spot machine has no other end

    def _terminate(self, machine_id: str) -> None:
        # Machines are protected from an accident in the console; this is none.
        try:
            self._client().modify_instance_attribute(InstanceId=machine_id, DisableApiTermination={"Value": False})
        except Exception as error:
            if code_of(error) != _NOT_OF_SPOT:
                raise
            # A spot machine is never protected, and EC2 refuses to speak of it.
        self._client().terminate_instances(InstanceIds=[machine_id])

    def quarantine(self, instance_id: str) -> None:
        """Let nothing through to or from the machine; what runs in it runs on. Raises MachineUnavailableError.

        AWS keeps connections that stand already for a while; those of people end with the gateway's lease.
        """
        if INSTANCE_ID.fullmatch(instance_id):
            self._quarantine.put_in(instance_id)

    def release(self, instance_id: str) -> None:
        """Give the machine its own security group again. Raises MachineUnavailableError."""
        if INSTANCE_ID.fullmatch(instance_id):
            self._quarantine.let_out(instance_id)
