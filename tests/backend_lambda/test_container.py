"""The platform that a function in AWS makes for itself from its settings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import msgspec
import pytest
from chalice.test import Client
from moto import mock_aws

import app as lambda_app
from chalicelib import container, operator_token
from doubles.bodies import BODIES
from doubles.clusters import small_cluster
from nightingale.adapters.dynamodb_table import create_table
from nightingale.adapters.ec2_machines import Ec2Machines
from nightingale.adapters.sts_proofs import StsProofs
from nightingale.contract.schemas import LOGIN_NAMESPACE, ClusterIn, login_message
from nightingale.hosting.settings import GatewaySettings, PlaceSettings, Settings, SettingsError
from nightingale.hosting.wired import NotWiredError

ENVIRONMENT = {
    "NIGHTINGALE_TABLE": "nightingale",
    "NIGHTINGALE_AUDIT_BUCKET": "audit",
    "NIGHTINGALE_BUILDS_BUCKET": "builds",
    "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale-builds",
    "NIGHTINGALE_ADDRESSES": "https://api.example.org/api, https://nightingale.example.org/",
    "AWS_REGION": "eu-central-1",
}
ADDRESS = "https://api.example.org/api"
NETWORK = {
    "region": "eu-central-1",
    "vpc_id": "vpc-1",
    "subnet_id": "subnet-1",
    "availability_zone": "eu-central-1a",
    "api_url": "https://api.example.org/api",
    "api_cidrs": ["10.0.0.0/16"],
    "gateway_security_group_id": "sg-0aaaaaaaaaaaaaaa0",
    "kms_key": "arn:aws:kms:eu-central-1:123456789012:key/homes",
}
IN_AWS = {
    "NIGHTINGALE_AWS_NETWORK": json.dumps(NETWORK),
    "NIGHTINGALE_AWS_IMAGE": "ami-12345678",
    "NIGHTINGALE_AWS_ACCOUNT": "123456789012",
    "NIGHTINGALE_AWS_INSTANCE_ROLE": "nightingale-instance",
}
REGION = {
    "vpc_id": "vpc-2",
    "subnet_id": "subnet-2",
    "availability_zone": "eu-west-1a",
    "gateway_cidrs": ["10.0.32.0/20"],
    "api_url": "https://api-vpce-1.example.org/api",
    "kms_key": "arn:aws:kms:eu-west-1:123456789012:key/homes",
    "image": "ami-87654321",
    "quarantine_group": "sg-0123456789abcdef1",
}
FURTHER = {"NIGHTINGALE_AWS_REGIONS": json.dumps({"eu-west-1": REGION})}
GATEWAY = {
    "NIGHTINGALE_GATEWAY_HOST": "gateway.example.org",
    "NIGHTINGALE_GATEWAY_PORT": "22",
    "NIGHTINGALE_GATEWAY_HOST_KEY": "ssh-ed25519 AAAA",
}


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_read_whole() -> None:
    settings = Settings.read({**ENVIRONMENT, **GATEWAY})
    assert settings.addresses == {"https://api.example.org/api", "https://nightingale.example.org"}
    assert settings.gateway == GatewaySettings("gateway.example.org", 22, "ssh-ed25519 AAAA")
    assert (settings.region, settings.endpoint) == ("eu-central-1", None)
    assert Settings.read(ENVIRONMENT).gateway is None
    assert Settings.read(ENVIRONMENT).place is None
    place = Settings.read({**ENVIRONMENT, **IN_AWS}).place
    assert place == PlaceSettings(NETWORK, "ami-12345678", "123456789012", "nightingale-instance")
    assert place.vpc_id == "vpc-1"
    told = Settings.read({**ENVIRONMENT, **IN_AWS, "NIGHTINGALE_QUARANTINE_GROUP": "sg-0123456789abcdef0"}).place
    assert told is not None
    assert told.quarantine_group == "sg-0123456789abcdef0"


def test_a_further_region_is_told_by_what_differs_and_shares_the_rest() -> None:
    settings = Settings.read({**ENVIRONMENT, **IN_AWS, **FURTHER})
    home, dublin = settings.places
    assert home == settings.place
    assert (dublin.region, dublin.vpc_id, dublin.image) == ("eu-west-1", "vpc-2", "ami-87654321")
    assert dublin.quarantine_group == "sg-0123456789abcdef1"
    assert (dublin.account, dublin.instance_role) == (home.account, home.instance_role)
    # What is of the first region alone is not handed on: its key opens no disk there, its groups are not known there.
    assert dublin.network == {
        **{name: NETWORK[name] for name in ("api_cidrs",)},
        **{name: value for name, value in REGION.items() if name not in {"image", "quarantine_group"}},
        "region": "eu-west-1",
    }
    assert Settings.read(ENVIRONMENT).places == ()


def test_the_package_index_of_the_platform_s_region_is_none_of_a_further_one() -> None:
    index = {"packages": {"address": "10.0.192.10:3142", "sha256": "ab" * 32}}
    told = {**ENVIRONMENT, **IN_AWS, **FURTHER, "NIGHTINGALE_AWS_NETWORK": json.dumps({**NETWORK, **index})}
    home, dublin = Settings.read(told).places
    assert home.network["packages"] == index["packages"]
    assert "packages" not in dublin.network


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
def test_a_missing_setting_is_named(name: str) -> None:
    for environment in ({k: v for k, v in ENVIRONMENT.items() if k != name}, {**ENVIRONMENT, name: ""}):
        with pytest.raises(SettingsError, match=f"not set: {name}$"):
            Settings.read(environment)


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(NotWiredError) as raised:
        container.make({})
    assert all(name in str(raised.value) for name in ENVIRONMENT)
    assert "deploy-to-aws" in raised.value.next_step


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"NIGHTINGALE_ADDRESSES": "api.example.org"}, "api.example.org"),
        ({"NIGHTINGALE_GATEWAY_HOST": "gateway.example.org"}, "whole or not at all"),
        ({**GATEWAY, "NIGHTINGALE_GATEWAY_PORT": "70000"}, "no port"),
        ({**GATEWAY, "NIGHTINGALE_GATEWAY_PORT": "ssh"}, "no port"),
        ({"NIGHTINGALE_AWS_IMAGE": "ami-1"}, "not set: NIGHTINGALE_AWS_NETWORK, NIGHTINGALE_AWS_ACCOUNT"),
        ({**IN_AWS, "NIGHTINGALE_AWS_NETWORK": "[]"}, "an object with api_url, region, subnet_id, vpc_id"),
        ({**IN_AWS, "NIGHTINGALE_AWS_NETWORK": "{"}, "is JSON"),
        ({**IN_AWS, "NIGHTINGALE_AWS_ACCOUNT": "12"}, "no account's number"),
        ({**IN_AWS, "NIGHTINGALE_AWS_INSTANCE_ROLE": "path/role"}, "without its path"),
        ({"NIGHTINGALE_QUARANTINE_GROUP": "quarantine"}, "no security group's id"),
        (
            {**IN_AWS, "NIGHTINGALE_AWS_REGIONS": '{"eu-west-1": {}}'},
            "by region an object with availability_zone, image",
        ),
        ({**IN_AWS, "NIGHTINGALE_AWS_REGIONS": "["}, "by region an object"),
        (FURTHER, "NIGHTINGALE_AWS_NETWORK is not set"),
        ({**IN_AWS, "NIGHTINGALE_AWS_REGIONS": json.dumps({"eu-central-1": REGION})}, "is the platform's own"),
        (
            {**IN_AWS, "NIGHTINGALE_AWS_REGIONS": json.dumps({"eu-west-1": {**REGION, "quarantine_group": "all"}})},
            "no security group's id: 'all'",
        ),
    ],
)
def test_a_setting_that_says_nothing_is_refused_in_words(wrong: Mapping[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.read({**ENVIRONMENT, **wrong})


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "NIGHTINGALE_ADDRESSES": "api.example.org",
        "NIGHTINGALE_TABLE": "",
        "NIGHTINGALE_GATEWAY_HOST": "gateway.example.org",
        "NIGHTINGALE_GATEWAY_PORT": "ssh",
        "NIGHTINGALE_AWS_NETWORK": "[]",
        "NIGHTINGALE_AWS_ACCOUNT": "12",
        "NIGHTINGALE_AWS_INSTANCE_ROLE": "path/role",
    }
    with pytest.raises(SettingsError) as raised:
        Settings.read({**ENVIRONMENT, **wrong})
    told = str(raised.value)
    names = ("TABLE", "ADDRESSES", "GATEWAY_HOST_KEY", "GATEWAY_PORT", "AWS_NETWORK", "AWS_IMAGE", "AWS_ACCOUNT")
    assert [name for name in (*names, "AWS_INSTANCE_ROLE") if f"NIGHTINGALE_{name}" not in told] == []


# --- the API on AWS's services, without any place ---------------------------------------------------------------------


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The app as a function finds it: nothing handed in, settings in the environment, services (of moto) around it."""
    for name, value in {**ENVIRONMENT, **GATEWAY}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    container.use_nothing()
    with mock_aws():
        s3 = boto3.client("s3", region_name="eu-central-1")
        for bucket in ("audit", "builds"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        create_table("nightingale", region="eu-central-1")
        with Client(lambda_app.app) as client:
            yield client
    container.use_nothing()


def ask(client: Client, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any]:
    answer = client.http.request(
        method,
        path,
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
        body=msgspec.json.encode(body) if body is not None else b"",
    )
    return answer.status_code, json.loads(answer.body) if answer.body else None


def make_key(folder: Path, name: str) -> str:
    """Make an SSH key and return its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True)
    return (folder / f"{name}.pub").read_text(encoding="utf-8").strip()


def login(client: Client, key: Path) -> str:
    """Log in as people do, with the key's signature over address and nonce; return the token."""
    nonce = ask(client, "POST", "/v1/login/challenges", body={})[1]["nonce"]
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", LOGIN_NAMESPACE, "-f", str(key)]
    signed = subprocess.run(command, input=login_message(ADDRESS, nonce), capture_output=True, check=True)
    body = {"nonce": nonce, "server": ADDRESS, "signature": signed.stdout.decode()}
    status, session = ask(client, "POST", "/v1/sessions", body=body)
    assert status == 201, session
    return str(session["token"])


def apply(client: Client, folder: Path) -> ClusterIn:
    """Make keys for the people of the small cluster and apply it as the operator; return it."""
    operator = container.wired().platform.services.login.create_service_session("operator", timedelta(days=1))
    cluster = small_cluster()
    people = tuple(msgspec.structs.replace(one, keys=(make_key(folder, one.name),)) for one in cluster.people)
    cluster = msgspec.structs.replace(cluster, people=people)
    status, plan = ask(client, "POST", "/v1/admin/cluster/plan", operator, {"cluster": cluster})
    assert status == 200, plan
    body = {"cluster": cluster, "base": plan["base"]}
    status, applied = ask(client, "POST", "/v1/admin/cluster/apply", operator, body)
    assert status == 200, applied
    return cluster


def test_a_function_serves_everything_that_needs_no_place(deployed: Client, tmp_path: Path) -> None:
    assert ask(deployed, "GET", "/openapi.json")[0] == 200
    assert ask(deployed, "GET", "/health")[1]["status"] == "ok"
    cluster = apply(deployed, tmp_path)
    ada, admin = login(deployed, tmp_path / "ada"), login(deployed, tmp_path / "hedy")
    assert ask(deployed, "GET", "/v1/me", ada)[1]["person"] == "ada"
    assert ask(deployed, "GET", "/v1/projects/brain/usage", ada)[0] == 200
    assert ask(deployed, "GET", "/v1/projects/brain/instances", ada)[1]["instances"] == []
    assert ask(deployed, "GET", "/v1/gateway", ada)[1]["host"] == "gateway.example.org"
    assert ask(deployed, "POST", "/v1/admin/cluster/plan", ada, {"cluster": cluster})[0] == 403
    status, audit = ask(deployed, "GET", "/v1/admin/audit/platform", admin)
    assert status == 200
    tags = [event["tag"] for event in audit["events"]]
    looked = "operation:call:allowed"  # this look itself
    assert tags == ["cluster:apply:succeeded", *["login:create:succeeded"] * 2, "operation:call:denied", looked]
    assert container.wired().platform.adapters.audit.verify("platform") is None


def test_a_launch_is_refused_while_no_place_can_be_looked_at(deployed: Client, tmp_path: Path) -> None:
    apply(deployed, tmp_path)
    token = login(deployed, tmp_path / "ada")
    body = {"name": "scan", "place": "aws", "size": {"cpu": "s", "memory": "s", "disk": "s"}}
    status, answer = ask(deployed, "POST", "/v1/projects/brain/instances", token, body)
    assert (status, answer["code"]) == (422, "invalid")
    assert "aws" in answer["message"]


def test_with_its_settings_the_place_is_wired_whole(deployed: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(deployed, "GET", "/health")[0] == 200
    vpc = boto3.client("ec2", region_name="eu-central-1").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for name, value in {**IN_AWS, "NIGHTINGALE_AWS_NETWORK": json.dumps({**NETWORK, "vpc_id": vpc})}.items():
        monkeypatch.setenv(name, value)
    container.use_nothing()
    adapters = container.wired().platform.adapters
    assert adapters.networks["aws"]["vpc_id"] == vpc
    assert adapters.images["aws"] == "ami-12345678"
    assert isinstance(adapters.machines["aws"], Ec2Machines)
    assert isinstance(adapters.proofs["aws"], StsProofs)
    assert adapters.machines["aws"].find_all() == {}
    status, answer = ask(deployed, "POST", "/v1/machines/identities", body=BODIES["identify_machine"])
    assert (status, answer["code"]) == (401, "invalid_signature")
    event = deployed.events.generate_cw_event("aws.events", "Scheduled Event", {}, [])
    assert deployed.lambda_.invoke("end_orphans", event).payload == {"ended": 0}


def test_each_region_is_asked_for_its_own_machines_and_one_builder_builds_for_all(
    deployed: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**IN_AWS, **FURTHER}.items():
        monkeypatch.setenv(name, value)
    container.use_nothing()
    adapters = container.wired().platform.adapters
    home, dublin = "aws/eu-central-1", "aws/eu-west-1"
    assert adapters.networks["aws"]["region"] == "eu-central-1"
    assert adapters.networks[dublin]["vpc_id"] == "vpc-2"
    assert adapters.images[dublin] == "ami-87654321"
    assert adapters.builders[dublin] is adapters.builders[home]
    there = boto3.client("ec2", region_name="eu-west-1")
    vpc = there.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    monkeypatch.setenv("NIGHTINGALE_AWS_REGIONS", json.dumps({"eu-west-1": {**REGION, "vpc_id": vpc}}))
    subnet = there.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
    tags = {"nightingale:instance": "i-0123456789", "nightingale:generation": "3"}
    there.run_instances(
        ImageId=there.register_image(Name="image", RootDeviceName="/dev/xvda")["ImageId"],
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )
    container.use_nothing()
    adapters = container.wired().platform.adapters
    assert adapters.machines[dublin].find_all() == {"i-0123456789": 3}
    assert adapters.machines[home].find_all() == {}
    event = deployed.events.generate_cw_event("aws.events", "Scheduled Event", {}, [])
    assert deployed.lambda_.invoke("end_orphans", event).payload == {"ended": 1}
    (found,) = there.describe_instances()["Reservations"]
    assert found["Instances"][0]["State"]["Name"] == "terminated"


def test_the_first_token_is_left_in_a_file_of_its_own(
    deployed: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    assert operator_token.main([str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    token = path.read_text(encoding="ascii")
    assert ask(deployed, "POST", "/v1/admin/cluster/plan", token, {"cluster": small_cluster()})[0] == 422  # its keys
    assert operator_token.main([str(path)]) == 1
    assert path.read_text(encoding="ascii") == token
    said = capsys.readouterr()
    assert "there already" in said.err
    assert token not in said.out + said.err


def test_the_first_token_wants_the_functions_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    container.use_nothing()
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert operator_token.main([str(tmp_path / "token")]) == 1
    assert "NIGHTINGALE_TABLE" in capsys.readouterr().err
    assert not (tmp_path / "token").exists()
    assert operator_token.main([]) == 2


def test_jobs_run_on_the_same_services(deployed: Client) -> None:
    event = deployed.events.generate_cw_event("aws.events", "Scheduled Event", {}, [])
    assert deployed.lambda_.invoke("close_hours", event).payload == {"written": 0}
    assert deployed.lambda_.invoke("end_orphans", event).payload == {"ended": 0}
