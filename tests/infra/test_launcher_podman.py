"""The launcher with podman: the same life as in bubblewrap, and nothing left however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from infra.containers import CONTAINER, UID, Contained, podman, require_container
from infra.local_place import INSTANCE_ID, LocalPlace, has_ended, wait_until
from nightingale.contract.build import LaunchMount
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher.podman import find_image

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.sandbox, pytest.mark.timeout(150)]


@pytest.fixture
def contained(place: LocalPlace) -> Contained:
    require_container()
    return Contained(place)


def test_a_start_runs_the_container_as_its_owner_and_a_stop_leaves_nothing(contained: Contained) -> None:
    contained.run()
    record = contained.place.record()
    assert record.sandbox == "podman"
    assert record.image_digest == "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", CONTAINER).strip()
    server = contained.server()
    assert (server.uids().real, server.uids().effective) == (UID, UID)
    assert contained.containers() == [INSTANCE_ID]
    assert contained.place.stop().returncode == 0
    ended = contained.place.ended()
    assert (ended.code, ended.exit_code) == (ReasonCode.ASKED, 0)
    assert (contained.processes(), contained.containers(), contained.mounts()) == ([], [], [])
    assert groups_left() == []


def test_the_same_start_twice_does_nothing_and_a_later_one_replaces_it(contained: Contained) -> None:
    contained.run()
    first = contained.server()
    assert contained.start().returncode == 0
    assert first.is_running()
    contained.run(generation=2)
    assert has_ended(first)
    assert contained.place.record().generation == 2
    assert contained.containers() == [INSTANCE_ID]


def test_a_stop_in_the_middle_of_a_start_is_one_that_was_asked_for_and_leaves_nothing(contained: Contained) -> None:
    assert contained.start().returncode == 0
    wait_until(lambda: contained.processes("podman"))
    assert contained.place.stop().returncode == 0
    ended = contained.place.ended()
    assert (ended.code, ended.is_asked) == (ReasonCode.ASKED, True)
    assert (contained.processes(), contained.containers(), contained.mounts()) == ([], [], [])


def test_a_killed_jupyter_is_found_and_said(contained: Contained) -> None:
    contained.run()
    contained.server().kill()
    ended = contained.place.ended()
    assert (ended.code, ended.signal, ended.is_asked) == (ReasonCode.JUPYTER_KILLED, signal.SIGKILL, False)
    contained.wait_until_gone()
    wait_until(lambda: contained.containers() == [])
    assert contained.mounts() == []


@pytest.mark.parametrize("program", ["podman", "conmon", "unshare"])
def test_whoever_of_podmans_is_killed_the_container_ends_with_it(contained: Contained, program: str) -> None:
    contained.run()
    [killed] = contained.processes(program)
    killed.kill()
    assert contained.place.ended().code == ReasonCode.JUPYTER_KILLED
    contained.wait_until_gone()
    wait_until(lambda: contained.containers() == [])
    assert contained.mounts() == []
    contained.run(generation=2)


def test_a_killed_launcher_takes_the_container_with_it_at_once_and_the_next_start_works(contained: Contained) -> None:
    """Nobody would watch what it reads: this is the kernel's doing, nobody has to come by and clean up."""
    contained.run()
    os.kill(contained.place.record().pid, signal.SIGKILL)
    contained.wait_until_gone()
    assert contained.mounts() == []
    assert not (contained.place.instance_dir / "exit.json").exists()
    contained.run(generation=2)
    assert contained.containers() == [INSTANCE_ID]
    os.kill(contained.place.record().pid, signal.SIGKILL)
    assert contained.place.remove().returncode == 0
    contained.wait_until_gone()
    assert (contained.containers(), groups_left()) == ([], [])


@pytest.mark.parametrize("program", ["unshare", "podman", "conmon"])
def test_a_launcher_killed_while_the_container_is_made_leaves_nothing(contained: Contained, program: str) -> None:
    assert contained.start().returncode == 0
    wait_until(lambda: contained.processes(program))
    os.kill(contained.place.record().pid, signal.SIGKILL)
    contained.wait_until_gone()
    assert contained.place.stop().returncode == 0
    assert (contained.processes(), contained.containers(), contained.mounts()) == ([], [], [])
    contained.run(generation=2)


def test_the_limits_of_its_size_hold_in_the_container(contained: Contained) -> None:
    contained.run(cores=1)
    limits = {limit["resource"]: limit for limit in contained.place.record().limits}
    assert limits["container"] == {"resource": "container", "limit": CONTAINER, "enforced_by": "podman", "why": ""}
    assert json.loads((contained.place.instance_dir / "run" / "limits.json").read_text())[-1]["resource"] == "container"
    server = contained.server()
    for controller in ("cpu", "memory"):
        if limits[controller]["enforced_by"] == "cgroup":
            assert f"/nightingale/{INSTANCE_ID}/" in str(group_of(server, controller))
    assert len(server.cpu_affinity() or []) == 1
    said = Path(f"/proc/{server.pid}/limits").read_text(encoding="ascii")
    set_to = {line[:26].strip(): line[26:].split()[:2] for line in said.splitlines()}
    assert set_to["Max data size"] == [str(1 << 30)] * 2
    assert set_to["Max core file size"] == ["0", "0"]
    assert set_to["Max processes"] == ["4096", "4096"]


def test_a_container_whose_memory_is_used_up_says_so(contained: Contained) -> None:
    contained.run(memory_mib=512)
    if contained.place.record().limits[1]["enforced_by"] != "cgroup":
        pytest.skip("no control group for memory can be made here")
    server = contained.server()
    group = group_of(server, "memory") / "cgroup.procs"
    Path(f"/proc/{server.pid}/oom_score_adj").write_text(
        "1000", encoding="ascii"
    )  # or the one that eats is ended first
    eat = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('0'); eaten = bytearray(1 << 30)"
    with subprocess.Popen([sys.executable, "-c", eat, str(group)]) as eater:
        ended = contained.place.ended()
        eater.kill()
    assert (ended.code, ended.signal) == (ReasonCode.OUT_OF_MEMORY, signal.SIGKILL)


def groups_left() -> list[Path]:
    """Return the control groups of the instance that are there, of version 1 or 2."""
    root = Path("/sys/fs/cgroup")
    return [*root.glob(f"*/nightingale/{INSTANCE_ID}"), *root.glob(f"nightingale/{INSTANCE_ID}")]


def group_of(process: psutil.Process, controller: str) -> Path:
    """Return the folder of the control group that the process is in, of version 1 or 2."""
    for line in Path(f"/proc/{process.pid}/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}")
    return Path(f"/sys/fs/cgroup{path}")


def test_a_dataset_is_there_and_a_tier_that_nobody_watches_is_refused(contained: Contained) -> None:
    source = contained.place.data_dir / "datasets" / "ct" / "1"
    source.mkdir(parents=True)
    (source / "slice.dcm").write_text("a slice")
    mount = LaunchMount(dataset="ct", version="1", tier=0, source=str(source))
    (contained.place.data_dir / "observer").write_text("none", encoding="ascii")
    contained.run(datasets=(mount,))
    assert "mounted read-only before this container started: ct" in contained.log()
    assert "reads are not watched" in contained.log()
    strict = msgspec.structs.replace(mount, tier=2)
    refused = contained.start(generation=2, tier=2, datasets=(strict,))
    assert refused.returncode == 1
    assert json.loads(refused.stderr.splitlines()[-1])["code"] == "observer_unavailable"
    assert (contained.processes(), contained.containers()) == ([], [])


def test_without_the_image_it_runs_in_bubblewrap_and_says_why(contained: Contained) -> None:
    seen = contained.place.started(container="localhost/nobody-built-this:1", owner_uid=UID)
    assert seen["uid"] == UID
    record = contained.place.record()
    assert record.sandbox == "bubblewrap"
    assert (record.limits[-1]["resource"], record.limits[-1]["enforced_by"]) == ("container", None)
    why = str(record.limits[-1]["why"])
    assert "Podman has no image localhost/nobody-built-this:1 (./run image builds it)" in why
    assert why.endswith("It runs from the environment.")


def test_what_podman_said_of_an_image_is_remembered_until_its_store_changes(contained: Contained) -> None:
    name = f"localhost/nightingale-launcher-test:{INSTANCE_ID}"
    spec = contained.place.spec(container=name)
    contained.place.instance_dir.parent.mkdir(parents=True)
    missing = find_image(spec)
    assert missing is not None
    assert missing.digest is None
    podman("tag", CONTAINER, name)
    try:
        found = find_image(spec)
        assert found is not None
        assert found.digest == "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", name).strip()
        [remembered] = contained.place.instance_dir.parent.glob(".container-*")
        assert found.digest in remembered.read_text(encoding="utf-8")
        assert find_image(spec) == found
    finally:
        podman("untag", name, name)
    assert find_image(spec) == missing


def test_a_path_that_podman_would_read_as_two_is_not_given_to_it(contained: Contained) -> None:
    found = find_image(contained.place.spec(container=CONTAINER, home_dir="/srv/a:b/homes/x"))
    assert found is not None
    assert (found.digest, "colon" in found.why) == (None, True)


def test_an_image_that_names_no_container_asks_podman_nothing(contained: Contained) -> None:
    assert find_image(contained.place.spec()) is None
