"""Terraform that is missing or fails, images that are broken, servers that hang: failed, explained, mended by retry."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.outside import Outside, instances, moment, needs_everything, prepared
from e2e.processes import touching, wait_until

pytestmark = needs_everything

BROKEN = {"dies": "#!/bin/sh\necho cannot find the brain >&2\nexit 7\n", "hangs": "#!/bin/sh\nexec sleep 1000\n"}


@pytest.fixture(scope="module")
def broken() -> Iterator[Outside]:
    """A platform whose terraform is a program of ours, and whose cluster file has images that do not work."""
    with prepared() as outside:
        root = outside.folder.parent
        outside.environment["NIGHTINGALE_TERRAFORM"] = str(root / "terraform")
        done = outside.local("up", "--port", "0", "--detach")
        assert done.returncode == 0, done.stderr
        assert outside.local("apply-demo").returncode == 0
        cluster = outside.folder / "demo" / "cluster.yaml"
        images = ""
        for name, program in BROKEN.items():
            bin_folder = root / name / "bin"
            bin_folder.mkdir(parents=True)
            (bin_folder / "python").write_text(program)
            (bin_folder / "python").chmod(0o755)
            (root / name / "pyvenv.cfg").write_text("home = /usr/bin\n")
            images += f"  - name: {name}\n    local: {bin_folder / 'python'}\n"
        cluster.write_text(cluster.read_text().replace("\nimages:\n", f"\nimages:\n{images}", 1))
        root.chmod(0o755)
        assert outside.local("apply-demo").returncode == 0
        yield outside


def set_terraform(outside: Outside, program: str | None) -> None:
    path = Path(outside.environment["NIGHTINGALE_TERRAFORM"])
    path.unlink(missing_ok=True)
    if program is not None:
        path.write_text(program)
        path.chmod(0o755)


def work(outside: Outside) -> None:
    """Let terraform be the real one."""
    set_terraform(outside, '#!/bin/sh\nexec terraform "$@"\n')


def failure(outside: Outside, name: str) -> Any:
    """Wait until the instance has failed and return the reason."""
    seen = wait_until(lambda: (one := outside.get(name))["status"] == "failed" and one, 80, f"{name} that failed")
    assert seen["reason"]["words"]
    assert seen["reason"]["next_step"]
    assert {"retry", "delete"} <= set(seen["allowed_actions"])
    return seen["reason"]


def remove(outside: Outside, name: str) -> int:
    """Delete it, check that no process is left, and return the seconds it is billed for."""
    instance_id = outside.get(name)["id"]
    outside.act(name, "delete")
    outside.until(instance_id, "terminated")
    wait_until(lambda: not touching(outside.folder / "instances" / instance_id), 20, "no process of the instance")
    return outside.settled_usage(instance_id)


def test_terraform_missing_is_said_and_a_retry_after_installing_it_works(broken: Outside) -> None:
    set_terraform(broken, None)
    broken.launch("bare")
    reason = failure(broken, "bare")
    assert reason["code"] == "terraform_missing"
    assert "nstall Terraform" in reason["next_step"]
    work(broken)
    broken.act("bare", "retry")
    broken.until("bare", "running")
    broken.act("bare", "delete")


def test_terraform_that_fails_is_shown_with_its_words(broken: Outside) -> None:
    set_terraform(broken, "#!/bin/sh\necho 'Error: the sky has fallen' >&2\nexit 1\n")
    broken.launch("sky")
    reason = failure(broken, "sky")
    assert reason["code"] == "terraform_failed"
    assert "the sky has fallen" in str(reason)
    (build,) = broken.ask("GET", instances("sky", "builds"))["builds"]
    assert build["state"] == "failed"
    work(broken)
    assert remove(broken, "sky") == 0  # what never ran costs nothing


def test_a_server_that_dies_at_once_is_failed_with_its_last_words(broken: Outside) -> None:
    work(broken)
    broken.launch("dead", image="dies")
    reason = failure(broken, "dead")
    assert reason["code"] == "jupyter_exited"
    assert "cannot find the brain" in str(reason["log_tail"])
    assert remove(broken, "dead") == 0  # what never ran costs nothing


@pytest.mark.slow
def test_a_server_that_never_listens_is_failed_when_its_time_is_up(broken: Outside) -> None:
    work(broken)
    broken.launch("mute", image="hangs")
    assert failure(broken, "mute")["code"] == "start_timeout"
    assert remove(broken, "mute") == 0  # what never ran costs nothing


def test_an_image_that_is_not_there_is_failed_in_words(broken: Outside) -> None:
    work(broken)
    python = broken.folder.parent / "dies" / "bin" / "python"
    python.rename(python.with_name("away"))
    try:
        broken.launch("gone", image="dies")
        assert failure(broken, "gone")["code"] in {"image_unavailable", "jupyter_exited"}
    finally:
        python.with_name("away").rename(python)
    assert remove(broken, "gone") == 0  # what never ran costs nothing


def test_a_server_that_is_frozen_is_unreachable_and_comes_back(broken: Outside) -> None:
    work(broken)
    instance_id = broken.run_one("frozen")["id"]
    server = broken.jupyter_pid(instance_id)
    os.kill(server, signal.SIGSTOP)
    try:
        seen = wait_until(
            lambda: (one := broken.get("frozen"))["unreachable_since"] and one, 40, "silence that is seen"
        )
        assert seen["status"] == "running"
    finally:
        os.kill(server, signal.SIGCONT)
    wait_until(lambda: broken.get("frozen")["unreachable_since"] is None, 40, "an instance that came back")
    assert {"went_unreachable", "came_back"} <= {entry["event"] for entry in broken.history("frozen")}
    assert remove(broken, "frozen") > 0


@pytest.mark.slow
def test_a_server_that_stays_frozen_is_failed_and_billed_until_it_last_answered(broken: Outside) -> None:
    work(broken)
    instance_id = broken.run_one("frozen")["id"]
    # In whole seconds, as the platform tells time: it last answered in this second or the one before.
    frozen_at = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - the test's own clock is compared with the bill
    os.kill(broken.jupyter_pid(instance_id), signal.SIGSTOP)
    assert failure(broken, "frozen")["code"] == "unreachable"
    ended = broken.history("frozen")[-1]
    assert abs(moment(ended["billed_until"]) - frozen_at) <= timedelta(seconds=2)
    assert moment(ended["at"]) - moment(ended["billed_until"]) >= timedelta(seconds=30)
    assert remove(broken, "frozen") <= 3


def test_what_runs_when_everything_is_ended_ends_too(broken: Outside) -> None:
    """A build in the middle of its work starts no machine after `local down --instances` has returned."""
    work(broken)
    broken.launch("late")
    done = broken.local("down", "--instances", "--json")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not touching(broken.folder), 20, "no process of the platform or of an instance")
    broken.up()
    assert failure(broken, "late")["code"]
