"""A platform's further regions: is the network there, is it peered, can a machine be started and cut off there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nightingale.adapters.aws_clients import code_of, is_aws_error
from nightingale.hosting.settings import REGIONS
from nightingale_local.doctor.report import Check, DoctorLine, fail, ok, unknown

ClientIn = Callable[[str, str], Any]
"""Gives the client of a service in a region."""

_DEPLOY = "Deploy again: `./run deploy aws`."
_ABSENT = frozenset({"InvalidVpcID.NotFound", "InvalidGroup.NotFound", "InvalidAMIID.NotFound"})


def region_checks(environment: Mapping[str, str], client: ClientIn) -> list[Check]:
    """Return a check for each further region that the environment tells of, by the name a deployed function has it."""
    told = environment.get(REGIONS, "").strip()
    if not told:
        return []
    try:
        regions: dict[str, dict[str, Any]] = dict(json.loads(told))
    except ValueError:
        lines = (unknown("regions", f"{REGIONS} is no JSON", "Set it as on the function."),)
        return [Check("regions", lambda: lines)]
    return [Check(f"region {name}", _look(name, one, client)) for name, one in sorted(regions.items())]


def _look(region: str, told: Mapping[str, Any], client: ClientIn) -> Callable[[], Iterator[DoctorLine]]:
    def look() -> Iterator[DoctorLine]:
        ec2 = client("ec2", region)
        faults = list(_faults(ec2, region, told))
        check = f"region {region}"
        if faults:
            seen, do = ("; ".join(part) for part in zip(*faults, strict=True))
            yield fail(check, seen, do)
        else:
            yield ok(check, f"{told['vpc_id']}, peered, with a group for quarantine and the image {told['image']}")

    return look


def _faults(ec2: Any, region: str, told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, and what to do about it."""
    vpc, group, image = (str(told.get(name, "")) for name in ("vpc_id", "quarantine_group", "image"))
    if not _there(lambda: ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]):
        yield f"there is no network {vpc}", _DEPLOY
    asked = ec2.describe_vpc_peering_connections()["VpcPeeringConnections"]
    states = {one["Status"]["Code"] for one in asked if one["RequesterVpcInfo"].get("VpcId") == vpc}
    if "active" not in states:
        seen = f"its network is not peered ({', '.join(sorted(states)) or 'nobody asked for it'})"
        yield seen, f"{_DEPLOY} Until then no instance there is reached."
    groups = _there(lambda: ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"])
    if not groups:
        yield f"there is no group {group} for quarantine", _DEPLOY
    elif any(one["IpPermissions"] or one["IpPermissionsEgress"] for one in groups):
        yield (
            f"the group {group} for quarantine lets something through",
            "Take its rules out, and find out who made them.",
        )
    images = _there(lambda: ec2.describe_images(ImageIds=[image])["Images"])
    if not any(one.get("State") == "available" for one in images):
        yield (
            f"the image {image} is not available there",
            f"Copy it (`aws ec2 copy-image --region {region}`), put its id into the settings, and deploy again.",
        )


def _there(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return what AWS answers, nothing where it says that it is not there."""
    try:
        return ask()
    except Exception as error:
        if not is_aws_error(error) or code_of(error) not in _ABSENT:
            raise
        return []
