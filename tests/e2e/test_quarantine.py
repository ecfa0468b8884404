"""Quarantine on a platform that runs: a busy kernel stands still, its tunnel ends, and it goes on where it was."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.jupyter import begin_cell, status_of
from e2e.outside import Outside, instances, moment, needs_everything
from e2e.processes import wait_until
from e2e.ssh import tunnel

pytestmark = needs_everything

PROMISED_S = 5.0
"""A gateway renews each lease after so long."""
PATIENCE_S = 25.0
"""On a loaded machine it may take longer; beyond a lease's end nothing excuses it."""

BUSY = """
import pathlib, threading, time
files = sorted(pathlib.Path("/data/demo-scans").rglob("*.dcm"))
def count():
    number = 0
    while True:
        number += 1
        pathlib.Path.home().joinpath("count.new").write_text(str(number))
        pathlib.Path.home().joinpath("count.new").replace(pathlib.Path.home() / "count")
        if number % 20 == 0:
            files[number // 20 % len(files)].read_bytes()
threading.Thread(target=count, daemon=True).start()
print("counting")
"""


def moves(counter: Path, seconds: float = 20.0) -> bool:
    """Return whether the counter moves within that time, as soon as it has."""
    before, until = counter.read_text(), time.monotonic() + seconds
    while time.monotonic() < until:
        if counter.read_text() != before:
            return True
        time.sleep(0.005)  # another machine's process offers nothing to wait on
    return False


def stands(counter: Path) -> bool:
    """Return whether the counter stays where it is for a while."""
    return not moves(counter, 1.5)


@pytest.fixture
def busy(outside: Outside, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """An instance with a kernel that counts and reads, and where it counts."""
    name = "-".join(request.node.name.split("_")[1:4])
    running = outside.run_one(name)
    assert begin_cell(outside, name, BUSY) == "counting"
    with outside.home(running["id"]) as home:
        wait_until((home / "count").exists, 20, "a counter")
        assert moves(home / "count")
        yield name, home / "count"
    outside.run("admin", "release", name, "--why", "the test is over", "--json", person="grace")


def put_in(outside: Outside, name: str) -> None:
    """Put it in quarantine, and return once its machine has followed, which administrators are told."""
    outside.ask("POST", instances(name, "quarantine"), "grace", status=200, json={"why": "it copies"})
    wait_until(
        lambda: outside.ask("GET", instances(name), "grace")["quarantine"]["settled_at"], PATIENCE_S, "a frozen machine"
    )


def read_at(outside: Outside, instance_id: str) -> datetime:
    """Return when the last read began of which the platform has a record."""
    kept = [fact for fact in outside.audit(f"reads-{instance_id}") if fact["tag"] == "dataset:read:recorded"]
    return max((moment(fact["at"]) for fact in kept), default=datetime.min.replace(tzinfo=UTC))


def test_a_busy_kernel_stands_still_its_tunnel_ends_and_it_goes_on_where_it_was(
    outside: Outside, busy: tuple[str, Path], record_property: Any
) -> None:
    name, counter = busy
    instance_id, server = outside.get(name)["id"], outside.jupyter_pid(outside.get(name)["id"])
    with tunnel(outside, name) as port, socket.create_connection(("127.0.0.1", port)) as through:
        through.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in through.recv(65536)
        asked, asked_at = time.monotonic(), datetime.now(UTC)  # noqa: TID251 - the records have the wall's time
        put_in(outside, name)
        frozen_after = time.monotonic() - asked
        assert stands(counter)
        through.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionResetError):
            while through.recv(65536):
                pass
        shut_after = time.monotonic() - asked
    record_property("frozen_after_s", round(frozen_after, 2))
    record_property("tunnel_shut_after_s", round(shut_after, 2))
    print(f"answered, frozen, after {frozen_after:.2f} s; tunnel shut after {shut_after:.2f} s")  # noqa: T201 - figures
    assert shut_after < PATIENCE_S

    # What was read up to then is still shipped, though nothing of the instance runs.
    if os.geteuid() == 0:
        wait_until(lambda: read_at(outside, instance_id) >= asked_at - timedelta(seconds=1), 20, "the last reads")

    # Every door is shut, to the owner, to the browser and to the tunnel.
    assert not (outside.folder / "instances" / instance_id / "run" / "jupyter.sock").exists()
    for action in ("jupyter", "stop", "start", "retry"):
        outside.ask("POST", instances(name, action), status=403)
    with tunnel(outside, name) as port, socket.create_connection(("127.0.0.1", port)) as through:
        through.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionResetError):
            assert through.recv(1) == b""
    shown = outside.get(name)
    assert (shown["status"], shown["unreachable_since"], shown["quarantine"]["why"]) == ("running", None, "")
    assert "quarantined" in outside.run("ps", person="ada").stdout

    stood = int(counter.read_text())
    released = outside.say("admin", "release", name, "--why", "a false alarm", person="grace")
    assert released["quarantine"]["released_why"] == "a false alarm"
    assert moves(counter)
    assert int(counter.read_text()) > stood
    assert outside.jupyter_pid(instance_id) == server
    assert status_of(outside, name) == 200
    assert outside.get(name)["unreachable_since"] is None


def test_a_launcher_killed_in_quarantine_wakes_nothing_and_the_quarantine_stays(
    outside: Outside, busy: tuple[str, Path]
) -> None:
    name, counter = busy
    put_in(outside, name)
    os.kill(outside.launcher_pid(outside.get(name)["id"]), signal.SIGKILL)
    failed = wait_until(lambda: (seen := outside.get(name))["status"] == "failed" and seen, 30, "a failure")
    assert (failed["is_quarantined"], failed["reason"]["code"]) == (True, "machine_gone")
    assert stands(counter)
    outside.ask("POST", instances(name, "retry"), status=403)
    outside.say("admin", "release", name, "--why", "seen", person="grace")
    outside.ask("POST", instances(name, "retry"), status=202)
    assert outside.until(name, "running")["is_quarantined"] is False


def test_it_outlasts_the_platform_and_an_administrator_may_stop_it(outside: Outside, busy: tuple[str, Path]) -> None:
    name, counter = busy
    put_in(outside, name)
    assert outside.local("down").returncode == 0
    assert stands(counter)
    outside.up()
    assert stands(counter)
    shown = wait_until(lambda: outside.get(name), 20, "an answer")
    assert (shown["status"], shown["is_quarantined"]) == ("running", True)
    outside.ask("POST", instances(name, "stop"), "grace", status=202)
    assert outside.until(name, "stopped")["is_quarantined"] is True
    outside.ask("POST", instances(name, "start"), status=403)
    outside.ask("DELETE", instances(name), "grace", status=409)
