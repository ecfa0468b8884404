"""What the doctor says of a platform's further regions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import pytest

from nightingale_local.doctor.account import explain
from nightingale_local.doctor.regions import region_checks
from nightingale_local.doctor.report import DoctorLine, examine

HOME, THERE = "eu-central-1", "eu-west-1"


class Region:
    """A further region as a deployment leaves it; a test spoils one thing."""

    def __init__(self) -> None:
        self.ec2: Any = boto3.client("ec2", region_name=THERE)
        home: Any = boto3.client("ec2", region_name=HOME)
        own = home.create_vpc(CidrBlock="10.64.0.0/16")["Vpc"]["VpcId"]
        vpc = self.ec2.create_vpc(CidrBlock="10.65.0.0/16")["Vpc"]["VpcId"]
        peering = self.ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=own, PeerRegion=HOME)
        self.peering = peering["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        home.accept_vpc_peering_connection(VpcPeeringConnectionId=self.peering)
        made = self.ec2.create_security_group(GroupName="quarantine", Description="quarantine", VpcId=vpc)
        self.group = made["GroupId"]
        opened = self.ec2.describe_security_groups(GroupIds=[self.group])["SecurityGroups"][0]["IpPermissionsEgress"]
        self.ec2.revoke_security_group_egress(GroupId=self.group, IpPermissions=opened)
        image = self.ec2.register_image(Name=f"image of {vpc}", RootDeviceName="/dev/xvda")["ImageId"]
        self.told = {"vpc_id": vpc, "quarantine_group": self.group, "image": image}

    def look(self) -> DoctorLine:
        environment = {"NIGHTINGALE_AWS_REGIONS": json.dumps({THERE: self.told})}
        checks = region_checks(environment, lambda service, region: boto3.client(service, region_name=region))
        (line,) = examine(checks, 60, explain).lines
        assert line.check == f"region {THERE}"
        return line


@pytest.fixture
def region(clients: dict[str, Any]) -> Region:
    del clients  # moto runs while they are there
    return Region()


def test_a_region_that_is_peered_and_has_its_image_is_well(region: Region) -> None:
    line = region.look()
    assert line.verdict == "ok", line
    assert region.told["vpc_id"] in line.seen


def open_group(region: Region) -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    region.ec2.authorize_security_group_ingress(GroupId=region.group, IpPermissions=[rule])


@pytest.mark.parametrize(
    ("spoil", "words", "do"),
    [
        (
            lambda region: region.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=region.peering),
            "is not peered (deleted)",
            "./run deploy aws",
        ),
        (lambda region: region.told.update(vpc_id="vpc-0123456789abcdef0"), "no network vpc-0123", "./run deploy aws"),
        (
            lambda region: region.told.update(quarantine_group="sg-0123456789abcdef0"),
            "there is no group sg-0123",
            "./run deploy aws",
        ),
        (open_group, "for quarantine lets something through", "find out who made them"),
        (
            lambda region: region.told.update(image="ami-0123456789abcdef0"),
            "ami-0123456789abcdef0 is not",
            "copy-image",
        ),
    ],
    ids=["peering", "network", "group", "open group", "image"],
)
def test_each_fault_of_a_region_is_seen(region: Region, spoil: Callable[[Region], None], words: str, do: str) -> None:
    spoil(region)
    line = region.look()
    assert line.verdict == "fail"
    assert words in line.seen
    assert do in line.do


def test_a_platform_of_one_region_has_no_line_of_others_and_a_setting_that_is_none_is_unknown() -> None:
    def client(service: str, region: str) -> Any:
        raise AssertionError((service, region))

    assert region_checks({}, client) == []
    (line,) = examine(region_checks({"NIGHTINGALE_AWS_REGIONS": "{"}, client), 60, explain).lines
    assert line.verdict == "unknown"
