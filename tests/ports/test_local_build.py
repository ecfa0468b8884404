"""The Builder port on this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, needs_sandbox, needs_terraform, open_local_place, wait_until
from nightingale.adapters.local_build import LocalBuilder
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import BuildState, ReasonCode
from nightingale.ports.builder import Builder, BuilderUnavailableError, BuildSeen

BUILD = "b-0000000001"


@pytest.fixture
def place() -> Iterator[LocalPlace]:
    with open_local_place() as made:
        yield made


def builder_with(place: LocalPlace, script: str) -> LocalBuilder:
    """Return a builder whose Terraform is a shell script."""
    binary = place.folder / "terraform"
    binary.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    binary.chmod(0o755)
    return LocalBuilder(place.data_dir, environment={**place.environment(), "NIGHTINGALE_TERRAFORM": str(binary)})


def count(place: LocalPlace) -> str:
    return (place.data_dir / "terraform" / INSTANCE_ID / "count").read_text(encoding="utf-8")


def ended(builder: Builder, build_id: str = BUILD) -> BuildSeen:
    def look() -> BuildSeen | None:
        seen = builder.look(build_id)
        return seen if seen.state in {BuildState.SUCCEEDED, BuildState.FAILED} else None

    found: BuildSeen = wait_until(look, 40)
    return found


COUNTING = '[ "$1" = init ] && exit 0; echo x >> count'
SLEEPING = '[ "$1" = init ] && exit 0; touch begun; exec sleep 300.7'


def test_a_build_goes_from_queued_over_running_to_its_end(place: LocalPlace):
    builder = builder_with(place, '[ "$1" = init ] && exit 0; while [ ! -e go ]; do sleep 0.02; done')
    assert builder.look(BUILD) == BuildSeen(BuildState.QUEUED)
    builder.start(place.build_spec())
    assert builder.look(BUILD).state is BuildState.RUNNING
    folder = place.data_dir / "terraform" / INSTANCE_ID
    wait_until(folder.is_dir)
    (folder / "go").touch()
    seen = ended(builder)
    assert seen.state is BuildState.SUCCEEDED
    assert seen.result is not None
    assert seen.result.is_ok


def test_a_build_is_started_once_however_often_it_is_asked_for(place: LocalPlace):
    builder = builder_with(place, COUNTING)
    other = builder_with(place, COUNTING)
    threads = [threading.Thread(target=each.start, args=(place.build_spec(),)) for each in (builder, other) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended(builder)
    builder.start(place.build_spec())
    assert builder.look(BUILD).state is BuildState.SUCCEEDED
    assert count(place) == "x\n"


def test_looking_at_it_all_the_time_does_not_keep_a_build_from_starting(place: LocalPlace):
    builder = builder_with(place, COUNTING)
    (place.data_dir / "builds" / BUILD).mkdir(parents=True)
    (place.data_dir / "builds" / BUILD / "lock").touch()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            builder.look(BUILD)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for thread in lookers:
        thread.start()
    builder.start(place.build_spec())
    is_over.set()
    for thread in lookers:
        thread.join()
    assert ended(builder).state is BuildState.SUCCEEDED


def test_a_crash_before_the_runner_began_is_made_good_by_the_next_start(place: LocalPlace):
    """The caller wrote the specification, took the lock and died: nothing ran, so nothing is lost."""
    builder = builder_with(place, COUNTING)
    folder = place.data_dir / "builds" / BUILD
    folder.mkdir(parents=True)
    (folder / "spec.json").write_bytes(msgspec.json.encode(place.build_spec()))
    (folder / "lock").touch()
    assert builder.look(BUILD).state is BuildState.QUEUED
    builder.start(place.build_spec())
    assert ended(builder).state is BuildState.SUCCEEDED


def test_a_runner_that_was_killed_is_a_lost_build_and_is_not_run_again(place: LocalPlace):
    builder = builder_with(place, SLEEPING)
    builder.start(place.build_spec())
    wait_until((place.data_dir / "terraform" / INSTANCE_ID / "begun").exists)
    pid = int((place.data_dir / "builds" / BUILD / "pid").read_text(encoding="ascii"))
    os.killpg(pid, 9)
    seen = ended(builder)
    assert seen.result is not None
    assert (seen.state, seen.result.code) == (BuildState.FAILED, ReasonCode.BUILD_LOST)
    assert seen.result.started_at.tzinfo is not None
    assert seen.result.next_step
    builder.start(place.build_spec())
    assert builder.look(BUILD) == seen


def test_a_runner_leaves_no_zombie_and_lives_in_a_session_of_its_own(place: LocalPlace):
    builder = builder_with(place, SLEEPING)
    builder.start(place.build_spec())
    pid_file = place.data_dir / "builds" / BUILD / "pid"
    wait_until(pid_file.exists)
    pid = int(pid_file.read_text(encoding="ascii"))
    assert os.getsid(pid) == pid
    builder.cancel(BUILD)
    ended(builder)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_build_outlives_the_process_that_started_it(place: LocalPlace):
    spec = place.folder / "spec"
    spec.write_bytes(msgspec.json.encode(place.build_spec()))
    builder = builder_with(place, '[ "$1" = init ] && exit 0; while [ ! -e go ]; do sleep 0.02; done; echo x >> count')
    program = (
        "import os, sys, msgspec; from pathlib import Path; from nightingale.adapters.local_build import LocalBuilder;"
        "from nightingale.contract.build import BuildSpec;"
        f"LocalBuilder(Path({str(place.data_dir)!r})).start("
        f"msgspec.json.decode(Path({str(spec)!r}).read_bytes(), type=BuildSpec)); os._exit(0)"
    )
    environment = {**place.environment(), "NIGHTINGALE_TERRAFORM": str(place.folder / "terraform")}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=20)
    assert builder.look(BUILD).state is BuildState.RUNNING
    folder = place.data_dir / "terraform" / INSTANCE_ID
    wait_until(folder.is_dir)
    (folder / "go").touch()
    assert ended(builder).state is BuildState.SUCCEEDED


def test_cancel_ends_what_runs_and_leaves_the_rest_alone(place: LocalPlace):
    builder = builder_with(place, SLEEPING)
    builder.cancel(BUILD)
    builder.start(place.build_spec())
    wait_until((place.data_dir / "terraform" / INSTANCE_ID / "begun").exists)
    builder.cancel(BUILD)
    seen = ended(builder)
    assert seen.result is not None
    assert seen.result.code is ReasonCode.BUILD_TIMEOUT  # it said so itself: nobody had to kill it
    builder.cancel(BUILD)
    assert builder.look(BUILD) == seen


def test_cancel_kills_a_runner_that_did_not_listen(place: LocalPlace):
    builder = builder_with(place, SLEEPING)
    builder.start(place.build_spec())
    wait_until((place.data_dir / "terraform" / INSTANCE_ID / "begun").exists)
    folder = place.data_dir / "builds" / BUILD
    os.kill(int((folder / "pid").read_text(encoding="ascii")), 19)  # SIGSTOP
    builder.cancel(BUILD)
    assert builder.look(BUILD).state is BuildState.RUNNING
    os.utime(folder / "cancelled", (0, 0))
    builder.cancel(BUILD)
    seen = ended(builder)
    assert seen.result is not None
    assert seen.result.code is ReasonCode.BUILD_LOST


def test_the_log_is_read_in_whole_lines_as_messages(place: LocalPlace):
    builder = LocalBuilder(place.data_dir)
    assert builder.read_log(BUILD, 0, 10) == ((), 0)
    folder = place.data_dir / "builds" / BUILD
    folder.mkdir(parents=True)
    text = 'plain\n{"@message": "eight \\u001b[1mbits"}\nlast\nhalf'
    (folder / "build.log").write_text(text, encoding="utf-8")
    first, offset = builder.read_log(BUILD, 0, 2)
    assert first == ("plain", "eight [1mbits")
    assert builder.read_log(BUILD, offset, 10) == (("last",), len(text) - len("half"))
    assert builder.read_log(BUILD, 10_000, 1) == (("plain",), 6)


def test_what_only_this_machine_knows_is_filled_in_and_nothing_else_is_changed(place: LocalPlace):
    builder = builder_with(place, "exit 0")
    builder = LocalBuilder(place.data_dir, image_python="/image/python", environment={"NIGHTINGALE_TERRAFORM": "true"})
    given = place.build_spec(image="default", network={"owner_uid": 23_456})
    builder.start(given)
    ended(builder)
    kept = msgspec.json.decode((place.data_dir / "builds" / BUILD / "spec.json").read_bytes(), type=BuildSpec)
    assert kept.variables["image"] == "/image/python"
    assert kept.variables["network"] == {
        "data_dir": str(place.data_dir),
        "launcher": [sys.executable, "-I", "-m", "nightingale_build.launcher"],
        "owner_uid": 23_456,
    }
    assert {**kept.variables, "image": 0, "network": 0} == {**given.variables, "image": 0, "network": 0}


def test_a_folder_that_cannot_be_made_is_unavailable_and_a_strange_id_is_refused(place: LocalPlace):
    (place.data_dir / "builds").touch()
    builder = LocalBuilder(place.data_dir)
    with pytest.raises(BuilderUnavailableError):
        builder.start(place.build_spec())
    with pytest.raises(BuilderUnavailableError):
        builder.start(place.build_spec("../b-0000001"))
    assert builder.look("../b-0000001").state is BuildState.QUEUED


def test_a_held_lock_is_a_running_build(place: LocalPlace):
    folder = place.data_dir / "builds" / BUILD
    folder.mkdir(parents=True)
    with (folder / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert LocalBuilder(place.data_dir).look(BUILD).state is BuildState.RUNNING
    assert LocalBuilder(place.data_dir).look(BUILD).state is BuildState.QUEUED


def test_a_build_has_ended_only_when_its_process_has(place: LocalPlace):
    folder = place.data_dir / "builds" / BUILD
    folder.mkdir(parents=True)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    with (folder / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = BuildResult(build_id=BUILD, is_ok=True, started_at=moment, finished_at=moment)
        (folder / "result.json").write_bytes(msgspec.json.encode(result))
        assert LocalBuilder(place.data_dir).look(BUILD).state is BuildState.RUNNING
    assert LocalBuilder(place.data_dir).look(BUILD) == BuildSeen(BuildState.SUCCEEDED, result)


@pytest.mark.terraform
@pytest.mark.sandbox
@needs_terraform
@needs_sandbox
def test_a_real_build_launches(place: LocalPlace):
    environment = {**place.environment(), "NIGHTINGALE_TERRAFORM": shutil.which("terraform") or ""}
    builder = LocalBuilder(place.data_dir, image_python=place.image, environment=environment)
    builder.start(place.build_spec(image="default", network={"owner_uid": None}))
    seen = ended(builder)
    assert seen.state is BuildState.SUCCEEDED, seen
    place.seen()
    lines, _ = builder.read_log(BUILD, 0, 1000)
    assert any("Provisioning with 'local-exec'" in line for line in lines)
    assert not any("@message" in line for line in lines)
