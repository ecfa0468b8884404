"""Processes of the platform die at the worst moment: they come back, nothing is lost, nothing is billed twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from typing import Any

import httpx
import pytest

from e2e.jupyter import status_of
from e2e.outside import SMALL, Outside, instances, needs_everything
from e2e.processes import arguments, is_alive, listening_ports, start_time, touching, wait_until
from e2e.ssh import ssh_options

pytestmark = needs_everything

CHILDREN = ("api", "scheduler", "gateway", "index", "scan")


def kill(outside: Outside, name: str) -> int:
    """Kill a process of the platform (-9) and return the pid it had."""
    pid = outside.pid(name)
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_for_another(outside: Outside, name: str, old: int) -> int:
    """Wait until the process has a successor that has said it is ready; return its pid."""
    return wait_until(
        lambda: (pid := outside.pid(name)) not in {0, old} and is_alive(pid) and pid, 40, f"another {name}"
    )


def settle(outside: Outside, name: str) -> Any:
    """Wait until nothing moves, and return the instance: running, or failed with a reason."""

    def look() -> Any:
        with contextlib.suppress(httpx.TransportError):
            seen = outside.get(name)
            return seen if seen["status"] in {"running", "failed"} else None
        return None

    return wait_until(look, 75, f"{name} that is running or failed")


def check_one_life(outside: Outside, name: str) -> None:
    """Check that one launch left one machine, one history without holes, and a bill that agrees with it."""
    seen = settle(outside, name)
    launchers = [
        pid
        for pid in touching(outside.folder / "instances" / seen["id"])
        if "nightingale_build.launcher" in arguments(pid)
    ]
    history = outside.history(name)
    assert [entry["seq"] for entry in history] == list(range(1, len(history) + 1))
    if seen["status"] == "running":
        assert len(launchers) == 1
        assert [entry["after"] for entry in history].count("running") == 1
    else:
        assert seen["reason"]["code"]
        assert seen["reason"]["next_step"]
    outside.act(name, "delete")
    outside.until(seen["id"], "terminated")
    outside.settled_usage(seen["id"])
    wait_until(lambda: not touching(outside.folder / "instances" / seen["id"]), 30, "no process of the instance")


def test_the_api_is_killed_right_after_it_accepted_a_launch(outside: Outside) -> None:
    outside.api()
    outside.launch("accepted")
    old = kill(outside, "api")
    wait_for_another(outside, "api", old)
    check_one_life(outside, "accepted")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_the_api_is_killed_somewhere_in_a_launch(outside: Outside, seed: int) -> None:
    moment = random.Random(seed).uniform(0.0, 0.06)  # noqa: S311 - a seeded moment, no secret
    name, body = f"somewhere-{seed}", {"size": SMALL, "request_id": f"seed-{seed}"}
    outside.api()
    old = outside.pid("api")
    with httpx.Client(base_url=outside.url, headers=outside.api().headers, trust_env=False) as client:
        pid = os.fork()
        if pid == 0:
            time.sleep(moment)  # the moment is what this test is about
            os.kill(old, signal.SIGKILL)
            os._exit(0)
        with contextlib.suppress(httpx.TransportError):
            client.post(instances(), json=body | {"name": name})
        os.waitpid(pid, 0)
    wait_for_another(outside, "api", old)
    # The person asks again, as the client does: the same request makes no second instance.
    again = outside.ask("POST", instances(), json=body | {"name": name})
    assert len([one for one in outside.ask("GET", instances())["instances"] if one["name"] == name]) == 1
    assert again["name"] == name
    check_one_life(outside, name)


def test_the_scheduler_is_killed_while_an_instance_starts(outside: Outside) -> None:
    outside.api()
    outside.launch("starting")
    old = kill(outside, "scheduler")
    wait_for_another(outside, "scheduler", old)
    check_one_life(outside, "starting")


def test_scheduler_and_gateway_are_killed_while_an_instance_runs(outside: Outside) -> None:
    running = outside.run_one("stays")
    process = outside.jupyter_pid(running["id"])
    began = start_time(process)
    before = outside.ask("GET", "/v1/gateway")
    entries = len(outside.history("stays"))
    old = kill(outside, "scheduler")
    wait_for_another(outside, "scheduler", old)
    old = kill(outside, "gateway")
    wait_for_another(outside, "gateway", old)
    assert outside.ask("GET", "/v1/gateway") == before  # port and host key: what people have pinned stays true
    assert status_of(outside, "stays") == 200
    assert start_time(process) == began
    assert len(outside.history("stays")) == entries


def test_the_supervisor_is_killed_and_the_platform_started_again(outside: Outside) -> None:
    running = outside.run_one("stays")
    process = outside.jupyter_pid(running["id"])
    began = start_time(process)
    pinned = ssh_options(outside, "ada")
    children = [outside.pid(name) for name in CHILDREN]
    kill(outside, "supervisor")
    wait_until(lambda: not any(map(is_alive, children)), 30, "children that end with their supervisor")
    assert outside.status()["is_up"] is False
    assert start_time(process) == began
    outside.up()
    assert ssh_options(outside, "ada") == pinned
    assert status_of(outside, "stays") == 200
    assert start_time(process) == began
    history = outside.history("stays")
    assert [entry["after"] for entry in history].count("running") == 1
    assert outside.get("stays")["status"] == "running"


def test_the_platform_ends_and_comes_back_and_instances_run_on(outside: Outside) -> None:
    running = outside.run_one("stays")
    process = outside.jupyter_pid(running["id"])
    began = start_time(process)
    done = outside.local("down", "--json")
    assert json.loads(done.stdout) == {"is_up": False, "running_instances": 1}
    status = outside.status()
    assert (status["is_up"], status["processes"]) == (False, [])
    assert [one["id"] for one in status["instances"]] == [running["id"]]
    assert start_time(process) == began
    outside.up()
    assert outside.until("stays", "running")["id"] == running["id"]
    assert start_time(process) == began
    assert [entry["after"] for entry in outside.history("stays")].count("running") == 1
    outside.act("stays", "stop")
    outside.until("stays", "stopped")
    outside.act("stays", "delete")
    outside.until(running["id"], "terminated")
    outside.settled_usage(running["id"])  # an hour of an instance that still is closes with the hour


def test_status_tells_the_truth(outside: Outside) -> None:
    status = outside.status()
    assert status["is_up"] is True
    assert [one["name"] for one in status["processes"]] == ["supervisor", *CHILDREN]
    for one in status["processes"]:
        assert is_alive(one["pid"])
        assert 5 < one["memory_mib"] < 500
        assert one["port"] is None or one["port"] in listening_ports()
    ports = {one["name"]: one["port"] for one in status["processes"]}
    assert status["url"] == f"http://127.0.0.1:{ports['api']}"
    assert ports["gateway"] == outside.ask("GET", "/v1/gateway")["port"]


def test_a_second_start_on_the_same_folder_changes_nothing(outside: Outside) -> None:
    before = outside.status()
    outside.up()
    in_front = outside.local("up")
    assert in_front.returncode == 1
    assert "already runs" in in_front.stderr
    assert "hint:" in in_front.stderr
    pids = [(one["name"], one["pid"]) for one in outside.status()["processes"]]
    assert pids == [(one["name"], one["pid"]) for one in before["processes"]]
