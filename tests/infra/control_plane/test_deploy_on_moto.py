"""`./run deploy aws` and `./run destroy aws`, whole, with the real provider on an account of moto's.

What moto cannot do is left out by override files, each for its reason; all else is made as in an account.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import pytest

from doubles import aws_recorder
from infra.control_plane.terraform_runs import REGION, ROOT
from nightingale.adapters.dynamodb_table import table_spec
from nightingale_deploy.account import Account
from nightingale_deploy.aws import AUDIT_PARTS, Orders, adopt_audit
from nightingale_deploy.choices import Choices
from nightingale_deploy.packing import make_module
from nightingale_deploy.terraform import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.cloud, pytest.mark.terraform, pytest.mark.timeout(2400)]

WITHOUT = """
terraform {
  backend "s3" {
    key            = "control-plane/terraform.tfstate"
    use_lockfile   = true
    encrypt        = true
    use_path_style = true # moto's address is a number, which takes no bucket's name before it
  }
}
provider "aws" {
  s3_use_path_style = true
  max_retries       = 1 # what moto cannot do fails at once
}
module "names" {
  count = 0 # moto has no DNS firewall
}
resource "aws_budgets_budget" "month" {
  count = 0 # moto does not list a budget's subscribers
}
resource "aws_s3_bucket_policy" "kept" {
  for_each = {} # moto takes "deny without TLS" for "deny"
}
"""

# moto gives a policy back in another form than AWS, which the provider cannot read.
WITHOUT_IN_API = {"resource": {"aws_api_gateway_rest_api": {"private": {"policy": None}}}}

SETTINGS = {
    "region": REGION,
    "gateway_cidrs": ["192.0.2.0/24"],
    "alarm_emails": ["ops@example.org"],
    "monthly_budget_usd": 500,
    "packages": {"egress": "nat"},
}


class Person:
    """Someone at a command line, with an account."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.environment = {**os.environ, **aws_recorder.environment_for(endpoint)}
        self.checkout = folder / "checkout"
        self.checkout.mkdir()
        for name in ("backend-lambda", "core", "infra", "uv.lock"):
            (self.checkout / name).symlink_to(ROOT / name)
        self.settings = folder / "nightingale-aws.json"
        self.settings.write_text(json.dumps(SETTINGS), encoding="utf-8")
        self.override = folder / "override"
        (self.override / "api").mkdir(parents=True)
        (self.override / "moto_override.tf").write_text(WITHOUT, encoding="utf-8")
        (self.override / "api" / "moto_override.tf.json").write_text(json.dumps(WITHOUT_IN_API), encoding="utf-8")
        self._endpoint = endpoint

    def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nightingale_deploy", *arguments, "--checkout", str(self.checkout)]
        command += ["--settings", str(self.settings), "--override", str(self.override)]
        return subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client(service, region_name=REGION, endpoint_url=self._endpoint, **keys)


@pytest.fixture
def person(tmp_path: Path, prepared: Path) -> Iterator[Person]:
    del prepared  # skips where the provider cannot be had
    with aws_recorder.running(tmp_path / "calls") as endpoint:
        yield Person(endpoint, tmp_path)


def test_a_platform_is_deployed_is_as_it_should_be_and_is_taken_down(
    person: Person, record_property: Callable[[str, object], None]
) -> None:
    made = person.types("deploy", "aws", "--yes")
    assert made.returncode == 0, made.stderr[-6000:]
    told = json.loads(made.stdout)
    assert told["is_applied"]
    record_property("api_url", told["api_url"])
    _check_table(person)
    _check_secrets(person, told, made)
    _check_packages(person)
    _check_audit(person, told["buckets"]["audit"])

    _check_end(person, told)


def test_the_audit_log_of_a_platform_that_was_taken_down_is_taken_up_again(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in person.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    choices = Choices.read(person.settings)
    orders = Orders(person.checkout, person.settings, is_sure=True, override=person.override)

    def prepared(name: str) -> Workspace:
        work = orders.workspace(choices, name)
        make_module(person.checkout, work.folder / "api")
        uploads = ("functions", "platform", "gateway", "scan")
        packages = {f"{one}_package": str(work.folder / "versions.tf") for one in uploads}
        work.tell({**choices.variables, **packages, "gateway_host_key": "ssh-ed25519 AAAA"})
        work.init(None, choices.region)
        return work

    prepared("before").run("apply", "-input=false", "-auto-approve", "-target=module.audit")
    after = prepared("after")
    adopt_audit(Account(REGION), choices, after)
    after.plan("-target=module.audit")
    told = json.loads(after.read("show", "-json", "plan"))
    changes = {one["address"]: one["change"] for one in told["resource_changes"] if one["mode"] == "managed"}
    assert len(changes) == len(AUDIT_PARTS) + 1
    assert all("importing" in change for change in changes.values())
    assert not [change for change in changes.values() if "delete" in change["actions"]]


def _check_table(person: Person) -> None:
    """Keys and indexes are those that the store works with."""
    dynamodb = person.client("dynamodb")
    spec, found = table_spec("nightingale"), dynamodb.describe_table(TableName="nightingale")["Table"]
    by_name = {one["AttributeName"]: one for one in found["AttributeDefinitions"]}
    assert by_name == {one["AttributeName"]: one for one in spec["AttributeDefinitions"]}
    assert found["KeySchema"] == spec["KeySchema"]
    assert {
        one["IndexName"]: (one["KeySchema"], one["Projection"]["ProjectionType"])
        for one in found["GlobalSecondaryIndexes"]
    } == {one["IndexName"]: (one["KeySchema"], "ALL") for one in spec["GlobalSecondaryIndexes"]}
    assert found["BillingModeSummary"]["BillingMode"] == spec["BillingMode"]
    assert found["DeletionProtectionEnabled"]
    assert found["SSEDescription"]["SSEType"] == "KMS"
    expiry = dynamodb.describe_time_to_live(TableName="nightingale")["TimeToLiveDescription"]
    assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", "expires_at")
    recovery = dynamodb.describe_continuous_backups(TableName="nightingale")["ContinuousBackupsDescription"]
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def _check_secrets(person: Person, told: dict[str, Any], made: subprocess.CompletedProcess[str]) -> None:
    """Token and host key are parameters that are encrypted, and stand in no state, plan or word of Terraform."""
    ssm, s3 = person.client("ssm"), person.client("s3")
    (bucket,) = [one["Name"] for one in s3.list_buckets()["Buckets"] if "-control-" in one["Name"]]
    state = s3.get_object(Bucket=bucket, Key="control-plane/terraform.tfstate")["Body"].read().decode()
    work = person.checkout / ".deploy" / f"nightingale-{REGION}" / "deploy"
    kept = (work / "plan").read_bytes() + (work / "terraform.tfvars.json").read_bytes()
    for name in ("gateway/token", "gateway/host_key", "packages/token", "packages/pair"):
        found = ssm.get_parameter(Name=f"/nightingale/{name}", WithDecryption=True)["Parameter"]
        assert found["Type"] == "SecureString"
        secret = found["Value"].strip().splitlines()[-2 if name.endswith("host_key") else 0]
        assert len(secret) > 20
        for text in (state, made.stdout, made.stderr):
            assert secret not in text
        assert secret.encode() not in kept
    pinned = ssm.get_parameter(Name="/nightingale/gateway/host_key.pub")["Parameter"]["Value"]
    assert pinned == told["gateway"]["host_key"]


def _check_packages(person: Person) -> None:
    """The package index stands where machines are told it is, and its route is nobody else's."""
    ec2, named = person.client("ec2"), [{"Name": "tag:Name", "Values": ["nightingale-packages"]}]
    machine = ec2.describe_instances(Filters=named)["Reservations"][0]["Instances"][0]
    assert machine["PrivateIpAddress"] == "10.64.192.10"
    assert "PublicIpAddress" not in machine
    ways_out = [
        (one["Associations"][0]["SubnetId"], route["NatGatewayId"])
        for one in ec2.describe_route_tables()["RouteTables"]
        for route in one["Routes"]
        if "NatGatewayId" in route
    ]
    assert [subnet for subnet, _ in ways_out] == [machine["SubnetId"]]


def _check_audit(person: Person, bucket: str) -> None:
    lock = person.client("s3").get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    retention = lock["Rule"]["DefaultRetention"]
    assert (retention["Mode"], retention["Days"]) == ("GOVERNANCE", 365)


def _check_end(person: Person, told: dict[str, Any]) -> None:
    s3, state = person.client("s3"), told["buckets"]["state"]
    there = {"Bucket": state, "Key": "instances/i-0123456789/terraform.tfstate"}
    s3.put_object(**there, Body=b'{"resources": [{"type": "aws_instance"}]}')
    refused = person.types("destroy", "aws", "--yes")
    assert refused.returncode == 1
    assert "there are 1 instances, with people's homes: i-0123456789" in refused.stderr
    s3.put_object(**there, Body=b'{"resources": []}')  # deleted: its state is empty

    asked = person.types("destroy", "aws")
    assert asked.returncode == 1
    assert "There is no one to ask" in asked.stderr
    assert person.client("dynamodb").list_tables()["TableNames"] == ["nightingale"]

    ended = person.types("destroy", "aws", "--yes")
    assert ended.returncode == 0, ended.stderr[-6000:]
    left = {one["Name"] for one in s3.list_buckets()["Buckets"]}
    assert left == {told["buckets"]["audit"], json.loads(ended.stdout)["state_bucket"]}
    assert person.client("dynamodb").list_tables()["TableNames"] == []
    kept = person.client("ssm").get_parameters_by_path(Path="/nightingale", Recursive=True)["Parameters"]
    assert kept == []
