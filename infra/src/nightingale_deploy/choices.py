"""What the person who deploys has chosen: one JSON file of the module's variables, kept with their other papers."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightingale_deploy.refusal import DeployError

EXAMPLE = {
    "region": "eu-central-1",
    "gateway_cidrs": ["192.0.2.0/24"],
    "alarm_emails": ["you@example.org"],
    "monthly_budget_usd": 500,
}
"""The least that has to be said; infra/control-plane/aws/variables.tf has the rest."""

_PACKAGES = frozenset(f"{one}_package" for one in ("functions", "platform", "gateway", "scan", "packages"))
_OURS = _PACKAGES | {"gateway_host_key", "packages_sha256", "is_ending"}
HOME_CIDR = "10.64.0.0/16"
"""As infra/control-plane/aws/variables.tf has it where the settings do not say."""

REGION_EXAMPLE = {"region": "eu-west-1", "cidr": "10.65.0.0/16", "instance_image": "ami-..."}
_OF_REGION = frozenset({"region", "zone", "cidr", "instance_image", "dataset_buckets"})
MOST_REGIONS = 4
"""A function's settings have room for 4 KB, and each region takes some 450 bytes of it (outputs.tf looks)."""

_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


@dataclass(frozen=True)
class Region:
    """A further region, in which instances live."""

    name: str
    variables: Mapping[str, Any]
    """What its own module is told by the person: zone, cidr, dataset_buckets."""
    place: Mapping[str, Any]
    """What the platform's module is told by the person: instance_image, dataset_buckets."""


@dataclass(frozen=True)
class Choices:
    """Which platform, where, and what Terraform is told of it."""

    name: str
    region: str
    variables: dict[str, Any]
    """What the platform's own module is told; of its further regions it learns from what is made there."""
    regions: tuple[Region, ...] = ()

    @property
    def has_packages(self) -> bool:
        """Whether instances are to have a package index."""
        return self.variables.get("packages") is not None

    @staticmethod
    def read(path: Path) -> Choices:
        """Return what the file says. Raises DeployError that says what is wrong with it."""
        example = f"it is JSON such as {json.dumps(EXAMPLE)}"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DeployError(f"there is no file {path} that says what to deploy", f"make it; {example}") from error
        except (OSError, ValueError) as error:
            raise DeployError(f"{path} cannot be read: {error}", example) from error
        if not isinstance(told, dict):
            raise DeployError(f"{path} holds no object", example)
        missing = sorted(EXAMPLE.keys() - told.keys())
        if missing:
            raise DeployError(f"{path} does not say {', '.join(missing)}", example)
        if not_theirs := sorted(_OURS & told.keys()):
            raise DeployError(f"{path} says {', '.join(not_theirs)}", "take it out: the deployment knows it by itself")
        name, region = str(told.get("name", "nightingale")), str(told["region"])
        if not _NAME.fullmatch(name) or not _REGION.fullmatch(region):
            words = f"{path} names the platform {name!r} in the region {region!r}, and one of them cannot be"
            raise DeployError(words, "a name has at most 16 of a-z and 0-9, a region is like eu-central-1")
        zones = told.get("zones", [f"{region}a", f"{region}b"])
        regions = _regions(path, told, region)
        variables = {key: value for key, value in told.items() if key != "regions"}
        return Choices(name, region, {**variables, "name": name, "zones": zones}, regions)


def _regions(path: Path, told: Mapping[str, Any], home: str) -> tuple[Region, ...]:
    """Return the further regions, by name. Raises DeployError."""
    hint = f"each is an object such as {json.dumps(REGION_EXAMPLE)}"
    entries = told.get("regions", [])
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise DeployError(f"regions in {path} is no list of objects", hint)
    if odd := sorted({key for one in entries for key in one} - _OF_REGION):
        raise DeployError(f"{path} says {', '.join(odd)} of a region", f"it may say {', '.join(sorted(_OF_REGION))}")
    names = [str(one.get("region", "")) for one in entries]
    if wrong := [name for name in names if not _REGION.fullmatch(name)]:
        raise DeployError(f"{path} names a region {wrong[0]!r}, which cannot be", hint)
    if len({home, *names}) <= len(names):
        raise DeployError(f"{path} names a region twice", f"{home} is the platform's own; each further one stands once")
    if len(names) > MOST_REGIONS:
        raise DeployError(f"{path} has {len(names)} further regions", f"a platform has {MOST_REGIONS} at most")
    launching = [name for name, one in zip(names, entries, strict=True) if one.get("instance_image")]
    if launching and not told.get("instance_image"):
        words = f"{path} has an instance_image for {launching[0]} and none for {home}"
        raise DeployError(words, "say one for the platform's own region too, beside `regions`")
    _refuse_shared_addresses(
        path, [(home, told.get("cidr", HOME_CIDR)), *((one["region"], one.get("cidr")) for one in entries)]
    )
    return tuple(sorted((_region(one) for one in entries), key=lambda one: one.name))


def _region(told: Mapping[str, Any]) -> Region:
    name, buckets = str(told["region"]), told.get("dataset_buckets", [])
    own = {"region": name, "zone": told.get("zone", f"{name}a"), "cidr": told["cidr"], "dataset_buckets": buckets}
    return Region(name, own, {"instance_image": told.get("instance_image"), "dataset_buckets": buckets})


def _refuse_shared_addresses(path: Path, networks: Sequence[tuple[str, Any]]) -> None:
    """Refuse networks that could not be peered: AWS would say so an hour later. Raises DeployError."""
    seen = dict[str, ipaddress.IPv4Network]()
    for region, cidr in networks:
        try:
            network = ipaddress.IPv4Network(str(cidr))
        except ValueError as error:
            hint = f"say one of /20 or wider that no other region has, such as {REGION_EXAMPLE['cidr']}"
            raise DeployError(f"cidr of {region} in {path} is no network: {cidr!r}", hint) from error
        for other, taken in seen.items():
            if network.overlaps(taken):
                raise DeployError(
                    f"{region} and {other} have addresses in common in {path}: {network} and {taken}",
                    "give each region a cidr of its own: networks are peered, and an address is one machine's",
                )
        seen[region] = network
