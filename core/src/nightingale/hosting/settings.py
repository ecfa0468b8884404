"""What a deployed function is told by its environment. Names and addresses only: secrets are no settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nightingale.hosting.azure_place import AzurePlaceSettings

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
REGIONS = "NIGHTINGALE_AWS_REGIONS"
ENDPOINT = "NIGHTINGALE_AWS_ENDPOINT"
SCAN_QUEUE = "NIGHTINGALE_SCAN_QUEUE"
NOTIFY_SECRETS = "NIGHTINGALE_NOTIFY_SECRETS"

_NEEDED = (TABLE, AUDIT_BUCKET, BUILDS_BUCKET, CODEBUILD_PROJECT, ADDRESSES)
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_OF_NETWORK = ("api_url", "region", "subnet_id", "vpc_id")
_OF_REGION = ("availability_zone", "image", "kms_key", "quarantine_group", "subnet_id", "vpc_id")
_HERE_ALONE = ("gateway_security_group_id", "api_security_group_id", "packages")
"""Of a network, what means nothing in another region."""
_MOST_PORTS = 65_535
_GROUP = re.compile(r"sg-[0-9a-f]{8,17}")


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
    """What a region of AWS is: the network of infra/instance/aws, the AMI, and who its machines are to STS."""

    network: Mapping[str, Any]
    image: str
    account: str
    instance_role: str
    quarantine_group: str | None = None
    """The security group that a machine in quarantine gets in place of its own; None: it cannot be cut off there."""

    @property
    def region(self) -> str:
        """Return the region that its machines are in."""
        return str(self.network["region"])

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
    further: tuple[PlaceSettings, ...] = ()
    """Further regions in which instances are launched; none without a place in the platform's own."""
    azure: AzurePlaceSettings | None = None
    """None: nothing launches in Azure."""
    endpoint: str | None = None
    notify_secrets: str | None = None
    """How the names of the notices' secrets begin in Secrets Manager; None: this host sends no notices."""
    scan_queue: str | None = None
    """The queue to which S3 tells of what is new in the audit bucket; the function that scans is told of it alone."""

    @property
    def places(self) -> tuple[PlaceSettings, ...]:
        """Return every region in which instances are launched, the platform's own first."""
        return () if self.place is None else (self.place, *self.further)

    @staticmethod
    def read(environment: Mapping[str, str]) -> Settings:
        """Return the settings. Raises SettingsError that names whatever is missing or wrong, all at once."""
        faults: list[str] = []
        missing = [name for name in _NEEDED if not environment.get(name, "").strip()]
        region = next((environment[name] for name in _REGIONS if environment.get(name)), "")
        if not region:
            missing.append(_REGIONS[0])
        if missing:
            faults.append(f"not set: {', '.join(missing)}")
        told = environment.get(ADDRESSES, "")
        addresses = frozenset(one.strip().rstrip("/") for one in told.split(",") if one.strip())
        odd = sorted(one for one in addresses if not one.startswith(("https://", "http://")))
        if odd or (told.strip() and not addresses):
            faults.append(f"{ADDRESSES} holds URLs with commas between them, and this is none: {', '.join(odd)}")
        gateway, place = _gateway(environment, faults), _place(environment, faults)
        further = _further(environment, place, faults)
        azure = AzurePlaceSettings.read(environment, faults)
        if faults:
            raise SettingsError("; ".join(faults))
        return Settings(
            table=environment[TABLE],
            audit_bucket=environment[AUDIT_BUCKET],
            builds_bucket=environment[BUILDS_BUCKET],
            codebuild_project=environment[CODEBUILD_PROJECT],
            addresses=addresses,
            region=region,
            gateway=gateway,
            place=place,
            further=further,
            azure=azure,
            endpoint=environment.get(ENDPOINT) or None,
            notify_secrets=environment.get(NOTIFY_SECRETS, "").strip() or None,
            scan_queue=environment.get(SCAN_QUEUE, "").strip() or None,
        )


def _place(environment: Mapping[str, str], faults: list[str]) -> PlaceSettings | None:
    """Return the place, None where it is not told, or not well: then `faults` has got what is wrong."""
    names = (NETWORK, IMAGE, ACCOUNT, INSTANCE_ROLE)
    told = [environment.get(name, "").strip() for name in names]
    before = len(faults)
    group = environment.get(QUARANTINE_GROUP, "").strip()
    if group and not _GROUP.fullmatch(group):
        faults.append(f"{QUARANTINE_GROUP} is no security group's id: {group[:30]!r}")
    if not any(told):
        return None
    missing = [name for name, value in zip(names, told, strict=True) if not value]
    if missing:
        faults.append(f"the place aws is told whole or not at all, and these are not set: {', '.join(missing)}")
    try:
        network = json.loads(told[0])
    except ValueError:
        network = None
    is_network = isinstance(network, dict) and all(isinstance(network.get(name), str) for name in _OF_NETWORK)
    if told[0] and not is_network:
        faults.append(f"{NETWORK} is JSON, an object with {', '.join(_OF_NETWORK)}: see infra/instance/aws")
    if told[2] and not re.fullmatch(r"[0-9]{12}", told[2]):
        faults.append(f"{ACCOUNT} is no account's number: {told[2][:20]!r}")
    if told[3] and not re.fullmatch(r"[\w+=,.@-]{1,64}", told[3]):
        faults.append(f"{INSTANCE_ROLE} is a role's name, without its path: {told[3][:80]!r}")
    if len(faults) > before:
        return None
    return PlaceSettings(network, image=told[1], account=told[2], instance_role=told[3], quarantine_group=group or None)


def _further(
    environment: Mapping[str, str], home: PlaceSettings | None, faults: list[str]
) -> tuple[PlaceSettings, ...]:
    """Return the further regions: of each is told how it differs from the platform's own."""
    told = environment.get(REGIONS, "").strip()
    if not told:
        return ()
    try:
        regions = json.loads(told)
    except ValueError:
        regions = None
    is_well = isinstance(regions, dict) and all(
        isinstance(one, dict) and all(isinstance(one.get(name), str) for name in _OF_REGION) for one in regions.values()
    )
    if not is_well:
        faults.append(f"{REGIONS} is JSON, by region an object with {', '.join(_OF_REGION)} and the rest of a network")
        return ()
    odd = [one["quarantine_group"] for one in regions.values() if not _GROUP.fullmatch(one["quarantine_group"])]
    if odd:
        faults.append(f"{REGIONS}: no security group's id: {odd[0][:30]!r}")
    if home is None:
        if not environment.get(NETWORK, "").strip():
            faults.append(f"{REGIONS} says how regions differ from the platform's own, and {NETWORK} is not set")
        return ()
    if home.region in regions:
        faults.append(f"{REGIONS} are further ones: {home.region} is the platform's own")
    return tuple(_differing(home, region, one) for region, one in sorted(regions.items()))


def _differing(home: PlaceSettings, region: str, told: Mapping[str, Any]) -> PlaceSettings:
    shared = {name: value for name, value in home.network.items() if name not in _HERE_ALONE}
    own = {name: value for name, value in told.items() if name not in {"image", "quarantine_group"}}
    network = {**shared, **own, "region": region}
    return replace(home, network=network, image=told["image"], quarantine_group=told["quarantine_group"])


def _gateway(environment: Mapping[str, str], faults: list[str]) -> GatewaySettings | None:
    """Return the gateway, as `_place` does the place."""
    names = (GATEWAY_HOST, GATEWAY_PORT, GATEWAY_HOST_KEY)
    host, port, host_key = (environment.get(name, "").strip() for name in names)
    if not host and not port and not host_key:
        return None
    before = len(faults)
    if not host or not host_key:
        faults.append(f"a gateway is told whole or not at all: {', '.join(names)}")
    if not port.isdecimal() or not 0 < int(port[:6]) <= _MOST_PORTS:
        faults.append(f"{GATEWAY_PORT} is no port: {port[:20]!r}")
    if len(faults) > before:
        return None
    return GatewaySettings(host, int(port), host_key)
