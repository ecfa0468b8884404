"""The Machines port on EC2: the Jupyter server's log, as its machine sends it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from doubles.clocks import START
from doubles.starts import MemoryLogs, MemoryStarts
from nightingale.adapters.ec2_machines import Ec2Machines
from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.vocabulary import ReasonCode
from nightingale.domain.machine import MachineStart
from nightingale.domain.server_log import ServerLog
from nightingale.ports.machines import MachineUnavailableError

INSTANCE = "i-k3m9x0q2ab"
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
MADE = MachineStart(
    instance_id=INSTANCE,
    generation=1,
    machine_id="i-1",
    address="tcp:10.0.1.23:8888",
    at=START,
    digest="d",
    instance_token_hash="1" * 64,
    shipper_token_hash="2" * 64,
    jupyter_token="3" * 64,
    door_certificate="certificate",
    door_key="key",
)


@dataclass
class Account:
    """Starts and logs, and nothing of EC2: nobody asks it for a log."""

    starts: MemoryStarts = field(default_factory=MemoryStarts)
    logs: MemoryLogs = field(default_factory=MemoryLogs)

    def start(self, machine_id: str, generation: int = 1, **changes: Any) -> None:
        self.starts.kept[INSTANCE] = replace(MADE, machine_id=machine_id, generation=generation, **changes)


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def machines(account: Account) -> Ec2Machines:
    return Ec2Machines(account.starts, account.logs, vpc_id="vpc-1", client=object())


def test_a_machine_that_never_started_has_no_log(machines: Ec2Machines) -> None:
    with pytest.raises(MachineUnavailableError, match="has not started yet"):
        machines.read_log(INSTANCE, 0, 10)


def test_the_log_of_a_server_that_runs_is_what_its_machine_sent_and_a_look_is_noted(
    account: Account, machines: Ec2Machines
) -> None:
    account.start("i-1")
    assert (machines.read_log(INSTANCE, 0, 10), machines.log_tail_offset(INSTANCE, 5)) == (((), 0), 0)  # none yet
    account.logs.kept[INSTANCE] = ServerLog(1, 1, text="one\ntwo\nthree\n")
    assert machines.log_tail_offset(INSTANCE, 2) == 4
    assert (machines.read_log(INSTANCE, 4, 1), account.logs.looks) == ((("two",), 8), 2)
    account.start("i-1", generation=2)  # its lines are on their way: what follows goes on from the same offsets
    assert machines.read_log(INSTANCE, 8, 9) == (("three",), 14)


def test_the_log_of_a_server_that_ended_is_what_its_machine_sent_to_the_last_line(
    account: Account, machines: Ec2Machines
) -> None:
    account.start("i-1", launcher=LAUNCHER, exit=EXIT)
    account.logs.kept[INSTANCE] = ServerLog(1, 3, text="one\nlast\n")
    assert machines.read_log(INSTANCE, machines.log_tail_offset(INSTANCE, 1), 9) == (("last",), 9)
    assert account.logs.looks == 0  # nothing more comes
    account.start("i-2", generation=2, exit=EXIT)  # by an older image, which sends none
    assert machines.read_log(INSTANCE, machines.log_tail_offset(INSTANCE, 2), 9) == (("second", "third"), 3)
