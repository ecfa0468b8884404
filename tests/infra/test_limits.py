"""Limits of a size: what is planned, and what a control group's files say."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, needs_root, needs_sandbox, wait_until
from nightingale_build.launcher.home import HomeLimit
from nightingale_build.launcher.limits import MIB, Cgroup, choose_cpus, make_cgroup, plan_limits

NO_LIMIT = HomeLimit(None, "a folder")


def test_instances_begin_at_different_processors_and_never_get_more_than_there_are():
    permitted = [0, 1, 2, 3, 4, 5, 6, 7]
    firsts = {choose_cpus(f"i-{number:010}", 1, permitted) for number in range(40)}
    assert len(firsts) > 4
    assert len(choose_cpus("i-0000000001", 3, permitted)) == 3
    assert choose_cpus("i-0000000001", 99, permitted) == tuple(permitted)
    assert choose_cpus("i-0000000001", 2, []) == ()


def test_version_2_gets_one_group_with_its_limits(place: LocalPlace, tmp_path: Path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n", encoding="ascii")
    cgroup = make_cgroup(place.spec(cores=2, memory_mib=256), tmp_path)
    assert cgroup is not None
    folder = tmp_path / "nightingale" / INSTANCE_ID
    assert dict(cgroup.folders) == {"memory": folder, "cpu": folder, "pids": folder}
    assert (folder / "memory.max").read_text(encoding="ascii") == str(256 * MIB)
    assert (folder / "cpu.max").read_text(encoding="ascii") == "200000 100000"
    (folder / "memory.events").write_text("low 0\noom 3\noom_kill 2\n", encoding="ascii")
    assert cgroup.out_of_memory_kills() == 2


def test_version_1_gets_one_group_for_each_controller_there_is(place: LocalPlace, tmp_path: Path):
    for controller in ("memory", "cpu"):
        (tmp_path / controller).mkdir()
        (tmp_path / controller / "cgroup.procs").touch()
    cgroup = make_cgroup(place.spec(cores=2, memory_mib=256), tmp_path)
    assert cgroup is not None
    assert set(cgroup.folders) == {"memory", "cpu"}
    assert (cgroup.folders["cpu"] / "cpu.cfs_quota_us").read_text(encoding="ascii") == "200000"
    (cgroup.folders["memory"] / "memory.oom_control").write_text("oom_kill_disable 0\noom_kill 1\n", encoding="ascii")
    assert cgroup.out_of_memory_kills() == 1


def test_no_control_groups_are_no_error(place: LocalPlace, tmp_path: Path):
    assert make_cgroup(place.spec(), tmp_path) is None
    assert Cgroup({}).out_of_memory_kills() == 0
    plan = plan_limits(place.spec(), "none", NO_LIMIT, tmp_path)
    enforced = {str(limit["resource"]): limit["enforced_by"] for limit in plan.limits}
    assert enforced == {"cpu": "CPU affinity", "memory": "RLIMIT_DATA", "disk": None, "gpu": None}
    assert all(limit["why"] for limit in plan.limits)


def test_the_limits_hold_in_the_process_that_sets_them(place: LocalPlace, tmp_path: Path):
    plan = plan_limits(place.spec(memory_mib=300), "none", NO_LIMIT, tmp_path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        plan.apply()
        seen = (len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_DATA))
        os.write(writing, repr(seen).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == repr((1, (300 * MIB, 300 * MIB))).encode()


@pytest.mark.root
@pytest.mark.sandbox
@needs_root
@needs_sandbox
@pytest.mark.skipif(not Path("/sys/fs/cgroup/memory/cgroup.procs").exists(), reason="no memory control groups here")
def test_a_server_that_eats_its_memory_is_ended_and_the_cause_is_named(place: LocalPlace):
    """Shared memory is outside the data limit of a process: only the control group stops it."""
    place.wish(eat_mib=400)
    place.started(memory_mib=200)
    ended = place.ended(timeout_s=40)
    assert ended.code == "out_of_memory", ended
    assert "200 MiB" in ended.words
    wait_until(lambda: not Path(f"/sys/fs/cgroup/memory/nightingale/{INSTANCE_ID}").exists())
