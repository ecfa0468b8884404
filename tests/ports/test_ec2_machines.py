"""The Machines port on EC2: what is seen of a machine, why it went, and who is ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import msgspec
import pytest
from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped] # no types
from botocore.exceptions import ClientError, ConnectTimeoutError  # type: ignore[import-untyped] # no types
from moto import mock_aws
from moto.ec2.responses.instances import InstanceResponse

from doubles.aws_server import refuses_protection_of_spot
from doubles.clocks import START
from doubles.starts import MemoryLogs, MemoryStarts
from nightingale.adapters.ec2_machines import Ec2Machines
from nightingale.adapters.ec2_seen import GENERATION_TAG, INSTANCE_TAG
from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.machines import Door, HomeReport
from nightingale.contract.vocabulary import ReasonCode
from nightingale.domain.machine import MachineStart
from nightingale.ports.machines import HomeSeen, Machines, MachineState, MachineUnavailableError

INSTANCE = "i-k3m9x0q2ab"
HASH = "ab" * 32
LAUNCHER = LauncherRecord(pid=7, start_time=1, boot_id="b", generation=1, started_at=START, sandbox="bubblewrap")
EXIT = ExitRecord(
    generation=1,
    code=ReasonCode.OUT_OF_MEMORY,
    words="too much",
    next_step="",
    started_at=START,
    ended_at=START,
    last_lines=("first", "second", "third"),
)


@dataclass
class Account:
    """An account of moto's with one network, and this platform's machines in it."""

    client: Any
    vpc: str
    subnet: str
    starts: MemoryStarts = field(default_factory=MemoryStarts)
    logs: MemoryLogs = field(default_factory=MemoryLogs)
    now: float = 100.0
    calls: list[str] = field(default_factory=list)

    def machines(self) -> Ec2Machines:
        return Ec2Machines(self.starts, self.logs, vpc_id=self.vpc, client=self.client, monotonic=lambda: self.now)

    def run(self, instance_id: str = INSTANCE, generation: int = 1, subnet: str | None = None, **more: Any) -> str:
        """Run a machine with the tags that infra/instance/aws gives it; return EC2's id."""
        tags = [{"Key": INSTANCE_TAG, "Value": instance_id}, {"Key": GENERATION_TAG, "Value": str(generation)}]
        made = self.client.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            SubnetId=subnet or self.subnet,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
            **more,
        )
        return str(made["Instances"][0]["InstanceId"])

    def start(self, machine_id: str, generation: int = 1, **changes: Any) -> None:
        """Let the machine have made the start of this generation."""
        made = MachineStart(
            instance_id=INSTANCE,
            generation=generation,
            machine_id=machine_id,
            address="tcp:10.0.1.23:8888",
            at=START,
            digest="d",
            instance_token_hash="1" * 64,
            shipper_token_hash="2" * 64,
            jupyter_token="3" * 64,
            door_certificate="certificate",
            door_key="key",
        )
        self.starts.kept[INSTANCE] = replace(made, **changes)

    def state(self, machine_id: str) -> str:
        found = self.client.describe_instances(InstanceIds=[machine_id])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])

    def count(self, model: Any, **_more: Any) -> None:
        self.calls.append(model.name)


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    """One moto for all: the networks of the tests keep their machines apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # it reads megabytes of them
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        modify = refuses_protection_of_spot(InstanceResponse.modify_instance_attribute)
        patch.setattr(InstanceResponse, "modify_instance_attribute", modify)
        with mock_aws():
            yield


@pytest.fixture
def account(aws: None) -> Account:  # noqa: ARG001 - it stands around this
    client = boto3.client("ec2", region_name="eu-central-1")
    vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = client.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    made = Account(client, vpc, subnet)
    client.meta.events.register("before-call.ec2", made.count)
    return made


@pytest.fixture
def machines(account: Account) -> Ec2Machines:
    return account.machines()


def test_it_is_the_port(account: Account) -> None:
    port: Machines = account.machines()
    assert port.sandbox().is_trusted


def test_what_was_never_started_is_absent(account: Account, machines: Ec2Machines) -> None:
    assert machines.look(INSTANCE, 1).state is MachineState.ABSENT
    account.calls.clear()
    assert machines.look("../../etc", 1).state is MachineState.ABSENT
    assert account.calls == []
    assert machines.find_all() == {}


def test_a_machine_is_up_once_its_launcher_has_reported(account: Account, machines: Ec2Machines) -> None:
    machine = account.run()
    assert machines.look(INSTANCE, 1).state is MachineState.ABSENT  # it boots
    account.start(machine)
    account.now += 1
    assert machines.look(INSTANCE, 1).state is MachineState.ABSENT
    account.start(machine, launcher=LAUNCHER)
    account.now += 1
    seen = machines.look(INSTANCE, 1)
    assert (seen.state, seen.launcher) == (MachineState.UP, LAUNCHER)
    assert machines.look(INSTANCE, 2).state is MachineState.ABSENT
    assert machines.find_all() == {INSTANCE: 1}


def test_a_server_that_ended_has_exited_and_ec2_is_not_asked(account: Account, machines: Ec2Machines) -> None:
    account.start("i-gone", launcher=LAUNCHER, exit=EXIT)
    account.calls.clear()
    seen = machines.look(INSTANCE, 1)
    assert (seen.state, seen.exit) == (MachineState.EXITED, EXIT)
    assert account.calls == []
    assert machines.read_log(INSTANCE, machines.log_tail_offset(INSTANCE, 2), 20) == (("second", "third"), 3)


@pytest.mark.parametrize("ending", ["stop_instances", "terminate_instances"])
def test_a_machine_that_someone_ended_is_gone_and_says_so(account: Account, machines: Ec2Machines, ending: str) -> None:
    machine = account.run()
    account.start(machine, launcher=LAUNCHER)
    getattr(account.client, ending)(InstanceIds=[machine])
    seen = machines.look(INSTANCE, 1)
    assert (seen.state, seen.code, seen.launcher) == (MachineState.GONE, ReasonCode.MACHINE_GONE, LAUNCHER)
    assert "through EC2" in seen.words


def test_a_machine_that_ends_before_its_start_is_gone_too(account: Account, machines: Ec2Machines) -> None:
    account.client.terminate_instances(InstanceIds=[account.run()])
    assert machines.look(INSTANCE, 1).state is MachineState.GONE


def test_of_a_retry_the_machine_before_it_says_nothing(account: Account, machines: Ec2Machines) -> None:
    account.client.terminate_instances(InstanceIds=[account.run(generation=1)])
    assert machines.look(INSTANCE, 2).state is MachineState.ABSENT
    account.run(generation=2)
    account.now += 3
    assert machines.look(INSTANCE, 2).state is MachineState.ABSENT


def test_a_machine_that_ec2_no_longer_knows_is_gone(account: Account, machines: Ec2Machines) -> None:
    account.start("i-0123456789abcdef0", launcher=LAUNCHER)
    seen = machines.look(INSTANCE, 1)
    assert (seen.state, seen.code) == (MachineState.GONE, ReasonCode.MACHINE_GONE)
    assert "knows nothing" in seen.words


def answer_with(text: str) -> Callable[..., Any]:
    """Return a hook that answers any request with this document."""

    class Body:
        def stream(self, **_more: Any) -> Iterator[bytes]:
            yield text.encode()

    def hook(request: Any, **_more: Any) -> Any:
        return AWSResponse(request.url, 200, {"content-type": "text/xml"}, Body())

    return hook


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        ("Server.SpotInstanceTermination", ReasonCode.INTERRUPTED, ""),
        ("Server.SpotInstanceShutdown", ReasonCode.INTERRUPTED, ""),
        ("Server.InsufficientInstanceCapacity", ReasonCode.MACHINE_GONE, "no machine of this type"),
        ("Client.InternalError", ReasonCode.MACHINE_GONE, "KMS"),
        ("Client.InstanceInitiatedShutdown", ReasonCode.MACHINE_GONE, "from inside"),
        ("Server.NeverHeardOf", ReasonCode.MACHINE_GONE, "does not say why"),
    ],
)
def test_ec2s_reason_becomes_ours(account: Account, reason: str, code: ReasonCode, words: str) -> None:
    document = f"""<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>
<instancesSet><item><instanceId>i-0123456789abcdef0</instanceId><instanceState><name>terminated</name></instanceState>
<launchTime>2026-11-02T09:00:00.000Z</launchTime><stateReason><code>{reason}</code></stateReason>
<tagSet><item><key>{INSTANCE_TAG}</key><value>{INSTANCE}</value></item></tagSet></item></instancesSet>
</item></reservationSet></DescribeInstancesResponse>"""
    account.start("i-0123456789abcdef0", launcher=LAUNCHER)
    account.client.meta.events.register_first("before-send.ec2.DescribeInstances", answer_with(document))
    seen = account.machines().look(INSTANCE, 1)
    assert (seen.state, seen.code) == (MachineState.GONE, code)
    assert words in seen.words
    assert bool(seen.words) == bool(words)


def test_an_interruption_that_was_told_wins_over_how_the_server_ended(account: Account, machines: Ec2Machines) -> None:
    machine = account.run()
    account.start(machine, launcher=LAUNCHER, interrupted_at=START)
    assert machines.look(INSTANCE, 1).state is MachineState.UP
    account.start(machine, launcher=LAUNCHER, interrupted_at=START, exit=msgspec.structs.replace(EXIT, is_asked=True))
    account.now += 1
    seen = machines.look(INSTANCE, 1)
    assert (seen.state, seen.code) == (MachineState.GONE, ReasonCode.INTERRUPTED)


# --- how often EC2 is asked -------------------------------------------------------------------------------------------


def test_many_machines_are_described_with_few_questions(account: Account, machines: Ec2Machines) -> None:
    names = [f"i-{number:010d}" for number in range(250)]
    for name in names:
        machines.look(name, 1)
    account.calls.clear()
    account.now += 3
    for name in names:
        machines.look(name, 1)
    assert account.calls == ["DescribeInstances"] * 3


def test_a_machine_that_is_looked_at_without_end_is_asked_for_now_and_then(
    account: Account, machines: Ec2Machines
) -> None:
    account.start(account.run(), launcher=LAUNCHER)
    account.calls.clear()
    account.starts.asked = 0
    for _ in range(100):
        assert machines.look(INSTANCE, 1).state is MachineState.UP
        machines.address(INSTANCE)
        account.now += 0.05
    assert len(account.calls) <= 3
    assert account.starts.asked <= 11


def test_what_was_read_together_is_not_read_together_for_ever(account: Account, machines: Ec2Machines) -> None:
    account.start("i-1")
    names = [f"i-{number:010d}" for number in range(400)]
    account.starts.kept |= {name: replace(account.starts.kept[INSTANCE], instance_id=name) for name in names}
    a_second: list[int] = []
    for _ in range(60):
        account.starts.asked = 0
        for name in names:
            machines.address(name)
        a_second.append(account.starts.asked)
        account.now += 1
    assert a_second[0] == 400
    assert max(a_second[1:]) < 200
    assert max(a_second[30:]) < 130  # a read of each in 5 to 10 s is 40 to 80 a second, spread evenly


def test_starts_that_nobody_asks_for_are_forgotten(account: Account, machines: Ec2Machines) -> None:
    account.start("i-1")
    machines.address(INSTANCE)
    account.now += 21
    with pytest.raises(MachineUnavailableError):
        machines.address("i-0000000001")
    account.starts.kept.clear()
    account.now -= 20.9  # had it been kept, it would still be good
    with pytest.raises(MachineUnavailableError):
        machines.address(INSTANCE)


def test_when_ec2_throttles_it_is_left_alone_for_a_while(account: Account, machines: Ec2Machines) -> None:
    def throttled(**_more: Any) -> Any:
        account.calls.append("asked")
        raise ConnectTimeoutError(endpoint_url="https://ec2.invalid")

    account.client.meta.events.register_first("before-call.ec2.DescribeInstances", throttled)
    for _ in range(5):
        with pytest.raises(MachineUnavailableError, match="no answer"):
            machines.look(INSTANCE, 1)
    assert account.calls.count("asked") == 1
    with pytest.raises(MachineUnavailableError):
        machines.find_all()
    account.client.meta.events.unregister("before-call.ec2.DescribeInstances", throttled)
    account.now += 1.5
    assert machines.look(INSTANCE, 1).state is MachineState.ABSENT


# --- orphans ----------------------------------------------------------------------------------------------------------


def test_another_networks_machines_are_none_of_ours(account: Account, machines: Ec2Machines) -> None:
    other = account.client.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = account.client.create_subnet(VpcId=other, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    strange = account.run(subnet=subnet)
    assert machines.find_all() == {}
    machines.end_orphan(INSTANCE, is_for_good=True)
    assert account.state(strange) == "running"


@pytest.mark.parametrize(("is_for_good", "state"), [(False, "stopped"), (True, "terminated")])
def test_an_orphan_is_stopped_or_ended_for_good(
    account: Account,
    machines: Ec2Machines,
    is_for_good: bool,  # noqa: FBT001 - a parameter of the test
    state: str,
) -> None:
    machine = account.run()
    account.client.modify_instance_attribute(InstanceId=machine, DisableApiTermination={"Value": True})
    machines.end_orphan(INSTANCE, is_for_good=is_for_good)
    assert account.state(machine) == state
    machines.end_orphan(INSTANCE, is_for_good=is_for_good)
    assert machines.find_all() == {}


def test_a_spot_orphan_whose_protection_ec2_will_not_speak_of_ends_too(account: Account, machines: Ec2Machines) -> None:
    machine = account.run(InstanceMarketOptions={"MarketType": "spot"})
    machines.end_orphan(INSTANCE, is_for_good=True)
    assert account.state(machine) == "terminated"


@pytest.mark.parametrize(("call", "is_for_good"), [("StopInstances", False), ("ModifyInstanceAttribute", True)])
def test_an_orphan_that_cannot_be_ended_is_told(
    account: Account,
    machines: Ec2Machines,
    call: str,
    is_for_good: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    account.run()

    def refused(**_more: Any) -> Any:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation"}}, call)

    account.client.meta.events.register_first(f"before-call.ec2.{call}", refused)
    with pytest.raises(MachineUnavailableError, match=r"could not be ended.*UnauthorizedOperation"):
        machines.end_orphan(INSTANCE, is_for_good=is_for_good)


# --- the way in -------------------------------------------------------------------------------------------------------


def test_address_door_tokens_and_codes_are_those_of_the_latest_start(account: Account, machines: Ec2Machines) -> None:
    for ask in (machines.address, machines.token, machines.door):
        with pytest.raises(MachineUnavailableError, match="not started"):
            ask(INSTANCE)
    with pytest.raises(MachineUnavailableError):
        machines.admit(INSTANCE, HASH, START)
    account.start("i-1")
    account.now += 11
    assert (machines.address(INSTANCE), machines.home(INSTANCE)) == ("tcp:10.0.1.23:8888", None)
    assert machines.token(INSTANCE) == "3" * 64
    assert machines.door(INSTANCE) == Door(certificate="certificate", key="key")
    assert machines.own_token_hash(INSTANCE, is_shipper=False) == "1" * 64
    account.start("i-1", generation=2, shipper_token_hash="4" * 64, home=HomeReport(used_bytes=5, limit_bytes=9))
    assert machines.own_token_hash(INSTANCE, is_shipper=True) == "4" * 64
    machines.admit(INSTANCE, HASH, START + timedelta(seconds=30))
    assert account.starts.admitted == [(INSTANCE, HASH, START + timedelta(seconds=30))]
    with pytest.raises(MachineUnavailableError, match="64"):
        machines.admit(INSTANCE, "../x", START)
    assert (machines.home(INSTANCE), machines.image_check(INSTANCE)) == (HomeSeen(5, 9), None)
    assert "certificate" not in repr(machines.door(INSTANCE))
