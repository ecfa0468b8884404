"""From the API's call to EC2 and back: the platform's own builder, buildspec.yml, real Terraform and provider, moto.

What is made up: CodeBuild itself (its builds run here), moto in place of EC2, S3 and DynamoDB, and whether Jupyter
answers. The catalogue's machine types of AWS are tested where they are made; here every size is one type.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import msgspec
import pytest

from doubles import FixedClock, aws_server, codebuild_server
from doubles.aws import FakeCodeBuild, FakeLogs
from doubles.clusters import rate
from doubles.codebuild_containers import Containers
from doubles.dynamo_server import fresh_store
from doubles.platforms import URL, FakePlatform, given, team_cluster
from infra.local_place import needs_terraform
from nightingale.adapters.codebuild import CodeBuildBuilder
from nightingale.app.wiring import Adapters, platform
from nightingale.contract.build import BuildSpec
from nightingale.contract.schemas import ImageIn, MachineIn, PlaceIn
from nightingale.domain.instance import Instance
from nightingale.ports.builder import Builder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cloud,
    pytest.mark.e2e,
    pytest.mark.terraform,
    pytest.mark.timeout(1500),
    needs_terraform,
]

REGION, ZONE = "eu-central-1", "eu-central-1a"
BUILDS, STATES = "ng-builds", "ng-states"
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}

MODULE = Path(__file__).parents[2] / "infra" / "instance" / "aws"

TYPES = {"s": "m7i.large", "m": "m7i.xlarge"}

DOWNLOADS = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "PIP_INDEX_URL", "PIP_CERT", "SSL_CERT_FILE",
             "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CONFIG_FILE")  # fmt: skip
"""What a machine may need to reach the package index."""


class WithRootDisk:
    """The builder, which says how large the system disk is: moto wants to be told what EC2 takes from the image."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self.look, self.cancel, self.read_log = builder.look, builder.cancel, builder.read_log

    def start(self, spec: BuildSpec) -> None:
        self._builder.start(msgspec.structs.replace(spec, variables={**spec.variables, "root_gib": 8}))


@dataclass
class Account:
    """What there is in EC2, seen past the platform."""

    ec2: Any

    def machines(self) -> list[dict[str, Any]]:
        found = [one for many in self.ec2.describe_instances()["Reservations"] for one in many["Instances"]]
        return [one for one in found if one["State"]["Name"] != "terminated"]

    def machine(self) -> tuple[str, str, str]:
        """Return the id, the state and the type of the only machine."""
        (one,) = self.machines()
        return one["InstanceId"], one["State"]["Name"], one["InstanceType"]

    def left(self) -> dict[str, int]:
        """Return how many of each kind there are."""
        return {
            "machines": len(self.machines()),
            "volumes": len(self.ec2.describe_volumes()["Volumes"]),
            "groups": len(self.ec2.describe_security_groups()["SecurityGroups"]),
        }


class AwsPlatform(FakePlatform):
    """The platform on DynamoDB, whose place `aws` is built by CodeBuild."""

    instance_id = ""

    def become(self, builder: Builder, network: dict[str, Any], image: str) -> None:
        """Take the builder, what the module knows of its network, and the default image."""
        self.made = platform(
            Adapters(
                store=self.store,
                audit=self.audit,
                clock=self.clock,
                ids=self.ids,
                signatures=self.signatures,
                builders={"aws": builder},
                machines={"aws": self.machines},
                networks={"aws": network},
                images={"aws": image},
                addresses=frozenset({URL}),
                find_gateway=lambda: self.gateway,
            )
        )
        self.services, self.lifecycle = self.made.services, self.made.lifecycle
        self.dispatcher, self.watch = self.made.dispatcher(), self.made.watch(self.prober)

    async def built(self, containers: Containers) -> Instance:
        """Let the build end and everything move that moves after it; return the instance."""
        containers.join()
        self.watch.refresh()
        await self.watch.beat_in_flight()
        instance = self.stored(self.instance_id).instance
        if instance.status == "starting":
            self.machines.bring_up(instance.id, instance.generation)
            await self.watch.beat_in_flight()
        return self.stored(self.instance_id).instance


def network_of(ec2: Any, iam: Any, endpoint: str) -> dict[str, Any]:
    iam.create_instance_profile(InstanceProfileName="nightingale-instance")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone=ZONE)["Subnet"]["SubnetId"]
    gateway = ec2.create_security_group(GroupName="gateway", Description="gateway", VpcId=vpc)["GroupId"]
    return {
        "region": REGION,
        "vpc_id": vpc,
        "subnet_id": subnet,
        "availability_zone": ZONE,
        "gateway_security_group_id": gateway,
        "api_cidrs": ["10.0.9.0/24"],
        "api_url": "https://api.example.org",
        "instance_profile": "nightingale-instance",
        "max_retries": 3,
        "endpoint": dict.fromkeys(("ec2", "iam", "kms", "s3", "sts"), endpoint),
    }


@contextlib.contextmanager
def open_account(
    folder: Path, module: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[AwsPlatform, Account, Containers]]:
    """Make an account, a platform in it, and the containers that it builds with."""
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", REGION)):
        monkeypatch.setenv(name, value)
    shutil.copytree(module, folder / "modules" / "aws", ignore=shutil.ignore_patterns(".terraform*", "tests"))
    clock = FixedClock()
    codebuild, logs = FakeCodeBuild(clock), FakeLogs()
    (folder / "containers").mkdir()
    with aws_server.running() as endpoint, contextlib.ExitStack() as stack:
        project = {
            "NIGHTINGALE_BUILDS_BUCKET": BUILDS,
            "NIGHTINGALE_STATE_BUCKET": STATES,
            "NIGHTINGALE_AWS_REGION": REGION,
            "NIGHTINGALE_MODULES": str(folder / "modules"),
            "AWS_ENDPOINT_URL": endpoint,
            "TF_CLI_CONFIG_FILE": str(settings),
        }
        containers = Containers(folder / "containers", codebuild, logs, project)
        containers.install({name: os.environ[name] for name in DOWNLOADS if name in os.environ})
        credentials = folder / "containers" / "home" / ".aws"
        credentials.mkdir()
        (credentials / "credentials").write_text("[default]\naws_access_key_id = x\naws_secret_access_key = x\n")
        asked = stack.enter_context(codebuild_server.serving(codebuild, containers.started))
        containers.tell("AWS_ENDPOINT_URL_CODEBUILD", asked)
        s3, ec2, iam = (boto3.client(name, endpoint_url=endpoint, region_name=REGION) for name in ("s3", "ec2", "iam"))
        for bucket in (BUILDS, STATES):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        looks = itertools.count()
        builder = CodeBuildBuilder(
            "builds",
            BUILDS,
            clock=clock,
            region=REGION,
            endpoint=asked,
            s3=s3,
            logs=logs,
            monotonic=lambda: next(looks) * 10.0,  # nothing is looked at too often: builds are waited for
        )
        cluster = team_cluster(
            images=(ImageIn(name="default", sources={"aws": "default"}),),
            places=(
                PlaceIn(
                    name="aws",
                    kind="aws",
                    machines=(
                        MachineIn(type=TYPES["s"], cores=1, gib=1),
                        MachineIn(type=TYPES["m"], cores=2, gib=4),
                    ),
                ),
            ),
            rates=(rate("2026-01-01", place="aws", cpu={"s": "0.05", "m": "0.1", "xl": "1.7"}),),
        )
        made = AwsPlatform(store=fresh_store(endpoint, clock), clock=clock, cluster=cluster)
        image = ec2.register_image(Name="nightingale", RootDeviceName="/dev/xvda")["ImageId"]
        made.become(WithRootDisk(builder), network_of(ec2, iam, endpoint), image)
        yield made, Account(ec2), containers
        containers.join()


async def test_an_instance_lives_and_leaves_nothing_behind(
    tmp_path: Path, terraform_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_account(tmp_path, MODULE, terraform_settings, monkeypatch) as (made, account, containers):
        before = account.left()
        launched = made.launch(place="aws", size={"cpu": "s", "memory": "s", "disk": "s"})
        made.instance_id = launched.id
        running = await made.built(containers)
        assert running.status == "running", running.reason
        machine_id, state, machine_type = account.machine()
        assert (state, machine_type) == ("running", TYPES["s"])
        build_id = given(running.build_id)
        lines = made.ask("read_log", "grace", "scan", source="build")["lines"]
        assert any("Apply complete!" in line for line in lines), lines[-5:]

        made.ask("stop_instance", "grace", "scan")
        stopped = await made.built(containers)
        assert stopped.status == "stopped", stopped.reason
        assert account.machine() == (machine_id, "stopped", TYPES["s"])

        made.ask("resize_instance", "grace", "scan", {"cpu": "m"})
        resized = await made.built(containers)
        assert resized.status in {"running", "stopped"}, resized.reason
        assert account.machine()[1:] == (resized.status, TYPES["m"])
        assert resized.build_id != build_id

        made.ask("delete_instance", "grace", "scan")
        gone = await made.built(containers)
        assert gone.status == "terminated", gone.reason
        assert account.left() == before
