"""A further region on moto: its network made by the real provider, and an instance that lives there and nowhere else.

Of the platform's own region only what the two have with each other is made here; test_deploy_on_moto.py makes the rest,
and test_regions.py has the order in which a deployment goes about it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import pytest

from doubles import aws_server
from doubles.clocks import FixedClock
from infra.control_plane.terraform_runs import LOCAL_STATE, ROOT, initialise, terraform, variables
from nightingale.adapters.ec2_machines import Ec2Machines
from nightingale.adapters.sqlite import SqliteStore
from nightingale.hosting.settings import PlaceSettings, Settings
from nightingale.services.server_logs import StoredServerLogs
from nightingale.services.starts import StoredStarts
from nightingale_deploy.choices import HOME_CIDR

pytestmark = [pytest.mark.slow, pytest.mark.cloud, pytest.mark.terraform, pytest.mark.timeout(600)]

HOME, THERE = "eu-central-1", "eu-west-1"
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
INSIDE = ["10.64.32.0/20", "10.64.48.0/20"]
INSTANCE = "i-0123456789"

# moto has no DNS firewall.
WITHOUT = """
provider "aws" {
  max_retries = 1
}
module "names" {
  count = 0
}
"""

BEFORE = ("aws_subnet.inside", "aws_security_group.door")
AFTER = ("aws_route_table.inside", "aws_vpc_security_group_ingress_rule.door_from_regions")
"""Of the platform's own region: what there is before a further one, and what it gets for it."""


class Module:
    """A root module in a folder of its own, with a state beside it."""

    def __init__(
        self, whole: Path, folder: Path, environment: Mapping[str, str], override: str = "", root: str = ""
    ) -> None:
        shutil.copytree(whole, folder / "whole", ignore=shutil.ignore_patterns(".terraform*", "tests"))
        self._folder = folder / "whole" / root
        self._environment = dict(environment)
        (self._folder / "here_override.tf").write_text(LOCAL_STATE + override, encoding="utf-8")
        initialise(self._folder, "-reconfigure")

    def apply(self, variables: Mapping[str, Any], targets: Iterable[str] = ()) -> dict[str, Any]:
        """Apply these variables, or what they say of the targets alone, and return the outputs."""
        (self._folder / "terraform.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
        self._run("apply", "-auto-approve", *(f"-target={one}" for one in targets))
        told = json.loads(self._run("output", "-json"))
        return {name: one["value"] for name, one in told.items()}

    def changes_left(self) -> str:
        """Plan again and return what would be changed: empty when nothing would be."""
        ended = terraform(self._folder, "plan", "-detailed-exitcode", "-no-color", environment=self._environment)
        return "" if ended.returncode == 0 else ended.stdout + ended.stderr

    def destroy(self) -> None:
        self._run("destroy", "-auto-approve")

    def _run(self, *arguments: str) -> str:
        ended = terraform(self._folder, *arguments, "-no-color", environment=self._environment)
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr
        return ended.stdout


class Account:
    """Two regions of moto's account, seen past Terraform."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.ec2 = {region: self._client("ec2", region) for region in (HOME, THERE)}
        self._client("iam", HOME).create_instance_profile(InstanceProfileName="nightingale-instance")

    def _client(self, service: str, region: str) -> Any:
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint, **KEYS)

    def machines(self, region: str) -> list[dict[str, Any]]:
        found = [one for many in self.ec2[region].describe_instances()["Reservations"] for one in many["Instances"]]
        return [one for one in found if one["State"]["Name"] != "terminated"]

    def left(self, region: str) -> dict[str, list[str]]:
        """Return the ids of what a region or an instance could leave behind, by kind."""
        ec2 = self.ec2[region]
        return {
            "machines": [one["InstanceId"] for one in self.machines(region)],
            "volumes": sorted(one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]),
            "groups": sorted(one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]),
            "networks": sorted(one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]),
            "cards": sorted(
                one["NetworkInterfaceId"] for one in ec2.describe_network_interfaces()["NetworkInterfaces"]
            ),
        }


@pytest.fixture
def account() -> Iterator[Account]:
    with aws_server.running() as endpoint:
        yield Account(endpoint)


def test_an_instance_lives_in_a_further_region_and_neither_it_nor_the_region_leaves_anything(
    account: Account, packed: Path, tmp_path: Path
) -> None:
    before = account.left(THERE)
    environment = {"AWS_ENDPOINT_URL": account.endpoint, **{name.upper(): value for name, value in KEYS.items()}}
    home = Module(packed, tmp_path / "home", environment, WITHOUT)
    chosen = variables(tmp_path)
    home.apply(chosen, BEFORE)
    (own,) = account.ec2[HOME].describe_vpcs(Filters=[{"Name": "cidr", "Values": [HOME_CIDR]}])["Vpcs"]
    of_home = {
        "region": HOME,
        "vpc_id": own["VpcId"],
        "cidrs": INSIDE,
        "api_hosts": ["api-vpce-1.execute-api.eu-central-1.amazonaws.com"],
        "flows_role": "arn:aws:iam::123456789012:role/nightingale-flows",
    }
    region = Module(packed, tmp_path / "region", environment, WITHOUT, root="region")
    told = {"name": "nightingale", "region": THERE, "zone": f"{THERE}a", "cidr": "10.65.0.0/16", "home": of_home}
    made = region.apply({**told, "dataset_buckets": ["open-mr/v1"]})["made"]
    of_its_own, of_home_alone = account.left(THERE), account.left(HOME)

    place = place_of(account, own["VpcId"], made)
    instance = Module(ROOT / "infra" / "instance" / "aws", tmp_path / "instance", environment)
    with ThreadPoolExecutor(1) as launching:  # which waits for AWS, in steps of ten seconds
        launch = launching.submit(instance.apply, told_of_instance(place, "running"))
        home.apply({**chosen, "regions": {THERE: made}}, AFTER)
        assert region.changes_left() == ""
        require_peered(account, own["VpcId"], made)
        launched = launch.result()
    (machine,) = account.machines(THERE)
    assert account.left(HOME) == of_home_alone
    assert launched["address"] == f"tcp:{machine['PrivateIpAddress']}:8888"
    assert machine["SubnetId"] == made["subnet_id"]
    require_reached_from_home_alone(account, machine)

    machines = Ec2Machines(
        StoredStarts(store := SqliteStore(":memory:", FixedClock())),
        StoredServerLogs(store, FixedClock()),
        vpc_id=place.vpc_id,
        quarantine_group=place.quarantine_group,
        client=account.ec2[THERE],
    )
    assert dict(machines.find_all()) == {INSTANCE: 1}
    machines.quarantine(INSTANCE)
    (cut_off,) = account.machines(THERE)
    assert [one["GroupId"] for one in cut_off["SecurityGroups"]] == [made["quarantine_group"]]
    machines.end_orphan(INSTANCE, is_for_good=False)
    (stopped,) = account.machines(THERE)
    assert stopped["State"]["Name"] == "stopped"
    assert [one["GroupId"] for one in stopped["SecurityGroups"]] == [made["quarantine_group"]]
    machines.release(INSTANCE)
    assert dict(machines.find_all()) == {}

    instance.apply(told_of_instance(place, "absent"))
    assert account.left(THERE) == of_its_own
    region.destroy()
    assert account.left(THERE) == before
    assert account.left(HOME) == of_home_alone


def place_of(account: Account, vpc: str, made: Mapping[str, Any]) -> PlaceSettings:
    """Return the region as functions are told of it, put together with the platform's own by them."""
    endpoint = dict.fromkeys(("ec2", "iam", "kms", "s3", "sts"), account.endpoint)
    own = {
        "region": HOME,
        "vpc_id": vpc,
        "subnet_id": "subnet-0123456789abcdef0",
        "availability_zone": f"{HOME}a",
        "gateway_security_group_id": "sg-0aaaaaaaaaaaaaaa0",
        "api_cidrs": INSIDE[:1],
        "api_url": "https://api.example.org",
        "instance_profile": "nightingale-instance",
        "platform": "nightingale",
        "max_retries": 2,
        "endpoint": endpoint,
    }
    image = account.ec2[THERE].register_image(Name="nightingale", RootDeviceName="/dev/xvda")["ImageId"]
    differing = {
        "vpc_id": made["vpc_id"],
        "subnet_id": made["subnet_id"],
        "availability_zone": made["zone"],
        "gateway_cidrs": INSIDE,
        "api_url": "https://api-vpce-1.example.org",
        "kms_key": made["homes_key"],
        "image": image,
        "quarantine_group": made["quarantine_group"],
    }
    needed = ("TABLE", "AUDIT_BUCKET", "BUILDS_BUCKET", "CODEBUILD_PROJECT")
    settings = Settings.read(
        {
            **{f"NIGHTINGALE_{name}": name.lower() for name in needed},
            "NIGHTINGALE_ADDRESSES": "https://api.example.org",
            "AWS_REGION": HOME,
            "NIGHTINGALE_AWS_NETWORK": json.dumps(own),
            "NIGHTINGALE_AWS_IMAGE": "ami-0123456789abcdef0",
            "NIGHTINGALE_AWS_ACCOUNT": "123456789012",
            "NIGHTINGALE_AWS_INSTANCE_ROLE": "nightingale-instance",
            "NIGHTINGALE_AWS_REGIONS": json.dumps({THERE: differing}),
        }
    )
    (place,) = settings.further
    return place


def told_of_instance(place: PlaceSettings, desired_state: str) -> dict[str, Any]:
    network = dict(place.network)
    return {
        "instance_id": INSTANCE,
        "name": "brain",
        "owner": "ada",
        "project": "demo",
        "machine_type": "m7i.large",
        "image": place.image,
        "desired_state": desired_state,
        "generation": 1,
        "root_gib": 8,  # EC2 would take the image's own size, moto wants to be told
        "home_gib": 10,
        "datasets": [{"dataset": "mr", "version": "1", "tier": 0, "source": "s3:open-mr/v1"}],
        "kms_key": network.pop("kms_key"),
        "network": network,
    }


def require_peered(account: Account, own: str, made: Mapping[str, Any]) -> None:
    """Every route stays inside, or leads by the peering to the other's subnets that are named, and to nothing else."""
    (peering,) = account.ec2[HOME].describe_vpc_peering_connections()["VpcPeeringConnections"]
    assert (peering["VpcPeeringConnectionId"], peering["Status"]["Code"]) == (made["peering_id"], "active")
    for region, vpc, other in ((HOME, own, [made["cidr"]]), (THERE, made["vpc_id"], INSIDE)):
        tables = account.ec2[region].describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
        routes = [
            (route["DestinationCidrBlock"], route.get("VpcPeeringConnectionId"))
            for table in tables
            for route in table["Routes"]
            if "DestinationCidrBlock" in route and route.get("GatewayId") != "local"
        ]
        assert sorted(routes) == [(cidr, made["peering_id"]) for cidr in other]
    attached = [{"Name": "attachment.vpc-id", "Values": [made["vpc_id"]]}]
    assert account.ec2[THERE].describe_internet_gateways(Filters=attached)["InternetGateways"] == []
    (group,) = account.ec2[THERE].describe_security_groups(GroupIds=[made["quarantine_group"]])["SecurityGroups"]
    assert group["IpPermissions"] == group["IpPermissionsEgress"] == []


def require_reached_from_home_alone(account: Account, machine: Mapping[str, Any]) -> None:
    assert "PublicIpAddress" not in machine
    (group_id,) = [group["GroupId"] for group in machine["SecurityGroups"]]
    (group,) = account.ec2[THERE].describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    (way_in,) = group["IpPermissions"]
    assert (way_in["FromPort"], way_in["UserIdGroupPairs"]) == (8888, [])
    assert sorted(one["CidrIp"] for one in way_in["IpRanges"]) == INSIDE
    out = {where["CidrIp"] for rule in group["IpPermissionsEgress"] for where in rule["IpRanges"]}
    assert out == set(INSIDE[:1])
