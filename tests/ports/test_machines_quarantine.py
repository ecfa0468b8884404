"""Quarantine and release as the Machines port promises them, on every adapter and its double."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import boto3  # type: ignore[import-untyped] # no types
import psutil
import pytest
from botocore.exceptions import (  # type: ignore[import-untyped] # no types
    ClientError,
    ReadTimeoutError,
)
from moto import mock_aws

from doubles.clocks import FixedClock
from doubles.machines import FakeMachines
from infra.local_place import INSTANCE_ID, LocalPlace, needs_sandbox, open_local_place
from nightingale.adapters.ec2_machines import Ec2Machines
from nightingale.adapters.ec2_quarantine import own_group
from nightingale.adapters.ec2_seen import GENERATION_TAG, INSTANCE_TAG
from nightingale.adapters.local_machines import LocalMachines
from nightingale.ports.machines import Machines, MachineUnavailableError
from nightingale.ports.starts import Starts


class Place(Protocol):
    """A place with one machine that can be looked at past the port."""

    machines: Machines
    instance_id: str

    def run(self) -> None: ...

    def is_cut(self) -> bool: ...


@dataclass
class Double:
    instance_id: str = "i-k3m9x0q2ab"

    def __post_init__(self) -> None:
        self.double = FakeMachines(FixedClock())
        self.machines: Machines = self.double

    def run(self) -> None:
        self.double.bring_up(self.instance_id)

    def is_cut(self) -> bool:
        return self.instance_id in self.double.quarantined


class NoLogs:
    """No machine has sent any."""

    def find(self, instance_id: str) -> None:
        del instance_id

    look = find


class NoStarts:
    """Starts of machines that told nothing yet."""

    def find(self, instance_id: str) -> None:  # noqa: ARG002 - the port's signature
        return None

    def admit(self, *_: Any) -> None:
        raise AssertionError


@dataclass
class Ec2:
    """One machine in an account of moto's, in the group that infra/instance/aws makes for it."""

    client: Any
    instance_id: str = "i-k3m9x0q2ab"

    def __post_init__(self) -> None:
        self.vpc = self.client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.client.create_subnet(VpcId=self.vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        self.own = self._group(own_group(self.instance_id))
        self.quarantine = self._group("nightingale-quarantine")
        starts: Starts = NoStarts()
        self.machines: Machines = Ec2Machines(
            starts, NoLogs(), vpc_id=self.vpc, quarantine_group=self.quarantine, client=self.client
        )
        self.calls: list[str] = []
        self.client.meta.events.register("before-call.ec2", lambda model, **_: self.calls.append(model.name))

    def _group(self, name: str) -> str:
        return str(self.client.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"])

    def run(self) -> None:
        tags = [{"Key": INSTANCE_TAG, "Value": self.instance_id}, {"Key": GENERATION_TAG, "Value": "1"}]
        self.client.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnet,
            SecurityGroupIds=[self.own],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )

    def is_cut(self) -> bool:
        groups = {group["GroupId"] for group in self.machine()["SecurityGroups"]}
        assert groups in ({self.own}, {self.quarantine})
        return groups == {self.quarantine}

    def machine(self) -> Any:
        named = [
            {"Name": "vpc-id", "Values": [self.vpc]},
            {"Name": f"tag:{INSTANCE_TAG}", "Values": [self.instance_id]},
        ]
        return self.client.describe_instances(Filters=named)["Reservations"][0]["Instances"][0]


@dataclass
class Local:
    """A sandbox on this machine."""

    place: LocalPlace
    instance_id: str = INSTANCE_ID

    def __post_init__(self) -> None:
        self.machines: Machines = LocalMachines(self.place.data_dir)

    def run(self) -> None:
        self.place.started()

    def is_cut(self) -> bool:
        is_shut = not (self.place.instance_dir / "run" / "jupyter.sock").exists()
        is_frozen = self.place.server().status() in {psutil.STATUS_STOPPED, psutil.STATUS_DISK_SLEEP}
        assert is_shut is is_frozen
        return is_shut


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # it reads megabytes of them
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        with mock_aws():
            yield


@pytest.fixture
def ec2(aws: None) -> Ec2:  # noqa: ARG001 - it stands around this
    return Ec2(boto3.client("ec2", region_name="eu-central-1"))


@pytest.fixture(params=["double", "ec2", pytest.param("local", marks=[pytest.mark.slow, needs_sandbox])])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "double":
        yield Double()
    elif request.param == "ec2":
        yield request.getfixturevalue("ec2")
    else:
        with open_local_place() as made:
            yield Local(made)


def test_a_machine_is_cut_off_and_let_go_each_as_often_as_it_is_told(place: Place) -> None:
    place.run()
    for _ in range(2):
        place.machines.quarantine(place.instance_id)
        assert place.is_cut()
    for _ in range(2):
        place.machines.release(place.instance_id)
        assert not place.is_cut()
    place.machines.quarantine(place.instance_id)
    assert place.is_cut()
    place.machines.release(place.instance_id)


def test_where_nothing_runs_both_are_done_at_once(place: Place) -> None:
    place.machines.release(place.instance_id)
    place.machines.quarantine(place.instance_id)
    place.machines.release(place.instance_id)
    place.run()
    assert not place.is_cut()


# --- EC2 --------------------------------------------------------------------------------------------------------------


def test_what_is_so_already_is_not_asked_for_again(ec2: Ec2) -> None:
    ec2.run()
    for _ in range(3):
        ec2.machines.quarantine(ec2.instance_id)
    for _ in range(3):
        ec2.machines.release(ec2.instance_id)
    assert ec2.calls.count("ModifyInstanceAttribute") == 2


def test_a_stopped_machine_is_cut_off_too_and_one_that_ended_is_left(ec2: Ec2) -> None:
    ec2.run()
    ec2.client.stop_instances(InstanceIds=[ec2.machine()["InstanceId"]])
    ec2.machines.quarantine(ec2.instance_id)
    assert ec2.is_cut()
    ec2.client.terminate_instances(InstanceIds=[ec2.machine()["InstanceId"]])
    ec2.calls.clear()
    ec2.machines.release(ec2.instance_id)
    assert "ModifyInstanceAttribute" not in ec2.calls


def test_an_answer_that_was_lost_does_no_harm(ec2: Ec2) -> None:
    """AWS did as it was told, and nobody heard of it."""
    ec2.run()
    lost = iter([True, False])

    def lose(**_: Any) -> None:
        if next(lost, False):
            raise ReadTimeoutError(endpoint_url="ec2")

    ec2.client.meta.events.register("after-call.ec2.ModifyInstanceAttribute", lose)
    with pytest.raises(MachineUnavailableError, match="could not be cut off"):
        ec2.machines.quarantine(ec2.instance_id)
    assert ec2.is_cut()
    ec2.machines.quarantine(ec2.instance_id)
    ec2.machines.release(ec2.instance_id)
    assert not ec2.is_cut()


@pytest.mark.parametrize(
    ("code", "words"), [("RequestLimitExceeded", "tried again"), ("UnauthorizedOperation", "role")]
)
def test_what_aws_refuses_is_said(ec2: Ec2, code: str, words: str) -> None:
    ec2.run()

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "ModifyInstanceAttribute")

    ec2.client.meta.events.register("before-call.ec2.ModifyInstanceAttribute", refuse)
    with pytest.raises(MachineUnavailableError, match=words):
        ec2.machines.quarantine(ec2.instance_id)
    assert not ec2.is_cut()


def test_without_a_group_or_without_its_own_it_says_so(ec2: Ec2) -> None:
    ec2.run()
    starts: Starts = NoStarts()
    unset = Ec2Machines(starts, NoLogs(), vpc_id=ec2.vpc, client=ec2.client)
    with pytest.raises(MachineUnavailableError, match="NIGHTINGALE_QUARANTINE_GROUP"):
        unset.quarantine(ec2.instance_id)
    ec2.machines.quarantine(ec2.instance_id)
    ec2.client.delete_security_group(GroupId=ec2.own)
    with pytest.raises(MachineUnavailableError, match=f"{own_group(ec2.instance_id)} is not there"):
        ec2.machines.release(ec2.instance_id)
