"""Launchers, sandboxes and starters that are killed: nothing that they had begun goes on without them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, needs_root, needs_sandbox, wait_until
from nightingale_build.launcher.orphans import end_marked

pytestmark = [pytest.mark.sandbox, needs_sandbox]


def begin(place: LocalPlace, generation: int = 1) -> subprocess.Popen[bytes]:
    """Begin a start and do not wait for it."""
    told = msgspec.json.encode(place.spec(generation=generation)).decode()
    return subprocess.Popen(
        place.command("start"),
        env=place.environment(NIGHTINGALE_LAUNCH=told),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("moment_s", [0.0, 0.005, 0.01, 0.02, 0.04])
def test_a_sandbox_killed_while_it_is_made_leaves_nothing(place: LocalPlace, moment_s: float):
    """bwrap binds the sandbox's life to its own late: whoever kills it before leaves a sandbox on its own."""
    starting = begin(place)
    bwrap = wait_until(lambda: place.running("bwrap"))[0]
    time.sleep(moment_s)  # the moment is what this test is about
    bwrap.kill()
    starting.wait(20)
    assert place.ended().generation == 1
    wait_until(lambda: place.processes() == [])


@pytest.mark.parametrize("moment_s", [0.0, 0.01, 0.02])
def test_a_launcher_killed_before_its_word_leaves_no_sandbox_in_the_making(place: LocalPlace, moment_s: float):
    starting = begin(place)
    wait_until((place.instance_dir / "launcher.json").exists)
    time.sleep(moment_s)  # the moment is what this test is about
    psutil.Process(place.record().pid).kill()
    if starting.wait(20) == 0:  # it had given its word: whatever comes next ends what it left
        assert place.stop().returncode == 0
    wait_until(lambda: place.processes() == [])


def test_a_server_whose_starter_was_killed_is_ended_again(place: LocalPlace):
    """The build has failed by then: nobody would know of the server. One that was heard just before stays, rightly."""
    for generation in range(1, 11):
        starting = begin(place, generation)
        wait_until(partial(is_recorded, place, generation))
        starting.kill()
        if starting.wait(20) != 0 and is_empty_soon(place):
            break
        assert place.stop().returncode == 0
    else:
        pytest.fail("a server whose starter was killed went on each time")
    assert place.stop().returncode == 0
    place.started(generation=11)


def is_recorded(place: LocalPlace, generation: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return place.record().generation == generation
    return False


def is_empty_soon(place: LocalPlace) -> bool:
    """Return whether nothing runs any more within some seconds."""
    try:
        wait_until(lambda: place.processes() == [], 4.0)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("command", ["stop", "remove", "start"])
def test_what_a_killed_launcher_left_is_ended_by_whatever_comes_next(place: LocalPlace, command: str):
    place.started()
    place.stop()
    # A launcher that was killed wrote no exit record; what it had started a moment before goes on.
    (place.instance_dir / "exit.json").unlink()
    left = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], "NIGHTINGALE_INSTANCE": INSTANCE_ID})
    other = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], "NIGHTINGALE_INSTANCE": "i-someothers"})
    try:
        done = place.start(generation=2) if command == "start" else getattr(place, command)()
        assert done.returncode == 0, done.stderr
        assert left.wait(5) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


BECOMING = """
import os, sys, time
print("forked", flush=True)
time.sleep(0.3)  # as one that is not given the processor
os.execve("/bin/sleep", ["sleep", "600"], {"NIGHTINGALE_INSTANCE": sys.argv[1]})
"""


def test_what_a_killed_launcher_had_forked_and_was_no_other_program_yet_is_waited_for_and_ended():
    """It has let go of the launcher's lock by then, and shows nothing but the launcher's own environment."""
    told = {"NIGHTINGALE_LAUNCH": json.dumps({"instance_id": INSTANCE_ID})}
    command = [sys.executable, "-I", "-c", BECOMING, INSTANCE_ID]
    with subprocess.Popen(command, env=told, stdout=subprocess.PIPE, start_new_session=True) as forked:
        assert forked.stdout is not None
        assert forked.stdout.readline() == b"forked\n"
        try:
            end_marked(INSTANCE_ID)
            assert forked.wait(5) == -signal.SIGKILL
        finally:
            forked.kill()


@pytest.mark.root
@needs_root
def test_a_killed_launchers_control_groups_go_with_the_instance(place: LocalPlace):
    place.started()
    groups = [path for path in Path("/sys/fs/cgroup").glob(f"**/nightingale/{INSTANCE_ID}") if path.is_dir()]
    psutil.Process(place.record().pid).kill()
    wait_until(lambda: place.processes() == [])
    assert place.remove().returncode == 0
    assert [path for path in groups if path.exists()] == []
