"""What builds may do is what the provider asks of AWS for an instance's whole life, and nothing more.

The calls are recorded: infra/instance/aws is applied with the real provider on an account of moto's.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import pytest

from doubles import aws_recorder
from infra.control_plane.iam import (
    FACTS,
    FURTHER,
    LISTS,
    actions_of,
    allowing,
    each,
    granted,
    is_allowed,
    statements,
)
from infra.control_plane.terraform_runs import LOCAL_STATE, REGION, ROOT, initialise, terraform

INSTANCE = ROOT / "infra" / "instance" / "aws"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/5ae8a9e6-a97e-4b2e-8c0c-0b1a0d1b0c0d"

NOT_BY_THE_PROVIDER = {
    "codebuild:BatchGetBuilds": "nightingale_build asks whether the build that holds an instance's claim has ended",
    "ec2:CreateTags": "EC2 asks for it when something is made with tags",
    "iam:PassRole": "EC2 asks for it when a machine gets its profile",
    "kms:CreateGrant": "EC2 opens disks for a machine",
    "kms:Decrypt": "same, and S3 opens states and specs",
    "kms:DescribeKey": "same",
    "kms:GenerateDataKey": "S3 makes a key for each object",
    "kms:GenerateDataKeyWithoutPlaintext": "EC2 makes a key for each disk",
    "kms:ReEncryptFrom": "EC2 makes a disk of ours from a snapshot under another key",
    "kms:ReEncryptTo": "same",
    "logs:CreateLogStream": "CodeBuild writes the build's log",
    "logs:PutLogEvents": "same",
    "s3:DeleteObject": "Terraform lets go of its state's lock",
    "s3:GetObject": "state, spec and package",
    "s3:GetObjectVersion": "CodeBuild fetches its source by version",
    "s3:ListBucket": "what is not there must be told from what is refused",
    "s3:PutObject": "state and result",
    # Not in the life that is recorded, which has no spot, no start of a stopped machine and datasets on disks alone.
    "ec2:CancelSpotInstanceRequests": "the request behind a spot machine, when that goes",
    "ec2:DeleteTags": "a tag that somebody added by hand is taken off",
    "ec2:DescribeInstanceCreditSpecifications": "the provider reads it of machine types of the t families",
    "ec2:DescribeVolumesModifications": "the provider waits for a home that grows",
    "ec2:ModifyInstanceMetadataOptions": "what somebody changed by hand is put right",
    "ec2:DescribePrefixLists": "the module looks up S3's addresses for datasets on S3",
    "ec2:DescribeRouteTables": "the module looks up the network of datasets on EFS",
    "ec2:DescribeVpcAttribute": "same",
    "ec2:DescribeSpotInstanceRequests": "the provider reads how a spot machine was asked for",
    "ec2:ModifyVolume": "a home that grows",
    "ec2:RevokeSecurityGroupIngress": "a rule that somebody added by hand is taken out",
    "ec2:StartInstances": "a stopped machine starts",
}
"""What stands in builds.json although the recorded life of an instance does not show it, each for its reason."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The calls of an instance's life: launched with a dataset, stopped and resized, deleted."""
    if not (INSTANCE / "main.tf").exists():
        pytest.skip("infra/instance/aws is not in this checkout")
    folder = tmp_path_factory.mktemp("instance")
    module = folder / "aws"
    shutil.copytree(INSTANCE, module, ignore=shutil.ignore_patterns(".terraform*", "tests"))
    (module / "here_override.tf").write_text(LOCAL_STATE, encoding="utf-8")
    initialise(module, "-reconfigure")
    calls = folder / "calls"
    with aws_recorder.running(calls) as endpoint:
        variables = _account(endpoint)
        calls.write_text("", encoding="utf-8")  # what was made by hand does not count
        for change in ({}, {"desired_state": "stopped", "machine_type": "m7i.xlarge"}, {"desired_state": "absent"}):
            variables |= change
            (module / "terraform.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
            ended = terraform(
                module, "apply", "-auto-approve", "-no-color", environment=aws_recorder.environment_for(endpoint)
            )
            assert ended.returncode == 0, ended.stderr
        lines = calls.read_text(encoding="utf-8").split("\n")
    return {f"{service}:{operation}" for service, _, operation in (line.partition(" ") for line in lines) if service}


def _account(endpoint: str) -> dict[str, Any]:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    ec2: Any = boto3.client("ec2", region_name=REGION, endpoint_url=endpoint, **keys)
    iam: Any = boto3.client("iam", region_name=REGION, endpoint_url=endpoint, **keys)
    iam.create_instance_profile(InstanceProfileName="nightingale-instance")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zone = f"{REGION}a"
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="gateway", Description="gateway", VpcId=vpc)["GroupId"]
    seed = ec2.create_volume(AvailabilityZone=zone, Size=3)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=seed)["SnapshotId"]
    return {
        "instance_id": "i-0123456789",
        "name": "brain",
        "owner": "ada",
        "project": "demo",
        "machine_type": "m7i.large",
        "image": ec2.register_image(Name="nightingale", RootDeviceName="/dev/xvda")["ImageId"],
        "desired_state": "running",
        "generation": 1,
        "root_gib": 8,
        "home_gib": 10,
        "datasets": [{"dataset": "ct", "version": "1", "tier": 1, "source": f"ebs:{snapshot}"}],
        "kms_key": KEY,
        "network": {
            "region": REGION,
            "vpc_id": vpc,
            "subnet_id": subnet,
            "availability_zone": zone,
            "gateway_security_group_id": group,
            "api_cidrs": ["10.0.9.0/24"],
            "api_url": "https://api.example.org",
            "instance_profile": "nightingale-instance",
            "max_retries": 2,
            "endpoint": dict.fromkeys(("ec2", "iam", "kms", "s3", "sts"), endpoint),
        },
    }


@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.terraform
@pytest.mark.timeout(1200)
def test_builds_may_do_what_the_provider_asks_and_nothing_more(recorded: set[str]) -> None:
    needed = {action for call in recorded for action in actions_of(call)}
    assert {"ec2:RunInstances", "ec2:CreateVolume", "ec2:TerminateInstances"} <= needed
    refused = sorted(action for action in needed if not list(allowing("builds", action)))
    assert refused == []
    assert sorted(granted("builds") - needed - set(NOT_BY_THE_PROVIDER)) == []


def test_each_exception_is_one() -> None:
    assert set(NOT_BY_THE_PROVIDER) <= granted("builds")


EC2 = "arn:aws:ec2:eu-central-1:123456789012"
TAGGED_NEW = {
    "aws:RequestTag/nightingale:instance": "i-0123456789",
    "aws:RequestTag/nightingale:platform": "nightingale",
}
TAGGED = {
    "aws:ResourceTag/nightingale:instance": "i-0123456789",
    "aws:ResourceTag/nightingale:platform": "nightingale",
}


def may(action: str, resource: str, context: dict[str, str] | None = None) -> bool:
    """Whether a build may: by its policy, and within its boundary."""
    return all(is_allowed(one, action, resource, context) for one in ("builds", "builds-boundary"))


def test_builds_make_machines_with_our_tag_in_our_subnets_only() -> None:
    assert may("ec2:RunInstances", f"{EC2}:instance/*", TAGGED_NEW)
    assert not may("ec2:RunInstances", f"{EC2}:instance/*")
    assert may("ec2:RunInstances", f"{EC2}:subnet/subnet-1")
    assert not may("ec2:RunInstances", f"{EC2}:subnet/subnet-of-others")
    assert may("ec2:RunInstances", f"{EC2}:security-group/sg-1", TAGGED)
    assert not may("ec2:RunInstances", f"{EC2}:security-group/sg-of-others")


def test_builds_work_in_a_further_region_as_in_the_first_and_nowhere_else() -> None:
    there, elsewhere = (f"arn:aws:ec2:{one}:123456789012" for one in (FURTHER, "us-east-1"))
    for action, what, tags in (
        ("ec2:RunInstances", "instance/*", TAGGED_NEW),
        ("ec2:CreateVolume", "volume/*", TAGGED_NEW),
        ("ec2:TerminateInstances", "instance/i-1", TAGGED),
    ):
        assert may(action, f"{there}:{what}", tags)
        assert not may(action, f"{elsewhere}:{what}", tags)
    assert may("ec2:RunInstances", f"{there}:subnet/subnet-1")
    assert may("ec2:CreateSecurityGroup", f"{there}:vpc/vpc-1")
    assert not may("ec2:CreateSecurityGroup", f"{there}:vpc/vpc-of-others")
    key = LISTS["homes_keys"][1]
    assert may("kms:Decrypt", key, {"kms:ViaService": f"ec2.{FURTHER}.amazonaws.com"})
    # Whatever is attached to the role one day.
    assert is_allowed("builds-boundary", "ec2:DescribeInstances", "*", {"aws:RequestedRegion": FURTHER})
    assert not is_allowed("builds-boundary", "ec2:DescribeInstances", "*", {"aws:RequestedRegion": "us-east-1"})


def test_builds_change_and_end_only_what_carries_our_tag() -> None:
    for action in ("ec2:TerminateInstances", "ec2:StopInstances", "ec2:ModifyInstanceAttribute"):
        assert may(action, f"{EC2}:instance/i-1", TAGGED)
        assert not may(action, f"{EC2}:instance/i-1")
    assert may("ec2:DeleteVolume", f"{EC2}:volume/vol-1", TAGGED)
    assert not may("ec2:DeleteVolume", f"{EC2}:volume/vol-1")


def of_another(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags as another platform of the same account has them."""
    return {key: "other" if key.endswith("platform") else value for key, value in tags.items()}


def test_builds_of_one_platform_touch_nothing_of_another_in_the_same_account() -> None:
    for policy in ("builds", "builds-boundary"):
        assert not is_allowed(policy, "ec2:RunInstances", f"{EC2}:instance/*", of_another(TAGGED_NEW))
        for action in ("ec2:TerminateInstances", "ec2:StopInstances", "ec2:ModifyInstanceAttribute"):
            assert not is_allowed(policy, action, f"{EC2}:instance/i-1", of_another(TAGGED))
        assert not is_allowed(policy, "ec2:DeleteVolume", f"{EC2}:volume/vol-1", of_another(TAGGED))
    for action in ("ec2:AttachVolume", "ec2:StartInstances", "ec2:CreateTags", "ec2:DeleteTags"):
        assert not may(action, f"{EC2}:instance/i-1", of_another(TAGGED))
    assert not may("ec2:CreateVolume", f"{EC2}:volume/vol-1", of_another(TAGGED_NEW))
    assert not may("ec2:RunInstances", f"{EC2}:security-group/sg-1", of_another(TAGGED))


def test_the_boundary_holds_up_nothing_that_builds_may() -> None:
    """Else what one file gives the other takes, and it shows on the first day in an account."""
    for one in statements("builds"):
        context = {**TAGGED_NEW, **TAGGED}
        for operator, keys in one.get("Condition", {}).items():
            context |= {key: each(wanted)[0] for key, wanted in keys.items() if operator != "StringLike"}
        for action in each(one["Action"]):
            for resource in each(one["Resource"]):
                assert is_allowed("builds", action, resource, context), (one["Sid"], action)
                assert is_allowed("builds-boundary", action, resource, context), (one["Sid"], action)


def test_the_modules_page_names_what_builds_may_do_and_nothing_else() -> None:
    page = (INSTANCE / "README.md").read_text(encoding="utf-8").split("## What whoever applies it must be allowed")[1]
    named = set(re.findall(r"`((?:ec2|kms|iam):\w+)`", page.split("\n## ")[0]))
    assert named == {action for action in granted("builds") if action.partition(":")[0] in {"ec2", "kms", "iam"}}


def test_builds_tag_what_they_make_and_nothing_that_is_there() -> None:
    made = {**TAGGED_NEW, "ec2:CreateAction": "RunInstances"}
    assert may("ec2:CreateTags", f"{EC2}:instance/i-1", made)
    assert not may("ec2:CreateTags", f"{EC2}:instance/i-of-others", TAGGED_NEW)


def test_builds_pass_the_instances_role_to_machines_alone() -> None:
    to_ec2, to_lambda = ({"iam:PassedToService": f"{one}.amazonaws.com"} for one in ("ec2", "lambda"))
    assert may("iam:PassRole", FACTS["instance_role"], to_ec2)
    assert not may("iam:PassRole", FACTS["instance_role"], to_lambda)
    assert not may("iam:PassRole", "arn:aws:iam::123456789012:role/administrator", to_ec2)


@pytest.mark.parametrize(
    "action",
    [
        "ec2:CreateRoute",
        "ec2:ReplaceRoute",
        "ec2:AssociateRouteTable",
        "ec2:AssociateAddress",
        "ec2:CreateInternetGateway",
        "ec2:CreateNatGateway",
        "ec2:CreateVpcPeeringConnection",
        "ec2:ModifySnapshotAttribute",
        "iam:CreateRole",
        "s3:PutBucketPolicy",
    ],
)
def test_whatever_is_added_to_builds_they_open_no_way_out(action: str) -> None:
    assert not is_allowed("builds-boundary", action, "*", TAGGED | TAGGED_NEW)


def test_builds_read_and_write_states_and_results_but_no_audit_record() -> None:
    assert may("s3:PutObject", FACTS["state_bucket"] + "/instances/i-1/terraform.tfstate")
    assert may("s3:PutObject", FACTS["builds_bucket"] + "/builds/b-1/result.json")
    assert not may("s3:PutObject", FACTS["builds_bucket"] + "/source/platform-1.zip")
    assert not may("s3:GetObject", FACTS["audit_bucket"] + "/audit/x/head")
