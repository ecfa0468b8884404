"""Lives of instances in AWS: the real provider makes them in moto's EC2, and what is there is looked at past it.

Nearly all of it is waiting: the provider looks at EC2 every ten seconds only. So they live side by side, in one test.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.aws.account import MODULE, REGION, Account, Instance
from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.ec2_quarantine import Ec2Quarantine
from nightingale.adapters.ec2_seen import INSTANCE_TAG

OTHER_KEY = f"arn:aws:kms:{REGION}:123456789012:key/00000000-a97e-4b2e-8c0c-0b1a0d1b0c0d"

# All that a machine is told, so that nobody adds a secret unseen.
TOLD = {
    *(
        "format",
        "place",
        "region",
        "instance_id",
        "name",
        "owner",
        "owner_uid",
        "project",
        "tier",
        "image",
        "container",
    ),
    *("api_url", "port", "is_spot", "home", "datasets"),
}


def it_is_launched_stopped_and_started(instance: Instance) -> None:
    account = instance.account
    launched = instance.apply(
        datasets=[
            {"dataset": "ct", "version": "1", "tier": 2, "source": f"ebs:{account.dataset}"},
            {"dataset": "mr", "version": "1", "tier": 0, "source": "s3:open-mr/v1"},
            {"dataset": "eeg", "version": "1", "tier": 0, "source": "efs:fs-0123456789abcdef0:/eeg"},
        ]
    )
    machine = instance.machine()
    machine_id, home_id = machine["InstanceId"], instance.home()["VolumeId"]
    assert launched["address"] == f"tcp:{machine['PrivateIpAddress']}:8888"
    assert launched["resource_ids"] == {"home": home_id, "instance": machine_id, "identity": None}
    assert machine["State"]["Name"] == "running"
    assert instance.home_is_at() == machine_id
    (dataset,) = instance.volumes("dataset")
    assert dataset["SnapshotId"] == account.dataset
    assert [(at["InstanceId"], at["Device"]) for at in dataset["Attachments"]] == [(machine_id, "/dev/sdg")]
    require_private_and_encrypted(account, machine)
    require_closed_but_for_what_is_needed(account, machine)
    told = told_to(account, machine_id)
    assert set(told) == TOLD
    assert told["home"]["device"].endswith(f"_{home_id.replace('-', '')}")
    assert instance.changes_left() == ""

    stopped = instance.apply(desired_state="stopped", generation=2)
    assert "address" not in stopped
    assert instance.machine()["State"]["Name"] == "stopped"
    assert instance.volumes("dataset") == []
    assert instance.home_is_at() == machine_id

    instance.apply(desired_state="running", generation=3, home_gib=20)
    assert instance.machine()["InstanceId"] == machine_id
    assert instance.machine()["State"]["Name"] == "running"
    assert (instance.home()["VolumeId"], instance.home()["Size"]) == (home_id, 20)
    assert len(instance.volumes("dataset")) == 1


def it_is_resized_while_it_is_stopped(instance: Instance) -> None:
    instance.apply(desired_state="stopped")
    stopped = instance.machine()
    assert stopped["State"]["Name"] == "stopped"
    instance.apply(machine_type="m7i.xlarge", generation=2)
    resized = instance.machine()
    assert resized["InstanceId"] == stopped["InstanceId"] == instance.home_is_at()
    assert resized["InstanceType"] == "m7i.xlarge"
    assert resized["State"]["Name"] == "stopped"
    assert instance.changes_left() == ""


def it_is_resized_while_it_runs_and_retried(instance: Instance) -> None:
    instance.apply()
    first, home_id = instance.machine(), instance.home()["VolumeId"]
    instance.apply(machine_type="g6.xlarge")
    resized = instance.machine()
    assert (resized["InstanceId"], resized["InstanceType"]) == (first["InstanceId"], "g6.xlarge")
    assert resized["State"]["Name"] == "running"
    # The home is the one that was there, whatever the next one would be made of.
    retried = instance.apply(generation=2, home_snapshot_id=instance.account.dataset, kms_key=OTHER_KEY)
    second = instance.machine()
    assert second["InstanceId"] != first["InstanceId"]
    assert retried["resource_ids"] == {"home": home_id, "instance": second["InstanceId"], "identity": None}
    assert instance.home_is_at() == second["InstanceId"]


def its_spot_machine_is_taken_back_and_stopped(instance: Instance) -> None:
    instance.apply(spot=True)
    machine, home_id = instance.machine(), instance.home()["VolumeId"]
    assert machine["InstanceLifecycle"] == "spot"
    assert instance.changes_left() == ""
    instance.account.ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])  # as AWS does
    instance.apply(generation=2)
    relaunched = instance.machine()
    assert relaunched["InstanceId"] != machine["InstanceId"]
    assert instance.home()["VolumeId"] == home_id
    assert instance.home_is_at() == relaunched["InstanceId"]
    instance.apply(desired_state="stopped", generation=3)
    assert instance.machines() == []
    assert instance.home()["VolumeId"] == home_id
    assert instance.home()["Attachments"] == []


def it_is_switched_to_spot(instance: Instance) -> None:
    instance.apply()
    on_demand, home_id = instance.machine(), instance.home()["VolumeId"]
    assert "InstanceLifecycle" not in on_demand
    instance.apply(spot=True)
    spot = instance.machine()
    assert spot["InstanceLifecycle"] == "spot"
    assert spot["InstanceId"] != on_demand["InstanceId"]
    assert instance.home()["VolumeId"] == home_id
    assert instance.home_is_at() == spot["InstanceId"]


def it_is_cut_off_and_stays_so_when_it_is_stopped(instance: Instance) -> None:
    """Quarantine swaps the group past Terraform: a build leaves it, and the release finds the machine's own again."""
    instance.apply()
    ec2, machine = instance.account.ec2, instance.machine()
    (own,) = (group["GroupId"] for group in machine["SecurityGroups"])
    instance_id = next(tag["Value"] for tag in machine["Tags"] if tag["Key"] == INSTANCE_TAG)
    group = ec2.create_security_group(GroupName="quarantine", Description="quarantine", VpcId=machine["VpcId"])[
        "GroupId"
    ]
    quarantine = Ec2Quarantine(LazyClient("ec2", region=REGION, client=ec2), machine["VpcId"], group)
    quarantine.put_in(instance_id)
    assert instance.changes_left() == ""
    instance.apply(desired_state="stopped", generation=2)
    assert [one["GroupId"] for one in instance.machine()["SecurityGroups"]] == [group]
    quarantine.let_out(instance_id)
    assert [one["GroupId"] for one in instance.machine()["SecurityGroups"]] == [own]
    ec2.delete_security_group(GroupId=group)


LIVES: tuple[Callable[[Instance], None], ...] = (
    it_is_launched_stopped_and_started,
    it_is_resized_while_it_is_stopped,
    it_is_resized_while_it_runs_and_retried,
    its_spot_machine_is_taken_back_and_stopped,
    it_is_switched_to_spot,
    it_is_cut_off_and_stays_so_when_it_is_stopped,
)


@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.terraform
@pytest.mark.timeout(1200)
def test_instances_keep_their_home_over_all_that_happens_to_them_and_absent_leaves_nothing(
    prepared: Path, account: Account, tmp_path: Path
):
    def live(number: int) -> None:
        instance = Instance(prepared, tmp_path / str(number), account, f"i-life00000{number}")
        LIVES[number](instance)
        gone = instance.apply(desired_state="absent")
        assert "home_id" not in gone

    with ThreadPoolExecutor(len(LIVES)) as lives:
        ended = {LIVES[number].__name__: lives.submit(live, number) for number in range(len(LIVES))}
    went_wrong = {name: future.exception() for name, future in ended.items() if future.exception() is not None}
    for wrong in went_wrong.values():
        raise AssertionError(str(went_wrong)) from wrong
    assert account.everything() == account.before
    assert account.calls_of_terraform() == documented_permissions()


def documented_permissions() -> set[str]:
    """What the table in the module's page says that whoever applies it must be allowed."""
    text = (MODULE / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(("| `ec2:", "| `iam:"))]
    return set(re.findall(r"`([a-z0-9]+:[A-Z][A-Za-z]+)`", "".join(rows)))


def told_to(account: Account, machine_id: str) -> dict[str, Any]:
    data = account.ec2.describe_instance_attribute(InstanceId=machine_id, Attribute="userData")["UserData"]["Value"]
    text = base64.b64decode(data)
    assert len(text) < 16 * 1024
    (file,) = yaml.safe_load(text)["write_files"]
    answer: dict[str, Any] = json.loads(base64.b64decode(file["content"]))
    return answer


def require_private_and_encrypted(account: Account, machine: dict[str, Any]) -> None:
    assert "PublicIpAddress" not in machine
    assert machine["MetadataOptions"]["HttpTokens"] == "required"
    assert machine["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert machine["IamInstanceProfile"]["Arn"].endswith("/nightingale-instance")
    volumes = [mapping["Ebs"]["VolumeId"] for mapping in machine["BlockDeviceMappings"]]
    assert len(volumes) == 3
    for volume in account.ec2.describe_volumes(VolumeIds=volumes)["Volumes"]:
        assert (volume["Encrypted"], volume["VolumeType"]) == (True, "gp3")


def require_closed_but_for_what_is_needed(account: Account, machine: dict[str, Any]) -> None:
    (group_id,) = [group["GroupId"] for group in machine["SecurityGroups"]]
    (group,) = account.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    (way_in,) = group["IpPermissions"]
    assert (way_in["IpProtocol"], way_in["FromPort"], way_in["ToPort"]) == ("tcp", 8888, 8888)
    assert sorted(pair["GroupId"] for pair in way_in["UserIdGroupPairs"]) == sorted([account.gateway, account.watcher])
    assert way_in["IpRanges"] == way_in["Ipv6Ranges"] == way_in["PrefixListIds"] == []
    ways_out = {
        (rule["FromPort"], where)
        for rule in group["IpPermissionsEgress"]
        for where in [r["CidrIp"] for r in rule["IpRanges"]] + [p["PrefixListId"][:3] for p in rule["PrefixListIds"]]
    }
    assert ways_out == {(443, "10.0.9.0/24"), (443, "pl-"), (2049, "10.0.0.0/16")}
