"""What a deployed function is told by its environment. Names and addresses only: secrets are no settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TABLE = "NIGHTINGALE_TABLE"
AUDIT_BUCKET = "NIGHTINGALE_AUDIT_BUCKET"
BUILDS_BUCKET = "NIGHTINGALE_BUILDS_BUCKET"
CODEBUILD_PROJECT = "NIGHTINGALE_CODEBUILD_PROJECT"
ADDRESSES = "NIGHTINGALE_ADDRESSES"
GATEWAY_HOST = "NIGHTINGALE_GATEWAY_HOST"
GATEWAY_PORT = "NIGHTINGALE_GATEWAY_PORT"
GATEWAY_HOST_KEY = "NIGHTINGALE_GATEWAY_HOST_KEY"
NETWORK = "NIGHTINGALE_AWS_NETWORK"
IMAGE = "NIGHTINGALE_AWS_IMAGE"
ACCOUNT = "NIGHTINGALE_AWS_ACCOUNT"
INSTANCE_ROLE = "NIGHTINGALE_AWS_INSTANCE_ROLE"
QUARANTINE_GROUP = "NIGHTINGALE_QUARANTINE_GROUP"
ENDPOINT = "NIGHTINGALE_AWS_ENDPOINT"

_NEEDED = (TABLE, AUDIT_BUCKET, BUILDS_BUCKET, CODEBUILD_PROJECT, ADDRESSES)
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_OF_NETWORK = ("api_url", "region", "subnet_id", "vpc_id")
_MOST_PORTS = 65_535


class SettingsError(Exception):
    """The environment does not say what it must; the message names every setting at fault."""


@dataclass(frozen=True)
class GatewaySettings:
    """Where the SSH gateway listens, and the host key that clients pin."""

    host: str
    port: int
    host_key: str


@dataclass(frozen=True)
class PlaceSettings:
    """What the place `aws` is: the network of infra/instance/aws, the AMI, and who its machines are to STS."""

    network: Mapping[str, Any]
    image: str
    account: str
    instance_role: str

    @property
    def vpc_id(self) -> str:
        """Return the network that holds this platform's machines and nobody else's."""
        return str(self.network["vpc_id"])


@dataclass(frozen=True)
class Settings:
    """What a function in AWS runs on. `endpoint` replaces AWS's own addresses (for trying it out)."""

    table: str
    audit_bucket: str
    builds_bucket: str
    codebuild_project: str
    addresses: frozenset[str]
    """Under which the API may be called, as clients write it: scheme, host and API Gateway's stage."""
    region: str
    gateway: GatewaySettings | None = None
    place: PlaceSettings | None = None
    """None: nothing launches in AWS, and the rest of the API works."""
    quarantine_group: str | None = None
    """The security group that a machine in quarantine gets in place of its own; None: it cannot be cut off there."""
    endpoint: str | None = None

    @staticmethod
    def read(environment: Mapping[str, str]) -> Settings:
        """Return the settings. Raises SettingsError that names whatever is missing or wrong, all at once."""
        missing = [name for name in _NEEDED if not environment.get(name, "").strip()]
        region = next((environment[name] for name in _REGIONS if environment.get(name)), "")
        if not region:
            missing.append(_REGIONS[0])
        if missing:
            raise SettingsError(f"not set: {', '.join(missing)}")
        addresses = frozenset(one.strip().rstrip("/") for one in environment[ADDRESSES].split(",") if one.strip())
        odd = sorted(one for one in addresses if not one.startswith(("https://", "http://")))
        if odd or not addresses:
            raise SettingsError(f"{ADDRESSES} holds URLs with commas between them, and this is none: {', '.join(odd)}")
        return Settings(
            table=environment[TABLE],
            audit_bucket=environment[AUDIT_BUCKET],
            builds_bucket=environment[BUILDS_BUCKET],
            codebuild_project=environment[CODEBUILD_PROJECT],
            addresses=addresses,
            region=region,
            gateway=_gateway(environment),
            place=_place(environment),
            quarantine_group=_quarantine_group(environment),
            endpoint=environment.get(ENDPOINT) or None,
        )


def _place(environment: Mapping[str, str]) -> PlaceSettings | None:
    names = (NETWORK, IMAGE, ACCOUNT, INSTANCE_ROLE)
    told = [environment.get(name, "").strip() for name in names]
    if not any(told):
        return None
    missing = [name for name, value in zip(names, told, strict=True) if not value]
    if missing:
        raise SettingsError(f"the place aws is told whole or not at all, and these are not set: {', '.join(missing)}")
    try:
        network = json.loads(told[0])
    except ValueError:
        network = None
    if not isinstance(network, dict) or not all(isinstance(network.get(name), str) for name in _OF_NETWORK):
        raise SettingsError(f"{NETWORK} is JSON, an object with {', '.join(_OF_NETWORK)}: see infra/instance/aws")
    if not re.fullmatch(r"[0-9]{12}", told[2]):
        raise SettingsError(f"{ACCOUNT} is no account's number: {told[2][:20]!r}")
    if not re.fullmatch(r"[\w+=,.@-]{1,64}", told[3]):
        raise SettingsError(f"{INSTANCE_ROLE} is a role's name, without its path: {told[3][:80]!r}")
    return PlaceSettings(network=network, image=told[1], account=told[2], instance_role=told[3])


def _quarantine_group(environment: Mapping[str, str]) -> str | None:
    told = environment.get(QUARANTINE_GROUP, "").strip()
    if told and not re.fullmatch(r"sg-[0-9a-f]{8,17}", told):
        raise SettingsError(f"{QUARANTINE_GROUP} is no security group's id: {told[:30]!r}")
    return told or None


def _gateway(environment: Mapping[str, str]) -> GatewaySettings | None:
    names = (GATEWAY_HOST, GATEWAY_PORT, GATEWAY_HOST_KEY)
    host, port, host_key = (environment.get(name, "").strip() for name in names)
    if not host and not port and not host_key:
        return None
    if not host or not host_key:
        raise SettingsError(f"a gateway is told whole or not at all: {', '.join(names)}")
    if not port.isdecimal() or not 0 < int(port) <= _MOST_PORTS:
        raise SettingsError(f"{GATEWAY_PORT} is no port: {port[:20]!r}")
    return GatewaySettings(host, int(port), host_key)
