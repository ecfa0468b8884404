"""Quarantine of machines in Azure: two rules before all others in the machine's security group, and none of them again.

    nightingale-quarantine-in, -out     priority 100, the first that there is: deny, everything, from and to everywhere

infra/instance/azure gives its own rules higher numbers, and holds each as a resource of its own, so that a build leaves
these two as they are. Their names are all that has to be known: an answer that was lost, or a call made twice, does no
harm. A stopped machine has its group too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightingale.adapters.arm_client import ArmClient
from nightingale.adapters.azure_seen import AzureSeen
from nightingale.ports.machines import MachineUnavailableError

NETWORK_VERSION = "2024-05-01"
"""Of Microsoft.Network."""

RULES = {"nightingale-quarantine-in": "Inbound", "nightingale-quarantine-out": "Outbound"}
FIRST = 100
"""The highest priority that Azure has for rules of one's own."""


class AzureQuarantine:
    """Changes the security groups of instances. Threads may share it."""

    def __init__(self, client: ArmClient, group: str, seen: AzureSeen) -> None:
        """Take the client, the resource group's path, and who sees machines."""
        self._client = client
        self._groups = f"{group}/providers/Microsoft.Network/networkSecurityGroups"
        self._seen = seen

    def put_in(self, instance_id: str) -> None:
        """Let nothing new through to or from the instance's machine. Raises MachineUnavailableError."""
        what = f"{instance_id} could not be cut off"
        found = self._group(instance_id, what)
        if found is None:
            return
        missing = [name for name in RULES if not _is_closed(found, name)]
        if missing:
            for name in missing:
                self._client.put(self._rule(instance_id, name), NETWORK_VERSION, {"properties": _closed(name)}, what)
            found = self._group(instance_id, what)
        if found is None or not all(_is_closed(found, name) for name in RULES):
            raise MachineUnavailableError(f"{what} yet: Azure is still at the rules. It is looked at again.")
        if not found.get("networkInterfaces") and self._seen.now(instance_id) is not None:
            words = "its security group is on no network interface: somebody took it off. Put it back, or delete the"
            raise MachineUnavailableError(f"{what}: {words} instance")

    def let_out(self, instance_id: str) -> None:
        """Take the two rules away. Raises MachineUnavailableError."""
        what = f"{instance_id} could not be released"
        found = self._group(instance_id, what)
        there = [name for name in RULES if found is not None and _find(found, name) is not None]
        if not there:
            return
        for name in there:
            self._client.delete(self._rule(instance_id, name), NETWORK_VERSION, what)
        found = self._group(instance_id, what)
        if found is not None and any(_find(found, name) is not None for name in RULES):
            raise MachineUnavailableError(f"{what} yet: Azure is still at the rules. It is looked at again.")

    def _group(self, instance_id: str, what: str) -> dict[str, Any] | None:
        """Return the group's properties; None where there is neither group nor machine."""
        found = self._client.get(f"{self._groups}/nightingale-{instance_id}", NETWORK_VERSION, what)
        if found is not None:
            return dict(found.get("properties") or {})
        if self._seen.now(instance_id) is not None:
            raise MachineUnavailableError(f"{what}: its security group nightingale-{instance_id} is not there")
        return None

    def _rule(self, instance_id: str, name: str) -> str:
        return f"{self._groups}/nightingale-{instance_id}/securityRules/{name}"


def _closed(name: str) -> dict[str, Any]:
    return {
        "description": "In quarantine: nothing passes",
        "priority": FIRST,
        "direction": RULES[name],
        "access": "Deny",
        "protocol": "*",
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "*",
    }


def _find(group: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    rules = group.get("securityRules") or ()
    return next((dict(one.get("properties") or {}) for one in rules if one.get("name") == name), None)


def _is_closed(group: Mapping[str, Any], name: str) -> bool:
    """Return whether the rule is there, as it should be, and Azure is through with it."""
    rule = _find(group, name)
    return rule is not None and {**_closed(name), "provisioningState": "Succeeded"}.items() <= rule.items()
