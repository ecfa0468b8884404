"""What the platform and its builds may do in Azure: what our code and Terraform do there, and nothing more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from doubles.azure_cloud import GROUP, SUBSCRIPTION, azure_cloud
from doubles.starts import MemoryLogs
from nightingale.adapters.azure_machines import AzureMachines
from nightingale.ports.starts import Starts

MODULE = Path(__file__).parents[2] / "infra" / "instance" / "azure"
ROLES = MODULE / "roles"
VERBS = {"GET": "read", "PUT": "write", "DELETE": "delete"}

RESOURCES = {
    "azurerm_linux_virtual_machine": "Microsoft.Compute/virtualMachines",
    "azurerm_managed_disk": "Microsoft.Compute/disks",
    "azurerm_network_interface": "Microsoft.Network/networkInterfaces",
    "azurerm_network_security_group": "Microsoft.Network/networkSecurityGroups",
    "azurerm_network_security_rule": "Microsoft.Network/networkSecurityGroups/securityRules",
}
"""What Terraform makes, changes and ends, as Azure calls it."""

CHANGES_OF_OTHERS = {
    "azapi_resource_action",
    "azurerm_network_interface_security_group_association",
    "azurerm_virtual_machine_data_disk_attachment",
}
"""What writes to one of those."""

BESIDES = {
    "Microsoft.Compute/virtualMachines/deallocate/action": "azapi_resource_action: stop",
    "Microsoft.Compute/virtualMachines/start/action": "azapi_resource_action: start; azurerm after a resize",
    "Microsoft.Compute/virtualMachines/powerOff/action": "azurerm turns a machine off before it resizes or deletes it",
    "Microsoft.Compute/virtualMachines/instanceView/read": "azurerm looks whether it runs before it resizes it",
    "Microsoft.Network/networkInterfaces/join/action": "a machine on an interface",
    "Microsoft.Network/networkSecurityGroups/join/action": "an interface in a group",
    "Microsoft.Network/virtualNetworks/subnets/join/action": "an interface in a subnet",
}
"""What builds need besides, each for its reason."""


class NoStarts:
    """Starts of nobody."""

    def find(self, instance_id: str) -> None:
        del instance_id

    def admit(self, *_: Any) -> None:
        raise AssertionError


class Token:
    """One token."""

    def __call__(self) -> str:
        return "good"

    def forget(self) -> None:
        raise AssertionError


def role(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROLES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def action_of(asked: str) -> str:
    """Return the permission that a request needs: its resource's kind, and what is done."""
    method, _, path = asked.partition(" ")
    provider, *parts = path.partition("/providers/")[2].split("/")
    kinds = parts[::2]
    if method == "POST":
        return "/".join([provider, *kinds, "action"])
    return "/".join([provider, *kinds, VERBS[method]])


def test_the_platform_may_do_what_its_adapters_ask_and_nothing_more() -> None:
    with azure_cloud() as cloud:
        cloud.good.add("good")
        starts: Starts = NoStarts()
        machines = AzureMachines(
            starts, MemoryLogs(), subscription=SUBSCRIPTION, resource_group=GROUP, tokens=Token(), endpoint=cloud.url
        )
        for instance in ("i-0000000001", "i-0000000002"):
            cloud.run(instance)
        machines.quarantine("i-0000000001")
        machines.release("i-0000000001")
        machines.find_all()
        machines.end_orphan("i-0000000001", is_for_good=False)
        machines.end_orphan("i-0000000002", is_for_good=True)
        needed = {action_of(asked) for asked in cloud.asked}
    # Azure's pages: who writes a rule, or reads the group that it is in, reads rules too.
    needed.add("Microsoft.Network/networkSecurityGroups/securityRules/read")
    assert set(role("platform")["Actions"]) == needed


def test_builds_may_do_what_the_module_has_and_nothing_more() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in MODULE.rglob("*.tf"))
    kinds = set(re.findall(r'^resource "(az\w+)"', text, re.MULTILINE))
    assert kinds == set(RESOURCES) | CHANGES_OF_OTHERS
    needed = {f"{kind}/{verb}" for kind in RESOURCES.values() for verb in VERBS.values()}
    assert set(role("builds")["Actions"]) == needed | set(BESIDES)


@pytest.mark.parametrize("path", sorted(ROLES.glob("*.json")), ids=lambda path: path.stem)
def test_a_role_names_each_action_and_gives_none_to_others(path: Path) -> None:
    told = role(path.stem)
    assert told["Actions"] == sorted(set(told["Actions"]))
    assert not any("*" in action or action.startswith("Microsoft.Authorization/") for action in told["Actions"])
    assert told["IsCustom"] is True
    if path.stem == "sources":
        assert all(action.endswith("/read") for action in told["Actions"])
