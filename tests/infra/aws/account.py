"""An AWS account for tests: moto's server with a private network, and the module run on it by the real provider."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import httpx

MODULE = Path(__file__).parents[3] / "infra" / "instance" / "aws"
REGION = "eu-central-1"
ZONE = "eu-central-1a"
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "CHECKPOINT_DISABLE": "1",
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "0",
}

# In AWS the state lies in S3; which place of S3 is the business of whoever runs the module.
BACKEND = 'terraform {\n  backend "local" {}\n}\n'


def terraform(folder: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run Terraform in `folder` and return how it ended."""
    environment = {**os.environ, **ENVIRONMENT}
    # Where the provider comes from a registry, it is fetched once for all.
    environment.setdefault("TF_PLUGIN_CACHE_DIR", str(folder.parent))
    command = ["terraform", f"-chdir={folder}", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False
    )


class Account:
    """What there is in one account, seen past Terraform."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.ec2: Any = boto3.client("ec2", region_name=REGION, endpoint_url=endpoint, **KEYS)
        iam: Any = boto3.client("iam", region_name=REGION, endpoint_url=endpoint, **KEYS)
        iam.create_instance_profile(InstanceProfileName="nightingale-instance")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.1.0/24", AvailabilityZone=ZONE)
        self.subnet = subnet["Subnet"]["SubnetId"]
        # Somebody's mistake, which must not give a machine a public address.
        self.ec2.modify_subnet_attribute(SubnetId=self.subnet, MapPublicIpOnLaunch={"Value": True})
        self.gateway = self._group("gateway")
        self.watcher = self._group("watcher")
        seed = self.ec2.create_volume(AvailabilityZone=ZONE, Size=3)["VolumeId"]
        self.dataset = self.ec2.create_snapshot(VolumeId=seed)["SnapshotId"]
        self.ec2.delete_volume(VolumeId=seed)
        self.image = self.ec2.register_image(Name="nightingale", RootDeviceName="/dev/xvda")["ImageId"]
        self.before = self.everything()

    def _group(self, name: str) -> str:
        made = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)
        return str(made["GroupId"])

    def variables(self, instance_id: str) -> dict[str, Any]:
        """Return what the module is told of a first launch."""
        return {
            "instance_id": instance_id,
            "name": "brain",
            "owner": "ada",
            "project": "demo",
            "machine_type": "m7i.large",
            "image": self.image,
            "desired_state": "running",
            "generation": 1,
            "spot": False,
            "root_gib": 8,  # EC2 would take the image's own size, moto wants to be told
            "home_gib": 10,
            "home_snapshot_id": "",
            "datasets": [],
            "tags": {"cost-center": "neuro"},
            "kms_key": f"arn:aws:kms:{REGION}:123456789012:key/5ae8a9e6-a97e-4b2e-8c0c-0b1a0d1b0c0d",
            "network": {
                "region": REGION,
                "vpc_id": self.vpc,
                "subnet_id": self.subnet,
                "availability_zone": ZONE,
                "gateway_security_group_id": self.gateway,
                "api_security_group_id": self.watcher,
                "api_cidrs": ["10.0.9.0/24"],
                "api_url": "https://api.example.org",
                "instance_profile": "nightingale-instance",
                "max_retries": 2,
                "endpoint": dict.fromkeys(("ec2", "iam", "kms", "s3", "sts"), self.endpoint),
                "owner_uid": 10007,
                "container": None,
            },
        }

    def machines(self, *filters: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the machines that are not terminated."""
        found = [m for r in self.ec2.describe_instances(Filters=filters)["Reservations"] for m in r["Instances"]]
        return [machine for machine in found if machine["State"]["Name"] != "terminated"]

    def calls_of_terraform(self) -> set[str]:
        """Return what Terraform asked of this account so far, as an IAM policy calls it: `ec2:RunInstances`."""
        seen = httpx.get(f"{self.endpoint}/calls").json()
        return {call.removeprefix("terraform ") for call in seen if call.startswith("terraform ")}

    def everything(self) -> dict[str, list[str]]:
        """Return the ids of all that could be left behind, by kind."""
        ec2 = self.ec2
        return {
            "machines": sorted(m["InstanceId"] for m in self.machines()),
            "volumes": sorted(v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]),
            "groups": sorted(g["GroupId"] for g in ec2.describe_security_groups()["SecurityGroups"]),
            "interfaces": sorted(
                i["NetworkInterfaceId"] for i in ec2.describe_network_interfaces()["NetworkInterfaces"]
            ),
            "addresses": sorted(a["PublicIp"] for a in ec2.describe_addresses()["Addresses"]),
            "snapshots": sorted(s["SnapshotId"] for s in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]),
            "spot requests": sorted(
                request["SpotInstanceRequestId"]
                for request in ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
                if request["State"] in {"open", "active"}
            ),
            "templates": sorted(t["LaunchTemplateId"] for t in ec2.describe_launch_templates()["LaunchTemplates"]),
        }


class Instance:
    """One instance: the module with a state of its own, as builds run it, and what there is of it in the account."""

    def __init__(self, prepared: Path, folder: Path, account: Account, instance_id: str) -> None:
        shutil.copytree(prepared, folder, symlinks=True)
        self.account = account
        self._folder = folder
        self._variables = account.variables(instance_id)
        self._mine = {"Name": "tag:nightingale:instance", "Values": [instance_id]}

    def apply(self, **changes: Any) -> dict[str, Any]:
        """Apply with these variables changed from now on; return the outputs, without those that are null."""
        self._variables |= changes
        (self._folder / "terraform.tfvars.json").write_text(json.dumps(self._variables), encoding="utf-8")
        ended = terraform(self._folder, "apply", "-auto-approve", "-json")
        said = [json.loads(line) for line in ended.stdout.splitlines()]
        wrong = [line["@message"] for line in said if line.get("@level") == "error"]
        assert ended.returncode == 0, "\n".join([*wrong, ended.stderr])
        outputs = [line["outputs"] for line in said if line["type"] == "outputs"][-1]  # the plan's come first
        return {name: output["value"] for name, output in outputs.items() if "value" in output}

    def changes_left(self) -> str:
        """Plan again and return what would be changed: empty when nothing would be."""
        ended = terraform(self._folder, "plan", "-detailed-exitcode", "-no-color")
        return "" if ended.returncode == 0 else ended.stdout + ended.stderr

    def machines(self) -> list[dict[str, Any]]:
        """Return its machines that are not terminated."""
        return self.account.machines(self._mine)

    def machine(self) -> dict[str, Any]:
        """Return its only machine."""
        (found,) = self.machines()
        return found

    def volumes(self, part: str) -> list[dict[str, Any]]:
        """Return its volumes that the module tagged as this part."""
        filters = [self._mine, {"Name": "tag:nightingale:part", "Values": [part]}]
        return list(self.account.ec2.describe_volumes(Filters=filters)["Volumes"])

    def home(self) -> dict[str, Any]:
        """Return its only home."""
        (found,) = self.volumes("home")
        return found

    def home_is_at(self) -> str:
        """Return the machine that its home is attached to, as the home's device."""
        (attachment,) = self.home()["Attachments"]
        assert attachment["Device"] == "/dev/sdf"
        return str(attachment["InstanceId"])
