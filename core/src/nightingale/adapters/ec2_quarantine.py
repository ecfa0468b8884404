"""Quarantine of machines in EC2: the quarantine group in the place of the machine's own, and the other way round.

The machine's own group is known by its name, which infra/instance/aws gives it: nothing has to be remembered, so an
answer that was lost, or a call made twice, does no harm. Terraform leaves a machine's groups as they are
(`ignore_changes` there). A stopped machine has groups too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nightingale.adapters.aws_clients import LazyClient, is_aws_error, words_of
from nightingale.adapters.ec2_seen import INSTANCE_TAG
from nightingale.ports.machines import MachineUnavailableError

NO_GROUP = "no security group for quarantine is set (NIGHTINGALE_QUARANTINE_GROUP)"
_THERE = ("pending", "running", "stopping", "stopped")


def own_group(instance_id: str) -> str:
    """Return the name of the security group that an instance's module makes."""
    return f"nightingale-{instance_id}"


class Ec2Quarantine:
    """Changes the security groups of an instance's machines. Threads may share it."""

    def __init__(self, client: LazyClient, vpc_id: str, group: str | None) -> None:
        """Take the client, the network of the machines, and the quarantine group's id."""
        self._client = client
        self._vpc = {"Name": "vpc-id", "Values": [vpc_id]}
        self._group = group

    def put_in(self, instance_id: str) -> None:
        """Let nothing through to or from the instance's machines. Raises MachineUnavailableError."""
        if self._group is None:
            raise MachineUnavailableError(f"{instance_id} cannot be cut off: {NO_GROUP}")
        self._give(instance_id, self._group, "could not be cut off")

    def let_out(self, instance_id: str) -> None:
        """Give the instance's machines their own group again. Raises MachineUnavailableError."""
        try:
            if not any(True for _ in self._machines(instance_id)):
                return
            named = {"Name": "group-name", "Values": [own_group(instance_id)]}
            found = self._client().describe_security_groups(Filters=[self._vpc, named])["SecurityGroups"]
        except Exception as error:
            raise _unavailable(error, instance_id, "could not be released") from error
        if len(found) != 1:
            words = f"{instance_id} could not be released: its security group {own_group(instance_id)} is not there"
            raise MachineUnavailableError(words)
        self._give(instance_id, found[0]["GroupId"], "could not be released")

    def _give(self, instance_id: str, group: str, what: str) -> None:
        try:
            for machine in self._machines(instance_id):
                if _groups(machine) != {group}:
                    self._client().modify_instance_attribute(InstanceId=machine["InstanceId"], Groups=[group])
        except Exception as error:
            raise _unavailable(error, instance_id, what) from error

    def _machines(self, instance_id: str) -> Iterator[dict[str, Any]]:
        """Yield the machines that are there now: nothing seen before is trusted."""
        named = {"Name": f"tag:{INSTANCE_TAG}", "Values": [instance_id]}
        there = {"Name": "instance-state-name", "Values": list(_THERE)}
        for page in self._client().get_paginator("describe_instances").paginate(Filters=[self._vpc, named, there]):
            for reservation in page.get("Reservations", ()):
                yield from reservation.get("Instances", ())


def _groups(machine: dict[str, Any]) -> set[str]:
    return {str(group["GroupId"]) for group in machine.get("SecurityGroups", ())}


def _unavailable(error: Exception, instance_id: str, what: str) -> Exception:
    return MachineUnavailableError(words_of(error, f"{instance_id} {what}")) if is_aws_error(error) else error
