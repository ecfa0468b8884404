"""The place `azure`: what a host is told of it by its environment. Names and addresses only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AZURE = "azure"
NETWORK = "NIGHTINGALE_AZURE_NETWORK"
IMAGE = "NIGHTINGALE_AZURE_IMAGE"
TENANT = "NIGHTINGALE_AZURE_TENANT"
APPLICATION = "NIGHTINGALE_AZURE_CLIENT_ID"
MACHINE_ROLE = "NIGHTINGALE_AZURE_MACHINE_ROLE"
ENDPOINT = "NIGHTINGALE_AZURE_ENDPOINT"

_OF_NETWORK = ("api_url", "audience", "gateway_cidr", "location", "resource_group", "subnet_id")
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SUBNET = re.compile(
    r"/subscriptions/([0-9a-fA-F-]{36})/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks/[^/]+/subnets/[^/]+"
)
_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")
_AUDIENCE = re.compile(r"api://\S{1,200}")
_LOCATION = re.compile(r"[a-z][a-z0-9]{1,40}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}")


@dataclass(frozen=True)
class AzurePlaceSettings:
    """What a region of Azure is: the network of infra/instance/azure, the image, and who is who there.

    `client_id` is the application in Entra that this platform is to Azure, `machine_role` the ARN of the role in AWS
    that a machine's proof is redeemed with. `endpoint` replaces Azure's own addresses (for trying it out).
    """

    network: Mapping[str, Any]
    image: str
    tenant: str
    client_id: str
    machine_role: str
    endpoint: str | None = None

    @property
    def region(self) -> str:
        """Return the region that its machines are in, as Azure and the cluster file call it."""
        return str(self.network["location"])

    @property
    def resource_group(self) -> str:
        """Return the group that holds this platform's machines and nobody else's."""
        return str(self.network["resource_group"])

    @property
    def subscription(self) -> str:
        """Return the subscription: the subnet's, as in infra/instance/azure."""
        return str(self.network["subnet_id"]).split("/")[2]

    @property
    def audience(self) -> str:
        """Return whom the tokens are made out to by which its machines prove who they are."""
        return str(self.network["audience"])

    @staticmethod
    def read(environment: Mapping[str, str], faults: list[str]) -> AzurePlaceSettings | None:
        """Return the place, None where it is not told, or not well: then `faults` has got what is wrong."""
        names = (NETWORK, IMAGE, TENANT, APPLICATION, MACHINE_ROLE)
        told = {name: environment.get(name, "").strip() for name in names}
        if not any(told.values()):
            return None
        before = len(faults)
        if missing := [name for name, value in told.items() if not value]:
            faults.append(f"the place azure is told whole or not at all, and these are not set: {', '.join(missing)}")
        network = _network(told[NETWORK], faults)
        odd = [name for name in (TENANT, APPLICATION) if told[name] and not _ID.fullmatch(told[name])]
        faults.extend(f"{name} is no id of Entra: {told[name][:40]!r}" for name in odd)
        if told[IMAGE] and not told[IMAGE].startswith("/subscriptions/"):
            faults.append(f"{IMAGE} is no image's id in Azure: {told[IMAGE][:60]!r}")
        if told[MACHINE_ROLE] and not _ROLE.fullmatch(told[MACHINE_ROLE]):
            faults.append(f"{MACHINE_ROLE} is no role's ARN: {told[MACHINE_ROLE][:60]!r}")
        endpoint = environment.get(ENDPOINT, "").strip() or None
        if endpoint is not None and not endpoint.startswith(("https://", "http://")):
            faults.append(f"{ENDPOINT} is no URL: {endpoint[:60]!r}")
        if len(faults) > before:
            return None
        return AzurePlaceSettings(
            network,
            image=told[IMAGE],
            tenant=told[TENANT].lower(),
            client_id=told[APPLICATION].lower(),
            machine_role=told[MACHINE_ROLE],
            endpoint=endpoint,
        )


def _network(told: str, faults: list[str]) -> Mapping[str, Any]:
    """Return the network; what is wrong with it goes to `faults`."""
    if not told:
        return {}
    try:
        network = json.loads(told)
    except ValueError:
        network = None
    if not isinstance(network, dict) or not all(isinstance(network.get(name), str) for name in _OF_NETWORK):
        faults.append(f"{NETWORK} is JSON, an object with {', '.join(_OF_NETWORK)}: see infra/instance/azure")
        return {}
    patterns = {"subnet_id": _SUBNET, "resource_group": _GROUP, "location": _LOCATION, "audience": _AUDIENCE}
    for name, pattern in patterns.items():
        if not pattern.fullmatch(network[name]):
            faults.append(f"{NETWORK}: {name} cannot be {network[name][:60]!r}")
    return network
