"""The gate before an apply: which plans are stopped. The shapes are those of `terraform show -json`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode
from nightingale_build.failure import BuildFailedError
from nightingale_build.plan_gate import ATTACHES, KEEPS_DATA, RUNS, Holds, Knowledge, check, losses, what_holds

GONE = (["delete"], ["delete", "create"], ["create", "delete"], ["forget"], ["create", "forget"])
KEPT = (["no-op"], ["create"], ["read"], ["update"])

HOMES = [
    ("aws_ebs_volume", "this", "module.home[0]"),
    ("aws_ebs_volume", "this", "module.home"),
    ("aws_ebs_volume", "data", ""),
    ("azurerm_managed_disk", "home", ""),
    ("google_storage_bucket", "home", ""),
    ("terraform_data", "home", ""),
    ("somecloud_new_kind_of_disk", "home", ""),
    ("somecloud_new_kind_of_disk", "x", 'module.home["a"]'),
]
MACHINES = [
    ("aws_instance", "this", ""),
    ("azurerm_linux_virtual_machine", "instance", ""),
    ("google_cloud_run_v2_service", "instance", ""),
    ("terraform_data", "instance", ""),
]
OTHERS = [
    ("aws_security_group", "instance", ""),
    ("aws_volume_attachment", "home", ""),
    ("aws_volume_attachment", "this", "module.home[0]"),
    ("terraform_data", "settings", ""),
    ("azurerm_virtual_machine_data_disk_attachment", "home", ""),
    ("aws_ec2_instance_state", "this", ""),
    ("aws_ebs_volume", "dataset", ""),
    ("azurerm_managed_disk", "dataset", ""),
    ("google_storage_bucket_iam_binding", "people", "module.home"),
]


def change(
    resource: tuple[str, str, str], actions: list[str], *, reason: str = "", before: dict[str, Any] | None = None
) -> dict[str, Any]:
    kind, name, module = resource
    address = f"{module}.{kind}.{name}" if module else f"{kind}.{name}"
    made: dict[str, Any] = {
        "address": address,
        "mode": "managed",
        "type": kind,
        "name": name,
        "change": {"actions": actions, "before": before, "replace_paths": [["size"]]},
    }
    if module:
        made["module_address"] = module
    if reason:
        made["action_reason"] = reason
    return made


def known(
    action: Action,
    state: DesiredState = DesiredState.RUNNING,
    *,
    is_new_generation: bool = True,
    has_succeeded: bool = True,
) -> Knowledge:
    return Knowledge(action, state, is_new_generation, has_succeeded)


def stopped(one: dict[str, Any], knowledge: Knowledge) -> bool:
    found = losses({"resource_changes": [one]}, knowledge)
    assert len(found) < 2
    return bool(found)


every_knowledge = st.builds(
    Knowledge, st.sampled_from(Action), st.sampled_from(DesiredState), st.booleans(), st.booleans()
)
any_before = st.one_of(st.none(), st.fixed_dictionaries({"instance_state": st.sampled_from(["running", "stopped"])}))


@given(
    st.sampled_from(HOMES), st.sampled_from(GONE), every_knowledge, any_before,
    st.sampled_from(["", "replace_because_cannot_update", "delete_because_no_resource_config"]),
)  # fmt: skip
def test_a_home_goes_with_the_instance_and_never_else(resource, actions, knowledge, before, reason):
    is_stopped = stopped(change(resource, actions, reason=reason, before=before), knowledge)
    assert is_stopped == (knowledge.desired_state is not DesiredState.ABSENT)


@given(st.sampled_from([*HOMES, *MACHINES, *OTHERS]), st.sampled_from(KEPT), every_knowledge)
def test_a_plan_that_takes_nothing_away_is_never_stopped(resource, actions, knowledge):
    assert not stopped(change(resource, actions), knowledge)


@given(st.sampled_from(OTHERS), st.sampled_from(GONE), every_knowledge)
def test_what_holds_no_work_may_always_go(resource, actions, knowledge):
    assert not stopped(change(resource, actions), knowledge)


@given(st.sampled_from(MACHINES), st.sampled_from(GONE), every_knowledge)
def test_a_running_machine_goes_when_it_was_asked_for_and_never_else(resource, actions, knowledge):
    is_asked = knowledge.desired_state is not DesiredState.RUNNING or (
        knowledge.is_new_generation and knowledge.action in {Action.START, Action.RESIZE, Action.RETRY}
    )
    assert stopped(change(resource, actions, before={"instance_state": "running"}), knowledge) == (not is_asked)
    assert stopped(change(resource, actions), knowledge) == (not is_asked)  # nothing is known of it


@given(st.sampled_from(MACHINES), st.sampled_from(GONE), every_knowledge, st.sampled_from(["stopped", "terminated"]))
def test_a_machine_that_the_cloud_says_does_not_run_may_be_replaced(resource, actions, knowledge, state):
    assert not stopped(change(resource, actions, before={"instance_state": state}), knowledge)


@given(st.sampled_from([*HOMES, *MACHINES]), st.sampled_from(Action), st.booleans())
def test_what_was_never_finished_is_made_again_while_nobody_has_worked_there(resource, action, has_succeeded):
    knowledge = known(action, is_new_generation=False, has_succeeded=has_succeeded)
    broken = change(resource, ["delete", "create"], reason="replace_because_tainted")
    assert stopped(broken, knowledge) == has_succeeded


def test_a_launch_that_is_played_twice_replaces_no_machine():
    replaced = change(("aws_instance", "this", ""), ["delete", "create"], before={"instance_state": "running"})
    assert stopped(replaced, known(Action.LAUNCH))
    assert stopped(replaced, known(Action.RETRY, is_new_generation=False))
    assert not stopped(replaced, known(Action.RETRY))


def test_data_that_is_only_read_holds_nothing():
    found = change(("aws_ebs_volume", "home", ""), ["delete"])
    found["mode"] = "data"
    assert what_holds(found) is Holds.NOTHING


def test_no_type_is_in_two_tables():
    assert not KEEPS_DATA & RUNS
    assert not [kind for kind in KEEPS_DATA | RUNS if kind.endswith(ATTACHES)]


def test_a_refusal_names_every_resource_and_what_forces_it():
    plan = {
        "format_version": "1.2",
        "resource_changes": [
            change(("aws_ebs_volume", "this", "module.home[0]"), ["delete", "create"]),
            change(("aws_instance", "this", ""), ["delete"], before={"instance_state": "running"}),
            change(("aws_security_group", "this", ""), ["delete"]),
        ],
    }
    with pytest.raises(BuildFailedError) as caught:
        check(json.dumps(plan).encode(), known(Action.LAUNCH))
    assert caught.value.code is ReasonCode.PLAN_REFUSED
    assert "replace module.home[0].aws_ebs_volume.this, which holds the home (forced by size)" in caught.value.words
    assert "destroy aws_instance.this, which holds the machine" in caught.value.words
    assert "security_group" not in caught.value.words
    assert "nothing was changed" in caught.value.words
    assert caught.value.next_step


@pytest.mark.parametrize(
    "shown",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"format_version": "2.0"}',
        b'{"format_version": "1.2", "resource_changes": [3]}',
        b'{"format_version": "1.2", "resource_changes": 3}',
        b'{"format_version": "1.2", "resource_changes": [{"type": "aws_ebs_volume"}]}',
    ],
)
def test_a_plan_that_cannot_be_read_is_not_applied(shown):
    with pytest.raises(BuildFailedError) as caught:
        check(shown, known(Action.DELETE, DesiredState.ABSENT))
    assert caught.value.code is ReasonCode.PLAN_REFUSED


def test_a_plan_without_changes_passes():
    check(b'{"format_version": "1.2"}', known(Action.LAUNCH))
