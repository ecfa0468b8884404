"""What machines do to a platform: clocks that step, disks that fill, locks left behind, reboots. Real processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.outside import SMALL, Outside, billed_seconds, instances, moment, needs_everything, prepared
from e2e.processes import arguments, end_all, is_alive, touching, wait_until

pytestmark = [*needs_everything, pytest.mark.slow]

SHIFTED_CLOCK = """
import datetime, pathlib
from nightingale.adapters import system_clock

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        offset = int(pathlib.Path({path!r}).read_text() or 0)
        return datetime.datetime.now(tz) + datetime.timedelta(seconds=offset)

system_clock.datetime = Shifted
"""
"""What Python runs first in each process of the platform: its clock is off by the seconds in a file.

libfaketime 0.9.10 will not do: a step of the clock moves wall time only, and when it is told to leave the monotonic
clock alone, Python's sleep fails (EINVAL).
"""
HOUR = 3600


def failed(outside: Outside, name: str, seconds: float = 60) -> Any:
    """Wait until the instance has failed and return why; the reason has words and a next step."""
    seen = wait_until(lambda: (one := outside.get(name))["status"] == "failed" and one, seconds, f"{name} that failed")
    assert seen["reason"]["words"]
    assert seen["reason"]["next_step"]
    assert {"retry", "delete"} <= set(seen["allowed_actions"])
    return seen["reason"]


def start(outside: Outside) -> None:
    done = outside.local("up", "--port", "0", "--detach")
    assert done.returncode == 0, done.stderr
    done = outside.local("apply-demo")
    assert done.returncode == 0, done.stderr
    outside.api()


def remove(outside: Outside, name: str) -> list[Any]:
    """Delete it, check order, bill and processes, and return its history."""
    instance_id = outside.get(name)["id"]
    outside.act(name, "delete")
    outside.until(instance_id, "terminated")
    history = outside.history(instance_id)
    assert [entry["seq"] for entry in history] == list(range(1, len(history) + 1))
    times = [moment(entry["at"]) for entry in history]
    assert times == sorted(times)
    outside.settled_usage(instance_id)
    hours = [one["quantity"] for one in outside.usage_records(instance_id)]
    assert all(0 <= quantity <= HOUR for quantity in hours)
    wait_until(lambda: not touching(outside.folder / "instances" / instance_id), 30, "no process of the instance")
    return history


@pytest.fixture
def plain() -> Iterator[Outside]:
    with prepared() as outside:
        start(outside)
        yield outside


# --- the clock steps -------------------------------------------------------------------------------------------------


def steps_told(outside: Outside) -> list[float]:
    """Return the steps, in seconds, that the scheduler has told in its log."""
    lines = (outside.folder / "run" / "logs" / "scheduler.log").read_text().splitlines()
    return [one["seconds"] for one in map(json.loads, lines) if one.get("code") == "clock_stepped"]


def set_clock(path: Path, offset: int) -> None:
    """Let the platform's clock be off by so many seconds from now on, at once and whole."""
    new = path.with_name("clock.new")
    new.write_text(str(offset))
    new.rename(path)


def test_the_clock_steps_back_an_hour_and_forward_again() -> None:
    with prepared() as outside:
        root = outside.folder.parent
        clock, first = root / "clock", root / "first"
        first.mkdir()
        (first / "sitecustomize.py").write_text(SHIFTED_CLOCK.format(path=str(clock)))
        outside.environment["PYTHONPATH"] = str(first)
        set_clock(clock, 0)
        start(outside)
        instance_id = outside.run_one("clock")["id"]
        time.sleep(2)  # seconds that are billed
        set_clock(clock, -HOUR)
        wait_until(lambda: steps_told(outside), 15, "a step that is told")
        assert steps_told(outside)[0] == pytest.approx(-HOUR, abs=30)
        outside.launch("after")
        outside.until("after", "running")
        outside.act("clock", "stop")
        outside.until("clock", "stopped")
        assert billed_seconds(outside.history("clock")) >= 0
        outside.act("clock", "start")
        outside.until("clock", "running")
        os.kill(outside.jupyter_pid(instance_id), signal.SIGKILL)
        assert failed(outside, "clock", 20)["code"] == "jupyter_killed"  # seen at once, not in an hour
        outside.act("clock", "retry")
        outside.until("clock", "running")
        set_clock(clock, 0)
        wait_until(lambda: len(steps_told(outside)) > 1, 15, "the other step that is told")
        assert steps_told(outside)[-1] == pytest.approx(HOUR, abs=30)
        for name in ("clock", "after"):
            assert outside.get(name)["status"] == "running"
            history = remove(outside, name)
            assert all(entry["event"] != "deadline_passed" for entry in history)


# --- the disk is full ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(outside: Outside) -> Iterator[None]:
    """Let the platform's data lie on a disk of its own; end the platform before it goes."""
    folder = outside.folder
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=700", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        outside.local("down", "--instances")
        end_all(folder)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave not a byte on the disk within the block."""
    filler = folder / "filler"
    _fill(filler)
    try:
        yield
    finally:
        filler.unlink()


def is_told(answer: httpx.Response) -> None:
    """Check that a refusal names the full disk and what to do, and is no error of ours."""
    told = answer.json()
    assert (answer.status_code, told["code"]) == (503, "unavailable")
    assert "No space left on device" in told["message"] or "disk is full" in told["message"]
    assert "free some space" in told["message"].lower()
    assert told["next_step"]


def _fill(filler: Path) -> None:
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_the_disk_is_full_before_a_launch_during_a_build_and_while_it_runs() -> None:
    with prepared() as outside, small_disk(outside):
        start(outside)
        body = {"name": "full", "size": SMALL, "request_id": "again"}
        with full(outside.folder):
            answer = outside.api().post(instances(), json=body)
            if answer.is_success:  # it was small enough to be kept; then the build has no room
                assert failed(outside, "full")["code"] == "disk_full"
            else:
                assert answer.status_code == 503, answer.text
                is_told(answer)
        again = outside.ask("POST", instances(), json=body)
        if again["status"] == "failed":
            outside.act("full", "retry")
        outside.until("full", "running")
        assert len([one for one in outside.ask("GET", instances())["instances"] if one["name"] == "full"]) == 1

        with full(outside.folder):  # while it runs: what is kept stays, and is told
            time.sleep(7)  # metering and the watcher's notes meet the full disk
            assert outside.get("full")["status"] == "running"
            refused = outside.api().post(instances("full", "stop"))
            assert refused.status_code in {202, 503}, refused.text
        if refused.status_code == 503:
            is_told(refused)
            assert outside.get("full")["status"] == "running"
            outside.act("full", "stop")
        wait_until(lambda: outside.get("full")["status"] in {"stopped", "failed"}, 60, "a stop that ended")
        if outside.get("full")["status"] == "failed":
            assert outside.get("full")["reason"]["code"] == "disk_full"
            outside.act("full", "retry")
        outside.until("full", "stopped")

        outside.act("full", "start")  # during a build
        with full(outside.folder):
            time.sleep(4)  # the build goes on as far as it can
            assert outside.get("full")["status"] != "terminated"  # it answers

        wait_until(lambda: outside.get("full")["status"] in {"failed", "running"}, 90, "a build that ended")
        seen = outside.get("full")
        if seen["status"] == "failed":
            assert seen["reason"]["code"] == "disk_full", seen["reason"]
            outside.act("full", "retry")
            outside.until("full", "running")
        remove(outside, "full")


# --- the state is locked ---------------------------------------------------------------------------------------------


def kill_in_apply(outside: Outside, instance_id: str) -> None:
    """Kill Terraform and the build's runner (-9) while Terraform holds the lock of the state."""
    lock = outside.folder / "terraform" / instance_id / ".terraform.tfstate.lock.info"
    wait_until(lock.exists, 20, "a state that is locked")
    # Stopped first: an apply is soon over, and every process of the machine is read to find those that are meant.
    (runner,) = (int(one.read_text()) for one in outside.folder.glob("builds/*/pid") if is_alive(int(one.read_text())))
    os.killpg(runner, signal.SIGSTOP)
    try:
        assert lock.exists()
        pids = [
            pid
            for pid in touching(outside.folder)
            if (words := arguments(pid))
            and (Path(words[0]).name == "terraform" or ("nightingale_build" in words and "-m" in words))
        ]
        assert len(pids) >= 2, touching(outside.folder)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(runner, signal.SIGCONT)
    assert lock.exists()


def test_a_state_lock_left_by_a_killed_terraform_is_taken_over(plain: Outside) -> None:
    instance_id = plain.launch("locked")
    kill_in_apply(plain, instance_id)
    assert failed(plain, "locked")["code"] in {"build_lost", "jupyter_exited", "machine_gone"}
    plain.act("locked", "retry")
    plain.until("locked", "running")
    plain.act("locked", "stop")
    plain.until("locked", "stopped")
    folder = plain.folder / "terraform" / instance_id
    stale = {
        "ID": "b3f4",
        "Operation": "OperationTypeApply",
        "Who": "root@elsewhere",
        "Created": "2020-01-01T00:00:00Z",
    }
    (folder / ".terraform.tfstate.lock.info").write_text(json.dumps(stale))
    plain.act("locked", "start")
    plain.until("locked", "running")
    remove(plain, "locked")


def test_a_state_that_another_terraform_holds_fails_with_its_reason_and_a_retry_works(plain: Outside) -> None:
    instance_id = plain.run_one("held")["id"]
    with (plain.folder / "terraform" / instance_id / "terraform.tfstate").open("r+") as state:
        fcntl.lockf(state, fcntl.LOCK_EX)
        plain.act("held", "stop")
        reason = failed(plain, "held")
    assert reason["code"] == "state_locked"
    plain.act("held", "retry")
    plain.until("held", "stopped")
    remove(plain, "held")


# --- the machine is rebooted -----------------------------------------------------------------------------------------


def reboot(outside: Outside) -> None:
    """End every process at once, and let what was written down be of an earlier boot."""
    for _ in range(5):
        end_all(outside.folder)
        if not touching(outside.folder):
            break
    for record in (outside.folder / "instances").glob("*/launcher.json"):
        told = json.loads(record.read_text()) | {"boot_id": "00000000-0000-4000-8000-000000000000"}
        record.write_text(json.dumps(told))


def test_a_reboot_fails_what_ran_bills_it_until_it_was_last_seen_and_keeps_homes(plain: Outside) -> None:
    instance_id = plain.run_one("boot")["id"]
    with plain.home(instance_id) as home:
        (home / "note.txt").write_text("kept")
    plain.launch("young")  # in flight when the machine goes down
    time.sleep(11)  # the watcher writes down every ten seconds when each server last answered
    reboot(plain)
    with contextlib.suppress(httpx.TransportError):
        plain.api().get("/v1/health")
    off = time.monotonic()
    time.sleep(12)  # a machine that is off is not billed
    plain.up()
    reason = failed(plain, "boot")
    assert reason["code"] == "machine_rebooted"
    ended = plain.history("boot")[-1]
    assert moment(ended["at"]) - moment(ended["billed_until"]) >= timedelta(seconds=time.monotonic() - off - 20)
    assert moment(ended["at"]) - moment(ended["billed_until"]) >= timedelta(seconds=10)
    plain.act("boot", "retry")
    plain.until("boot", "running")
    with plain.home(instance_id) as home:
        assert (home / "note.txt").read_text() == "kept"
    remove(plain, "boot")
    wait_until(lambda: plain.get("young")["status"] in {"running", "failed"}, 70, "one in flight that settled")
    remove(plain, "young")
