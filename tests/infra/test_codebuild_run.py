"""What runs inside CodeBuild: real Terraform, its state and lock in moto's S3, CodeBuild's answers made up."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.cloud_place import BUILDS, INSTANCE, STATES, CloudPlace, open_cloud_place
from infra.local_place import needs_terraform, wait_until
from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode

pytestmark = [pytest.mark.slow, pytest.mark.cloud, pytest.mark.terraform, pytest.mark.timeout(420), needs_terraform]

LOCK = f"instances/{INSTANCE}/terraform.tfstate.tflock"


@pytest.fixture
def place() -> Iterator[CloudPlace]:
    with open_cloud_place() as made:
        yield made


def resources(place: CloudPlace) -> set[str]:
    return {f"{one['type']}.{one['name']}" for one in place.state()["resources"]}


def kill_all_of(process: Any) -> None:
    """Do what happens when a container is gone: no process of it is left, and none had time for a word."""
    every = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in every:
        one.suspend()
    for one in every:
        one.kill()
    process.communicate(timeout=60)


def test_an_instance_is_launched_stopped_resized_and_removed_with_its_state_in_s3(place: CloudPlace):
    launched = place.run(place.spec())
    assert launched.is_ok, launched
    assert launched.outputs["state"] == "running"
    assert resources(place) == {"terraform_data.home", "terraform_data.instance"}
    home = launched.outputs["home"]
    lines = [json.loads(line) for line in place.said.splitlines() if line.startswith("{")]
    assert any(one.get("type") == "apply_complete" for one in lines)  # as the local runner logs
    assert launched.log_tail
    assert place.objects() == {f"instances/{INSTANCE}/terraform.tfstate", f"instances/{INSTANCE}/claim.json"}

    stopped = place.run(place.spec(2, action=Action.STOP, state=DesiredState.STOPPED))
    assert stopped.is_ok, stopped
    resized = place.run(place.spec(3, action=Action.RESIZE, image="two"))
    assert resized.is_ok, resized
    assert resized.outputs["home"] == home
    assert place.claim().succeeded_generation == 3

    gone = place.run(place.spec(4, action=Action.DELETE, state=DesiredState.ABSENT))
    assert gone.is_ok, gone
    assert place.state()["resources"] == []
    assert LOCK not in place.objects()

    late = place.run(place.spec(9, generation=3))
    assert late.code is ReasonCode.BUILD_NOT_STARTED
    assert place.state()["resources"] == []

    assert "planted-secret" not in place.said
    for bucket in (BUILDS, STATES):
        assert all(b"planted-secret" not in place.read(bucket, key) for key in place.objects(bucket))


def test_a_plan_that_would_take_work_away_is_stopped_and_shown(place: CloudPlace):
    launched = place.run(place.spec())
    again = place.run(place.spec(2, action=Action.START, home_size=2))
    assert again.code is ReasonCode.PLAN_REFUSED
    assert "replace terraform_data.home[0], which holds the home (forced by triggers_replace)" in again.words
    assert "terraform_data.home[0]: Plan to replace" in place.said
    replaced = place.run(place.spec(3, action=Action.LAUNCH, image="two"))
    assert replaced.code is ReasonCode.PLAN_REFUSED
    assert "terraform_data.instance[0]" in replaced.words
    retried = place.run(place.spec(4, action=Action.RETRY))
    assert retried.is_ok, retried  # the same home: neither of those before has changed anything
    assert retried.outputs["home"] == launched.outputs["home"]
    assert retried.outputs["machine"] != launched.outputs["machine"]


def test_a_build_that_is_delivered_twice_does_its_work_once(place: CloudPlace):
    gate = str(place.folder / "gate")
    spec = place.spec(gate=gate)
    first = place.begin(spec, "builds:first")
    wait_until(Path(f"{gate}.begun").exists, 120)
    with place.begin(spec, "builds:second") as second:
        said, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert "runs already, as builds:first" in said
    assert f"builds/{spec.build_id}/result.json" not in place.objects(BUILDS)
    Path(f"{gate}.go").touch()
    first.communicate(timeout=120)
    result = place.result(spec)
    assert result.is_ok, result
    assert not place.claim().is_held
    serial = place.state()["serial"]
    assert place.run(spec, "builds:third") == result
    assert "has ended already" in place.said
    assert place.state()["serial"] == serial


def test_what_a_killed_build_left_is_unlocked_and_finished_by_the_next_once_codebuild_says_it_is_gone(
    place: CloudPlace,
):
    gate = str(place.folder / "gate")
    killed = place.begin(place.spec(gate=gate), "builds:first")
    wait_until(Path(f"{gate}.begun").exists, 120)
    kill_all_of(killed)
    assert LOCK in place.objects()
    Path(f"{gate}.go").touch()

    place.codebuild.end("builds:first", "STOPPED")
    finished = place.run(place.spec(2, action=Action.RETRY))
    assert finished.is_ok, finished
    assert "whose build has ended: released" in place.said
    assert LOCK not in place.objects()
    assert resources(place) == {"terraform_data.home", "terraform_data.instance"}


def test_a_persons_lock_is_left_alone_and_told(place: CloudPlace):
    lock = {"ID": "5f3c", "Who": "ada@laptop", "Created": "2026-11-02T11:00:00Z", "Operation": "x", "Path": "x"}
    place.s3.put_object(Bucket=STATES, Key=LOCK, Body=json.dumps(lock).encode())
    locked = place.run(place.spec())
    assert locked.code is ReasonCode.STATE_LOCKED
    assert "ada@laptop" in locked.words
    assert LOCK in place.objects()
    place.s3.delete_object(Bucket=STATES, Key=LOCK)
    assert place.run(place.spec(2)).is_ok


def test_a_build_that_is_told_to_end_leaves_its_state_written_and_unlocked(place: CloudPlace):
    gate = str(place.folder / "gate")
    spec = place.spec(gate=gate)
    process = place.begin(spec, "builds:first")
    wait_until(Path(f"{gate}.begun").exists, 120)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    ended = place.result(spec)
    assert ended.code is ReasonCode.BUILD_TIMEOUT
    assert LOCK not in place.objects()
    assert {"terraform_data.home"} <= resources(place)
    assert not place.claim().is_held
    Path(f"{gate}.go").touch()
    assert place.run(place.spec(2, action=Action.RETRY)).is_ok


def test_a_build_without_a_specification_says_so(place: CloudPlace):
    spec = place.spec()
    with place.begin(spec, "builds:first", NIGHTINGALE_BUILD_ID="b-zzzzzzzzzz") as process:
        process.communicate(timeout=120)
    assert process.returncode == 1
    other = json.loads(place.read(BUILDS, "builds/b-zzzzzzzzzz/result.json"))
    assert other["code"] == "build_not_started"


def test_an_environment_that_says_too_little_is_told(place: CloudPlace):
    for missing in ("NIGHTINGALE_STATE_BUCKET", "NIGHTINGALE_BUILD_ID"):
        with place.begin(place.spec(), "builds:first", **{missing: ""}) as process:
            _, errors = process.communicate(timeout=120)
        assert process.returncode == 2
        assert missing in errors
