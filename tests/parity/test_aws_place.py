"""Instances in AWS through the function app that stands in for Lambda: told the same place, it does the same.

Both hosts make their platform themselves, out of settings: those that Lambda's functions are given, and for the other
what the output `second_backend` of infra/control-plane/aws hands over.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import msgspec
import pytest
from azure.functions import HttpRequest
from chalice.test import Client
from moto import mock_aws

import app as lambda_app
import azurelib.container
import chalicelib.container
from doubles.cloud_identity import cloud_identity
from doubles.clusters import apply_cluster, rate, small_cluster
from nightingale.adapters.dynamodb_table import create_table
from nightingale.contract.operations import BY_NAME
from nightingale.contract.schemas import LOGIN_NAMESPACE, ImageIn, MachineIn, PlaceIn, login_message
from nightingale_functions_local.host import declared_by_app

pytestmark = pytest.mark.slow  # SSH keys are made, and moto's services start

HOME = "eu-central-1"
ADDRESS = "https://api.example.org/api"
SETTINGS = {
    "NIGHTINGALE_TABLE": "nightingale",
    "NIGHTINGALE_AUDIT_BUCKET": "audit",
    "NIGHTINGALE_BUILDS_BUCKET": "builds",
    "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale-builds",
    "NIGHTINGALE_ADDRESSES": ADDRESS,
    "AWS_REGION": HOME,
}
OF_AZURE = {
    "NIGHTINGALE_AWS_ROLE": "arn:aws:iam::123456789012:role/nightingale-azure",
    "NIGHTINGALE_AWS_AUDIENCE": "api://nightingale",
}
LAUNCH = {"name": "scan", "place": "aws", "size": {"cpu": "s", "memory": "s", "disk": "s"}}
ESTIMATE = {name: value for name, value in LAUNCH.items() if name != "name"}
VARIES = re.compile(
    r"\b[a-z]-[0-9a-z]{10}\b|\bnightingale-builds:[0-9a-f-]{36}|\b(?:i|sg|vpc|subnet|eni|ami)-[0-9a-f]{8,17}\b"
    r"|\b20\d\d-\d\d-\d\d[T ][0-9:.]+(?:Z| UTC)"
    r'|"cost": \{"amount": "[0-9.]+"'
)
"""What is another for each platform: ids, times, and what some seconds of a disk cost."""

Ask = Callable[..., tuple[int, Any]]
"""An operation's name, a token, a body and what is in its path; status and JSON come back."""


@dataclass
class Account:
    """What there is in AWS for a platform, and what its functions are told of the place."""

    place: dict[str, str]
    vpc: str
    subnet: str
    quarantine: str

    @staticmethod
    def made() -> Account:
        s3, ec2 = boto3.client("s3", region_name=HOME), boto3.client("ec2", region_name=HOME)
        for bucket in ("audit", "builds"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": HOME})
        create_table("nightingale", region=HOME)
        boto3.client("codebuild", region_name=HOME).create_project(
            name="nightingale-builds",
            source={"type": "S3", "location": "builds/source"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
            serviceRole="arn:aws:iam::123456789012:role/builds",
        )
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="quarantine", Description="none", VpcId=vpc)["GroupId"]
        network = {
            "region": HOME,
            "vpc_id": vpc,
            "subnet_id": subnet,
            "availability_zone": f"{HOME}a",
            "api_url": ADDRESS,
            "api_cidrs": ["10.0.0.0/16"],
            "gateway_security_group_id": "sg-0aaaaaaaaaaaaaaa0",
            "kms_key": f"arn:aws:kms:{HOME}:123456789012:key/homes",
        }
        place = {
            "NIGHTINGALE_AWS_NETWORK": json.dumps(network),
            "NIGHTINGALE_AWS_IMAGE": "ami-12345678",
            "NIGHTINGALE_AWS_ACCOUNT": "123456789012",
            "NIGHTINGALE_AWS_INSTANCE_ROLE": "nightingale-instance",
            "NIGHTINGALE_QUARANTINE_GROUP": group,
        }
        return Account(place, vpc, subnet, group)

    def start(self, instance: str) -> str:
        """Start the machine that the build would; return EC2's id of it."""
        ec2 = boto3.client("ec2", region_name=HOME)
        tags = {"nightingale:instance": instance, "nightingale:generation": "1"}
        own = ec2.create_security_group(GroupName=f"nightingale-{instance}", Description="its own", VpcId=self.vpc)
        (machine,) = ec2.run_instances(
            ImageId=ec2.register_image(Name=instance, RootDeviceName="/dev/xvda")["ImageId"],
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnet,
            SecurityGroupIds=[own["GroupId"]],
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
        )["Instances"]
        return str(machine["InstanceId"])

    def groups(self, machine: str) -> list[str]:
        found = boto3.client("ec2", region_name=HOME).describe_instances(InstanceIds=[machine])
        return [one["GroupId"] for one in found["Reservations"][0]["Instances"][0]["SecurityGroups"]]


@contextmanager
def on_lambda() -> Iterator[Ask]:
    """The functions in AWS."""
    with Client(lambda_app.app) as client:

        def ask(name: str, token: str = "", body: Any = None, **path: str) -> tuple[int, Any]:
            row = BY_NAME[name]
            answer = client.http.request(
                row.method, row.path.format(**path), headers=headers(token), body=encoded(body)
            )
            return answer.status_code, json.loads(answer.body)

        yield ask


@contextmanager
def on_functions() -> Iterator[Ask]:
    """The function app in Azure."""

    def ask(name: str, token: str = "", body: Any = None, **path: str) -> tuple[int, Any]:
        row = BY_NAME[name]
        (route,) = (one for one in declared_by_app().routes if one.name == name)
        asked = HttpRequest(
            method=row.method,
            url=f"https://nightingale.azurewebsites.net{row.path.format(**path)}",
            headers={key.lower(): value for key, value in headers(token).items()},
            route_params=path,
            body=encoded(body),
        )
        answer = route.call(**{route.argument: asked})
        return answer.status_code, json.loads(answer.get_body())

    yield ask


HOSTS = {"lambda": (on_lambda, chalicelib.container), "functions": (on_functions, azurelib.container)}


def headers(token: str) -> dict[str, str]:
    return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})


def encoded(body: Any) -> bytes:
    return b"" if body is None else msgspec.json.encode(body)


def login(ask: Ask, key: Path) -> str:
    nonce = ask("create_challenge", body={})[1]["nonce"]
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", LOGIN_NAMESPACE, "-f", str(key)]
    signed = subprocess.run(command, input=login_message(ADDRESS, nonce), capture_output=True, check=True)
    body = {"nonce": nonce, "server": ADDRESS, "signature": signed.stdout.decode()}
    status, session = ask("create_session", body=body)
    assert status == 201, session
    return str(session["token"])


@contextmanager
def standing(host: str, folder: Path, *, told: bool = True) -> Iterator[tuple[Ask, Account, dict[str, str]]]:
    """A platform that one host made for itself, with people in it; yield how to ask it, AWS, and people's tokens."""
    opened, container = HOSTS[host]
    with pytest.MonkeyPatch.context() as patched, mock_aws(), cloud_identity() as identity:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "testing")  # for this test's own clients; Functions opens its role
        account = Account.made()
        more = OF_AZURE | identity.environment if host == "functions" else {}
        for name, value in (SETTINGS | (account.place if told else {}) | more).items():
            patched.setenv(name, value)
        container.use_nothing()
        try:
            keys = {name: folder / f"{host}-{name}" for name in ("ada", "grace", "hedy")}
            people = []
            for one in small_cluster().people:
                made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", one.name, "-f", str(keys[one.name])]
                subprocess.run(made, check=True)
                public = keys[one.name].with_suffix(".pub").read_text("utf-8").strip()
                people.append(msgspec.structs.replace(one, keys=(public,)))
            images = (ImageIn(name="default", sources={"aws": "default"}),)
            places = (PlaceIn(name="aws", kind="aws", machines=(MachineIn(type="t3.micro", cores=1, gib=1),)),)
            rates = (rate("2026-01-01", place="aws", cpu={"s": "0.05", "m": "0.1", "xl": "1.7"}),)
            cluster = small_cluster(people=tuple(people), images=images, places=places, rates=rates)
            apply_cluster(container.wired().platform.adapters.store, cluster)
            with opened() as ask:
                yield ask, account, {name: login(ask, key) for name, key in keys.items()}
        finally:
            container.use_nothing()


def play(host: str, folder: Path) -> list[str]:
    """Launch, look at, quarantine and release an instance in AWS; return all that was said and done, without ids."""
    said: list[str] = []

    def note(what: str, *told: object) -> None:
        said.append(f"{what} {VARIES.sub('*', json.dumps(told, default=str))}")

    with standing(host, folder) as (ask, account, tokens):
        scan = {"project": "brain", "instance": "scan"}
        status, estimate = ask("create_estimate", tokens["ada"], ESTIMATE, project="brain")
        assert status == 200, estimate
        note("estimate", estimate)
        status, launched = ask("launch_instance", tokens["ada"], LAUNCH, project="brain")
        assert (status, launched.get("place")) == (202, "aws"), launched
        note("launched", status, launched)
        for operation in ("get_instance", "list_history", "list_builds"):
            note(operation, *ask(operation, tokens["ada"], **scan))
        s3 = boto3.client("s3", region_name=HOME)
        listed = [one["Key"] for one in s3.list_objects_v2(Bucket="builds").get("Contents", ())]
        assert any(key.endswith("spec.json") for key in listed)
        for key in sorted(listed):
            note(f"file {VARIES.sub('*', key)}", s3.get_object(Bucket="builds", Key=key)["Body"].read().decode())
        builds = boto3.client("codebuild", region_name=HOME).list_builds_for_project(projectName="nightingale-builds")
        assert len(builds["ids"]) == 1
        machine = account.start(launched["id"])
        own = account.groups(machine)
        note("quarantine", *ask("quarantine_instance", tokens["hedy"], {"why": "a look"}, **scan))
        assert account.groups(machine) == [account.quarantine]
        note("stop in quarantine", *ask("stop_instance", tokens["ada"], **scan))
        note("release", *ask("release_instance", tokens["hedy"], {"why": "nothing"}, **scan))
        assert account.groups(machine) == own
        note("stop while it is built", *ask("stop_instance", tokens["ada"], **scan))
    return said


def test_a_launch_in_aws_through_the_function_app_gives_what_lambda_gives(tmp_path: Path) -> None:
    by_lambda, by_functions = (play(host, tmp_path) for host in HOSTS)
    assert by_functions == by_lambda


def test_a_function_app_that_is_told_no_place_launches_nothing_in_aws_and_says_so(tmp_path: Path) -> None:
    with standing("functions", tmp_path, told=False) as (ask, _, tokens):
        status, answer = ask("launch_instance", tokens["ada"], LAUNCH, project="brain")
    assert (status, answer["code"]) == (422, "invalid")
    assert "aws" in answer["message"]
