"""The Machines port on this machine."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import pytest

from infra.local_place import (
    INSTANCE_ID,
    LocalPlace,
    needs_root,
    needs_sandbox,
    open_local_place,
    sandbox_name,
    wait_until,
)
from nightingale.adapters.local_machines import LocalMachines
from nightingale.contract.images import ImageCheck, image_key
from nightingale.contract.vocabulary import ReasonCode
from nightingale.ports.machines import MachineSeen, MachineState, MachineUnavailableError
from nightingale_build.whole_files import write_whole

LATER = datetime(2026, 11, 2, 12, 0, 30, tzinfo=UTC)
HASH = "ab" * 32


@pytest.fixture
def place() -> Iterator[LocalPlace]:
    with open_local_place() as made:
        yield made


@pytest.fixture
def machines(place: LocalPlace) -> LocalMachines:
    return LocalMachines(place.data_dir)


def test_what_was_never_started_is_absent(machines: LocalMachines):
    assert machines.look(INSTANCE_ID, 1) == MachineSeen(MachineState.ABSENT)
    assert machines.look("../../etc", 1) == MachineSeen(MachineState.ABSENT)
    assert machines.find_all() == {}


@pytest.mark.sandbox
@needs_sandbox
def test_an_instance_is_up_then_exited_and_its_generations_are_told_apart(place: LocalPlace, machines: LocalMachines):
    place.started()
    seen = machines.look(INSTANCE_ID, 1)
    assert seen.state is MachineState.UP
    assert seen.launcher == place.record()
    assert machines.look(INSTANCE_ID, 2).state is MachineState.ABSENT
    assert machines.find_all() == {INSTANCE_ID: 1}
    place.server().kill()
    place.ended()
    seen = machines.look(INSTANCE_ID, 1)
    assert seen.state is MachineState.EXITED
    assert seen.exit is not None
    assert seen.exit.code is ReasonCode.JUPYTER_KILLED
    wait_until(lambda: machines.find_all() == {})


@pytest.mark.sandbox
@needs_sandbox
def test_a_killed_launcher_is_gone_and_so_is_its_server(place: LocalPlace, machines: LocalMachines):
    place.started()
    psutil.Process(place.record().pid).kill()
    wait_until(lambda: machines.look(INSTANCE_ID, 1).state is MachineState.GONE)
    assert machines.look(INSTANCE_ID, 1).code is ReasonCode.MACHINE_GONE
    wait_until(lambda: place.processes() == [])


@pytest.mark.sandbox
@needs_sandbox
def test_a_record_of_another_boot_is_a_reboot(place: LocalPlace, machines: LocalMachines):
    place.started()
    psutil.Process(place.record().pid).kill()
    wait_until(lambda: machines.look(INSTANCE_ID, 1).state is MachineState.GONE)
    boot_id = place.folder / "boot_id"
    after = LocalMachines(place.data_dir, boot_id=boot_id)
    assert after.look(INSTANCE_ID, 1).code is ReasonCode.MACHINE_GONE  # where nothing names a boot, none is told apart
    boot_id.write_text("00000000-0000-0000-0000-000000000000\n", encoding="ascii")
    seen = LocalMachines(place.data_dir, boot_id=boot_id).look(INSTANCE_ID, 1)
    assert (seen.state, seen.code) == (MachineState.GONE, ReasonCode.MACHINE_REBOOTED)


@pytest.mark.sandbox
@needs_sandbox
def test_an_orphan_is_ended_and_its_home_stays(place: LocalPlace, machines: LocalMachines):
    place.started()
    machines.end_orphan(INSTANCE_ID, is_for_good=True)
    assert machines.find_all() == {}
    assert place.processes() == []
    assert place.home.is_dir()
    machines.end_orphan(INSTANCE_ID, is_for_good=True)
    machines.end_orphan("i-never00000", is_for_good=True)


@pytest.mark.sandbox
@needs_sandbox
def test_address_and_token_are_those_of_the_running_server(place: LocalPlace, machines: LocalMachines):
    place.started()
    address = machines.address(INSTANCE_ID)
    assert address.startswith("unix:/")
    assert Path(address.removeprefix("unix:")).is_socket()
    assert len(machines.token(INSTANCE_ID)) >= 43
    place.stop()
    with pytest.raises(MachineUnavailableError) as refused:
        machines.token(INSTANCE_ID)
    assert INSTANCE_ID in str(refused.value)


@pytest.mark.sandbox
@needs_sandbox
def test_looking_takes_less_than_a_millisecond(place: LocalPlace, machines: LocalMachines):
    place.started()
    took = []
    for _ in range(200):
        begun = time.thread_time()  # of this thread's own: others are at work on this machine
        machines.look(INSTANCE_ID, 1)
        took.append(time.thread_time() - begun)
    assert sorted(took)[100] < 0.001


def test_a_start_that_has_the_lock_and_no_record_yet_is_not_up(place: LocalPlace, machines: LocalMachines):
    place.instance_dir.mkdir(parents=True)
    (place.instance_dir / "launch.json").write_bytes(msgspec.json.encode(place.spec(generation=3)))
    with (place.instance_dir / "launcher.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machines.look(INSTANCE_ID, 3).state is MachineState.ABSENT
        assert machines.find_all() == {INSTANCE_ID: 3}


def codes(place: LocalPlace) -> Path:
    made = place.instance_dir / "run" / "codes"
    made.mkdir(parents=True)
    return made


def test_a_code_is_written_whole_with_its_expiry(place: LocalPlace, machines: LocalMachines):
    folder = codes(place)
    machines.admit(INSTANCE_ID, HASH, LATER)
    [code] = folder.iterdir()
    assert code.name == HASH
    assert datetime.fromisoformat(code.read_text(encoding="ascii")) == LATER
    assert code.stat().st_mode & 0o777 == 0o600


@pytest.mark.root
@needs_root
def test_as_root_a_code_belongs_to_the_instances_owner(place: LocalPlace, machines: LocalMachines):
    folder = codes(place)
    os.chown(folder, 23_456, 23_456)
    machines.admit(INSTANCE_ID, HASH, LATER)
    assert (folder / HASH).stat().st_uid == 23_456


@pytest.mark.parametrize("link", ["run", "run/codes"])
def test_a_code_follows_no_link_that_a_hostile_owner_laid(place: LocalPlace, machines: LocalMachines, link: str):
    codes(place)
    victim = place.folder / "victim"
    (victim / "codes").mkdir(parents=True)
    (place.instance_dir / link).rename(place.instance_dir / "aside")
    (place.instance_dir / link).symlink_to(victim)
    with pytest.raises(MachineUnavailableError):
        machines.admit(INSTANCE_ID, HASH, LATER)
    assert [path for path in victim.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("code_hash", ["../x", "AB" * 32, "", "ab" * 31])
def test_what_is_no_hash_is_no_file_name(place: LocalPlace, machines: LocalMachines, code_hash: str):
    folder = codes(place)
    with pytest.raises(MachineUnavailableError):
        machines.admit(INSTANCE_ID, code_hash, LATER)
    assert list(folder.iterdir()) == []


def test_nobody_is_admitted_to_what_does_not_run(machines: LocalMachines):
    with pytest.raises(MachineUnavailableError):
        machines.admit(INSTANCE_ID, HASH, LATER)


def test_the_log_is_read_on_and_from_its_tail(place: LocalPlace, machines: LocalMachines):
    assert machines.read_log(INSTANCE_ID, 0, 10) == ((), 0)
    assert machines.log_tail_offset(INSTANCE_ID, 5) == 0
    place.instance_dir.mkdir(parents=True)
    log = place.instance_dir / "jupyter.log"
    log.write_text("".join(f"line {number}\n" for number in range(30_000)) + "\x1b[2Jhalf", encoding="utf-8")
    for count in (1, 3, 29_000):
        offset = machines.log_tail_offset(INSTANCE_ID, count)
        lines, following = machines.read_log(INSTANCE_ID, offset, 100_000)
        assert (len(lines), lines[-1], lines[0]) == (count, "line 29999", f"line {30_000 - count}")
        assert following == log.stat().st_size - len("\x1b[2Jhalf")
    assert machines.log_tail_offset(INSTANCE_ID, 50_000) == 0
    with log.open("a", encoding="utf-8") as file:
        file.write("\n")
    assert machines.read_log(INSTANCE_ID, following, 10)[0] == ("[2Jhalf",)
    log.write_text("anew\n", encoding="utf-8")
    assert machines.read_log(INSTANCE_ID, following, 10) == (("anew",), 5)


def test_the_sandbox_is_tried_once_and_only_root_may_trust_it(machines: LocalMachines):
    seen = machines.sandbox()
    assert seen.name == sandbox_name()
    assert seen.is_trusted == (seen.name is not None and os.geteuid() == 0)
    assert machines.sandbox() is seen


def test_a_launcher_that_cannot_be_asked_is_no_sandbox_or_unavailable(place: LocalPlace):
    broken = place.folder / "python"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    seen = LocalMachines(place.data_dir, python=str(broken)).sandbox()
    assert (seen.name, seen.is_trusted) == (None, False)
    assert "broken" in seen.why
    with pytest.raises(MachineUnavailableError):
        LocalMachines(place.data_dir, python="/nowhere/python").sandbox()
    with pytest.raises(MachineUnavailableError):
        LocalMachines(place.data_dir, python=str(broken)).end_orphan(INSTANCE_ID, is_for_good=True)


@pytest.mark.sandbox
@needs_sandbox
def test_the_token_is_in_no_log_record_argument_or_environment(place: LocalPlace, machines: LocalMachines):
    place.started()
    token = machines.token(INSTANCE_ID)
    for path in place.instance_dir.iterdir():
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path
    for process in [*place.processes(), psutil.Process(place.record().pid)]:
        assert token not in " ".join(process.cmdline()) + json.dumps(process.environ())


@pytest.mark.sandbox
@needs_sandbox
def test_a_look_at_the_environments_files_says_nothing_of_a_container(place: LocalPlace, machines: LocalMachines):
    place.started()
    check = ImageCheck(checked_at=LATER, digest="sha256:1", is_full=True, files=1, bytes_read=1, drifted=0)
    (place.data_dir / "images").mkdir(exist_ok=True)
    write_whole(place.data_dir / "images" / f"{image_key(place.image)}.check.json", msgspec.json.encode(check))
    assert machines.image_check(INSTANCE_ID) == check
    place_before = place.record()
    contained = msgspec.structs.replace(place_before, sandbox="podman")
    write_whole(place.instance_dir / "launcher.json", msgspec.json.encode(contained))
    assert machines.image_check(INSTANCE_ID) is None
    write_whole(place.instance_dir / "launcher.json", msgspec.json.encode(place_before))


@pytest.mark.sandbox
@pytest.mark.root
@needs_root
@needs_sandbox
def test_how_full_a_home_is_is_seen_while_it_runs_and_when_it_does_not(place: LocalPlace, machines: LocalMachines):
    assert machines.home(INSTANCE_ID) is None
    place.started(disk_gib=2)
    before = machines.home(INSTANCE_ID)
    assert before is not None
    assert before.limit_bytes is not None
    assert before.used_bytes is not None
    assert (1.9 * 2**30 < before.limit_bytes < 2 * 2**30, before.is_full) == (True, False)
    (place.home / "big").write_bytes(bytes(64 << 20))
    after = machines.home(INSTANCE_ID)
    assert after is not None
    assert 64 << 20 <= (after.used_bytes or 0) - before.used_bytes < 70 << 20
    with (place.home / "all").open("wb") as file, pytest.raises(OSError, match="No space left"):
        os.posix_fallocate(file.fileno(), 0, 2 << 30)
    full = machines.home(INSTANCE_ID)
    assert full is not None
    assert full.is_full
    place.stop()
    wait_until(lambda: place.loop_devices() == [])  # what was written is in the file then
    stopped = machines.home(INSTANCE_ID)
    assert stopped is not None
    assert (stopped.limit_bytes, stopped.is_full) == (2 << 30, False)
    assert (stopped.used_bytes or 0) >= 64 << 20
    place.remove()
    assert machines.home(INSTANCE_ID) is None


def test_a_home_that_is_a_folder_says_that_it_has_no_limit(place: LocalPlace, machines: LocalMachines):
    place.home_dir.mkdir(parents=True)
    seen = machines.home(INSTANCE_ID)
    assert seen is not None
    assert (seen.used_bytes, seen.limit_bytes) == (None, None)
    assert seen.words
