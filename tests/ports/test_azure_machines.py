"""The Machines port on Azure: what is seen of a machine, why it went, who is ended, and how one is cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from doubles.azure_cloud import GROUP, SUBSCRIPTION, AzureCloud, azure_cloud
from doubles.clocks import START
from doubles.starts import MemoryLogs, MemoryStarts
from nightingale.adapters.arm_client import MOST_BYTES, ArmClient
from nightingale.adapters.azure_identity import TokenError
from nightingale.adapters.azure_machines import AzureMachines
from nightingale.adapters.azure_seen import KEPT_S
from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.machines import Door, HomeReport
from nightingale.contract.vocabulary import ReasonCode
from nightingale.domain.machine import MachineStart
from nightingale.ports.machines import HomeSeen, Machines, MachineState, MachineUnavailableError

INSTANCE, OTHER = "i-k3m9x0q2ab", "i-0000000001"
PATH = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines"
LAUNCHER = LauncherRecord(pid=7, start_time=1, boot_id="b", generation=1, started_at=START, sandbox="bubblewrap")
EXIT = ExitRecord(
    generation=1,
    code=ReasonCode.OUT_OF_MEMORY,
    words="too much",
    next_step="",
    started_at=START,
    ended_at=START,
    last_lines=("first", "second"),
)


@dataclass
class Tokens:
    """One token, which Azure takes; counts how often it was to be forgotten."""

    cloud: AzureCloud
    trouble: str = ""
    forgotten: int = 0

    def __call__(self) -> str:
        if self.trouble:
            raise TokenError(self.trouble)
        self.cloud.good.add("token-of-the-test")
        return "token-of-the-test"

    def forget(self) -> None:
        self.forgotten += 1


@dataclass
class Place:
    """The platform's side of one resource group."""

    cloud: AzureCloud
    tokens: Tokens
    starts: MemoryStarts = field(default_factory=MemoryStarts)
    logs: MemoryLogs = field(default_factory=MemoryLogs)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.machines = AzureMachines(
            self.starts,
            self.logs,
            subscription=SUBSCRIPTION,
            resource_group=GROUP,
            tokens=self.tokens,
            endpoint=self.cloud.url,
            monotonic=lambda: self.now,
        )

    def start(self, machine_id: str, generation: int = 1, **changes: Any) -> None:
        """Let the machine have made the start of this generation."""
        made = MachineStart(
            instance_id=INSTANCE,
            generation=generation,
            machine_id=machine_id,
            address="tcp:10.80.16.7:8888",
            at=START,
            digest="d",
            instance_token_hash="1" * 64,
            shipper_token_hash="2" * 64,
            jupyter_token="3" * 64,
            door_certificate="certificate",
            door_key="key",
        )
        self.starts.kept[INSTANCE] = replace(made, **changes)
        self.now += 10.0  # nothing that was read before counts

    def later(self) -> None:
        self.now += KEPT_S


@pytest.fixture
def cloud() -> Iterator[AzureCloud]:
    with azure_cloud() as made:
        yield made


@pytest.fixture
def place(cloud: AzureCloud) -> Place:
    return Place(cloud, Tokens(cloud))


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_it_is_the_port(place: Place) -> None:
    port: Machines = place.machines
    assert port.sandbox().is_trusted


def test_a_machine_is_absent_until_its_start_is_told_and_up_after_it(cloud: AzureCloud, place: Place) -> None:
    assert place.machines.look(INSTANCE, 1).state is MachineState.ABSENT
    place.later()
    cloud.run(INSTANCE, principal="p-1")
    assert place.machines.look(INSTANCE, 1).state is MachineState.ABSENT
    place.start("P-1", launcher=LAUNCHER)
    seen = place.machines.look(INSTANCE, 1)
    assert (seen.state, seen.launcher) == (MachineState.UP, LAUNCHER)


def test_a_machines_own_id_means_it_too_and_no_case_is_minded(cloud: AzureCloud, place: Place) -> None:
    place.start(cloud.run(INSTANCE).upper(), launcher=LAUNCHER)
    assert place.machines.look(INSTANCE, 1).state is MachineState.UP


def test_the_machine_that_a_retry_made_is_not_the_one_before_it(cloud: AzureCloud, place: Place) -> None:
    cloud.run(INSTANCE, generation=2, principal="p-2")
    place.start("p-1", launcher=LAUNCHER)  # of the machine that is no more
    seen = place.machines.look(INSTANCE, 1)
    assert (seen.state, seen.code) == (MachineState.GONE, ReasonCode.MACHINE_GONE)
    assert "Azure knows nothing" in seen.words


@pytest.mark.parametrize("id_", ["i-1", "../../x", INSTANCE + "/../x"])
def test_what_is_no_instances_id_is_asked_of_nobody(cloud: AzureCloud, place: Place, id_: str) -> None:
    assert place.machines.look(id_, 1).state is MachineState.ABSENT
    place.machines.quarantine(id_)
    place.machines.release(id_)
    place.machines.end_orphan(id_, is_for_good=True)
    assert cloud.asked == []


def test_what_a_machine_told_before_it_went_is_its_end(cloud: AzureCloud, place: Place) -> None:
    place.start(cloud.run(INSTANCE), launcher=LAUNCHER, exit=EXIT)
    asked = len(cloud.asked)
    seen = place.machines.look(INSTANCE, 1)
    assert (seen.state, seen.exit) == (MachineState.EXITED, EXIT)
    assert len(cloud.asked) == asked


@pytest.mark.parametrize(
    ("power", "spot", "words"),
    [
        ("deallocated", True, "took the spare capacity back, or somebody did it"),
        ("deallocating", False, "by someone other than this platform"),
        ("stopped", False, "shut down from inside"),
    ],
)
def test_a_machine_that_went_is_told_in_words(
    cloud: AzureCloud, place: Place, power: str, *, spot: bool, words: str
) -> None:
    place.start(cloud.run(INSTANCE, priority="Spot" if spot else "Regular"), launcher=LAUNCHER)
    cloud.become(INSTANCE, power)
    seen = place.machines.look(INSTANCE, 1)
    assert (seen.state, seen.code) == (MachineState.GONE, ReasonCode.MACHINE_GONE)
    assert words in seen.words


def test_spare_capacity_taken_back_is_an_interruption_where_the_machine_told_of_it(
    cloud: AzureCloud, place: Place
) -> None:
    place.start(cloud.run(INSTANCE, priority="Spot"), launcher=LAUNCHER, interrupted_at=START)
    assert place.machines.look(INSTANCE, 1).state is MachineState.UP  # it was told, and is not gone yet
    place.later()
    cloud.become(INSTANCE, "deallocated")
    seen = place.machines.look(INSTANCE, 1)
    assert (seen.state, seen.code) == (MachineState.GONE, ReasonCode.INTERRUPTED)


def test_a_machine_that_azure_could_not_start_is_gone_with_the_reason(cloud: AzureCloud, place: Place) -> None:
    view = {"statuses": [{"code": "ProvisioningState/failed/AllocationFailed"}, {"code": "PowerState/deallocated"}]}
    place.start(cloud.run(INSTANCE, instanceView=view, provisioningState="Failed"))
    seen = place.machines.look(INSTANCE, 1)
    assert seen.state is MachineState.GONE
    assert "AllocationFailed" in seen.words


def test_a_machine_that_runs_although_a_change_of_it_failed_is_up(cloud: AzureCloud, place: Place) -> None:
    place.start(cloud.run(INSTANCE, provisioningState="Failed"), launcher=LAUNCHER)
    assert place.machines.look(INSTANCE, 1).state is MachineState.UP


def test_one_answer_is_good_for_a_while(cloud: AzureCloud, place: Place) -> None:
    place.start(cloud.run(INSTANCE), launcher=LAUNCHER)
    for _ in range(20):
        place.machines.look(INSTANCE, 1)
    assert len(cloud.asked) == 1
    place.later()
    place.machines.look(INSTANCE, 1)
    assert len(cloud.asked) == 2


# --- what a start is known by -----------------------------------------------------------------------------------------


def test_doors_tokens_and_the_home_are_those_of_the_start(cloud: AzureCloud, place: Place) -> None:
    place.start(cloud.run(INSTANCE), home=HomeReport(used_bytes=5, limit_bytes=9), exit=EXIT)
    machines = place.machines
    address = machines.address(INSTANCE)
    assert machines.door_at(address) == machines.door(INSTANCE) == Door(certificate="certificate", key="key")
    assert machines.token(INSTANCE) == "3" * 64
    assert machines.own_token_hash(INSTANCE, is_shipper=True) == "2" * 64
    assert machines.home(INSTANCE) == HomeSeen(5, 9)
    assert machines.read_log(INSTANCE, machines.log_tail_offset(INSTANCE, 1), 5) == (("second",), 2)
    machines.admit(INSTANCE, "ab" * 32, START)
    assert place.starts.admitted == [(INSTANCE, "ab" * 32, START)]


# --- orphans ----------------------------------------------------------------------------------------------------------


def test_what_is_up_and_ours_is_listed_page_by_page(cloud: AzureCloud, place: Place) -> None:
    cloud.page = 2
    for number in range(5):
        cloud.run(f"i-000000000{number}", generation=number)
    cloud.become("i-0000000003", "deallocated")
    cloud.run("i-0000000009")
    cloud.machines["nightingale-i-0000000009"]["tags"] = {}  # made by somebody else
    cloud.machines["somebodys"] = {**cloud.machines[f"nightingale-{OTHER}"], "name": "somebodys"}
    found = place.machines.find_all()
    assert found == {"i-0000000000": 0, "i-0000000001": 1, "i-0000000002": 2, "i-0000000004": 4}


def test_a_page_on_another_host_is_not_asked_for(cloud: AzureCloud, place: Place) -> None:
    told = json.dumps({"value": [], "nextLink": "https://169.254.169.254/metadata"}).encode()
    cloud.instead.append((200, {}, told))
    with pytest.raises(MachineUnavailableError, match="another host"):
        place.machines.find_all()


def test_an_orphan_of_a_stopped_instance_is_deallocated_and_one_of_none_deleted(
    cloud: AzureCloud, place: Place
) -> None:
    cloud.run(INSTANCE)
    place.machines.end_orphan(INSTANCE, is_for_good=False)
    assert cloud.machines[f"nightingale-{INSTANCE}"]["power"] == "deallocated"
    place.machines.end_orphan(INSTANCE, is_for_good=False)  # again: there is nothing to do
    assert len(cloud.calls("POST")) == 1
    cloud.run(OTHER)
    place.machines.end_orphan(OTHER, is_for_good=True)
    assert f"nightingale-{OTHER}" not in cloud.machines
    assert cloud.calls("DELETE") == [f"Microsoft.Compute/virtualMachines/nightingale-{OTHER}"]


def test_a_machine_that_would_take_its_home_along_is_not_deleted(cloud: AzureCloud, place: Place) -> None:
    disks = [{"lun": 0, "name": f"nightingale-{INSTANCE}-home", "deleteOption": "Delete"}]
    cloud.run(INSTANCE, storageProfile={"dataDisks": disks})
    with pytest.raises(MachineUnavailableError, match=r"its home .* would be deleted with it .* Detach"):
        place.machines.end_orphan(INSTANCE, is_for_good=True)
    assert cloud.machines[f"nightingale-{INSTANCE}"]["power"] == "deallocated"
    assert cloud.calls("DELETE") == []


# --- quarantine -------------------------------------------------------------------------------------------------------


def test_quarantine_closes_both_ways_before_every_other_rule_and_release_takes_that_away(
    cloud: AzureCloud, place: Place
) -> None:
    cloud.run(INSTANCE)
    own = {"priority": 200, "direction": "Inbound", "access": "Allow"}
    cloud.groups[f"nightingale-{INSTANCE}"]["rules"]["jupyter-from-the-gateway"] = own
    place.machines.quarantine(INSTANCE)
    closed = {"nightingale-quarantine-in": "Inbound", "nightingale-quarantine-out": "Outbound"}
    assert cloud.rules(INSTANCE) == closed
    rules = cloud.groups[f"nightingale-{INSTANCE}"]["rules"]
    assert all((rules[name]["priority"], rules[name]["protocol"]) == (100, "*") for name in closed)
    place.machines.quarantine(INSTANCE)
    assert len(cloud.calls("PUT")) == 2  # what is closed is only looked at
    place.machines.release(INSTANCE)
    assert list(cloud.groups[f"nightingale-{INSTANCE}"]["rules"]) == ["jupyter-from-the-gateway"]
    place.machines.release(INSTANCE)
    assert len(cloud.calls("DELETE")) == 2


def test_a_rule_that_somebody_changed_is_put_again(cloud: AzureCloud, place: Place) -> None:
    cloud.run(INSTANCE)
    place.machines.quarantine(INSTANCE)
    cloud.groups[f"nightingale-{INSTANCE}"]["rules"]["nightingale-quarantine-out"]["access"] = "Allow"
    place.machines.quarantine(INSTANCE)
    assert set(cloud.rules(INSTANCE)) == {"nightingale-quarantine-in", "nightingale-quarantine-out"}


def test_while_azure_is_still_at_the_rules_it_is_not_so_yet(cloud: AzureCloud, place: Place) -> None:
    cloud.run(INSTANCE)
    cloud.is_slow_at_rules = True
    with pytest.raises(MachineUnavailableError, match="still at the rules"):
        place.machines.quarantine(INSTANCE)
    cloud.is_slow_at_rules = False
    place.machines.quarantine(INSTANCE)


def test_a_group_that_closes_no_machine_is_no_quarantine(cloud: AzureCloud, place: Place) -> None:
    cloud.run(INSTANCE)
    cloud.groups[f"nightingale-{INSTANCE}"]["networkInterfaces"] = []
    with pytest.raises(MachineUnavailableError, match="on no network interface"):
        place.machines.quarantine(INSTANCE)
    del cloud.groups[f"nightingale-{INSTANCE}"]
    with pytest.raises(MachineUnavailableError, match="is not there"):
        place.machines.quarantine(INSTANCE)


def test_a_rule_of_somebody_elses_in_the_first_place_is_told(cloud: AzureCloud, place: Place) -> None:
    cloud.run(INSTANCE)
    mine = {"priority": 100, "direction": "Outbound", "access": "Allow"}
    cloud.groups[f"nightingale-{INSTANCE}"]["rules"]["mine"] = mine
    with pytest.raises(MachineUnavailableError, match="SecurityRuleConflict"):
        place.machines.quarantine(INSTANCE)


def test_where_there_is_no_machine_there_is_nothing_to_cut_off(cloud: AzureCloud, place: Place) -> None:
    place.machines.quarantine(INSTANCE)
    place.machines.release(INSTANCE)
    assert cloud.calls("PUT") == cloud.calls("DELETE") == []


# --- Azure's refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((429, {"Retry-After": "17"}, b'{"error": {"code": "TooManyRequests"}}'), "TooManyRequests.*in 17 s"),
        ((503, {}, b"<html>"), "no more requests.*no reason given"),
        ((403, {}, b'{"error": {"code": "AuthorizationFailed"}}'), "AuthorizationFailed.*role"),
        ((401, {}, b'{"error": {"code": "ExpiredAuthenticationToken"}}'), "token no longer"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "answered 302"),
        ((500, {}, b"{}"), "answered 500"),
        ((200, {}, b"not json"), "something else than a JSON object"),
        ((200, {}, b"[]"), "something else than a JSON object"),
        ((200, {}, b" " * (MOST_BYTES + 1)), "longer than"),
    ],
)
def test_a_refusal_is_told_in_words_and_never_with_the_token(
    cloud: AzureCloud, place: Place, answer: tuple[int, dict[str, str], bytes], words: str
) -> None:
    cloud.run(INSTANCE)
    cloud.instead.append(answer)
    with pytest.raises(MachineUnavailableError, match=words) as raised:
        place.machines.look(INSTANCE, 1)
    assert "token-of-the-test" not in str(raised.value)
    assert place.tokens.forgotten == (answer[0] == 401)


def test_azure_is_left_alone_for_as_long_as_it_says(cloud: AzureCloud, place: Place) -> None:
    cloud.run(INSTANCE)
    cloud.instead.append((429, {"Retry-After": "17"}, b"{}"))
    for _ in range(5):
        with pytest.raises(MachineUnavailableError, match="no more requests"):
            place.machines.look(INSTANCE, 1)
    assert len(cloud.asked) == 1
    place.now += 17.0
    place.machines.look(INSTANCE, 1)
    assert len(cloud.asked) == 2


def test_without_a_token_or_an_answer_the_machine_cannot_be_asked(place: Place) -> None:
    place.tokens.trouble = "Entra refused a token (AADSTS700213)"
    with pytest.raises(MachineUnavailableError, match="AADSTS700213"):
        place.machines.look(INSTANCE, 1)
    nowhere = ArmClient(place.tokens, endpoint="http://127.0.0.1:9")
    place.tokens.trouble = ""
    with pytest.raises(MachineUnavailableError, match=r"no answer \(ConnectionRefusedError\)"):
        nowhere.get(PATH, "2024-07-01", "machines")


def test_a_list_without_an_end_is_not_read_for_ever(cloud: AzureCloud, place: Place) -> None:
    cloud.instead.extend([(200, {}, json.dumps({"nextLink": f"{cloud.url}{PATH}?page=2"}).encode())] * 51)
    with pytest.raises(MachineUnavailableError, match="more than 50 pages"):
        place.machines.find_all()
