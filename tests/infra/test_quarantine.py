"""Quarantine of real sandboxes: what runs stands still, whoever held it dies, and goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.containers import Contained, require_container
from infra.local_place import INSTANCE_ID, LocalPlace, needs_root, needs_sandbox, wait_until
from nightingale.adapters.local_machines import LocalMachines
from nightingale.contract.vocabulary import ReasonCode
from nightingale.ports.machines import MachineState
from nightingale_build.launcher.freezing import Freezer

pytestmark = [pytest.mark.sandbox, pytest.mark.slow, needs_sandbox]

COUNTING = """
import os
home = os.environ["NIGHTINGALE_HOME"]
number = 0
while True:
    number += 1
    with open(home + "/count.new", "w") as file:
        file.write(str(number))
    os.replace(home + "/count.new", home + "/count")
"""


@pytest.fixture
def machines(place: LocalPlace) -> LocalMachines:
    return LocalMachines(place.data_dir)


@pytest.fixture
def counting(place: LocalPlace) -> LocalPlace:
    """A place whose server has a busy child, in a session of its own as a kernel is, that counts in the home."""
    serve = next(Path(place.image).parent.parent.glob("lib/*/site-packages/nightingale_instance/serve.py"))
    text = serve.read_text(encoding="utf-8")
    child = f"subprocess.Popen([sys.executable, '-c', {COUNTING!r}, home.name], start_new_session=True)\n"
    serve.write_text(text.replace('(home / "starts")', f'{child}(home / "starts")', 1), encoding="utf-8")
    place.started()
    assert moves(place)
    return place


def count(place: LocalPlace) -> int:
    return int((place.home / "count").read_text(encoding="ascii"))


def moves(place: LocalPlace, seconds: float = 20.0) -> bool:
    """Return whether the counter moves within that time, as soon as it has."""
    wait_until((place.home / "count").exists)
    before, until = count(place), time.monotonic() + seconds
    while time.monotonic() < until:
        if count(place) != before:
            return True
        time.sleep(0.01)
    return False


def stands(place: LocalPlace) -> bool:
    """Return whether the counter stays where it is for a while."""
    return not moves(place, 1.0)


def answers(place: LocalPlace, seconds: float = 20.0) -> bool:
    """Return whether Jupyter answers at its socket, or where that was moved to."""
    for path in (place.instance_dir / "run" / "jupyter.sock", place.instance_dir / "shut.sock"):
        if not path.exists():
            continue
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(seconds)
            probe.connect(str(path))
            probe.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(TimeoutError):
                return b"200 OK" in probe.recv(4096)
    return False


def test_what_runs_stands_still_and_goes_on_where_it_was(counting: LocalPlace, machines: LocalMachines) -> None:
    jupyter = counting.instance_dir / "run" / "jupyter.sock"
    server = counting.server().pid
    for _ in range(2):
        machines.quarantine(INSTANCE_ID)
        assert stands(counting)
        assert not jupyter.exists()
    stood = count(counting)
    assert machines.look(INSTANCE_ID, 1).state is MachineState.UP
    for _ in range(2):
        machines.release(INSTANCE_ID)
        assert moves(counting)
    assert count(counting) > stood
    assert jupyter.exists()
    assert counting.server().pid == server
    counting.stop()


def test_without_a_control_group_every_process_is_stopped(counting: LocalPlace, tmp_path: Path) -> None:
    freezer = Freezer(INSTANCE_ID, counting.record().pid, sandbox="bubblewrap", root=tmp_path)
    assert freezer.freeze() == ""
    assert stands(counting)
    assert {one.status() for one in counting.processes()} == {psutil.STATUS_STOPPED}
    assert freezer.thaw() == ""
    assert moves(counting)
    counting.stop()


@pytest.mark.parametrize("ending", ["stop", "remove"])
def test_an_end_comes_through_what_is_frozen_and_is_no_crash(
    counting: LocalPlace, machines: LocalMachines, ending: str
) -> None:
    machines.quarantine(INSTANCE_ID)
    done = getattr(counting, ending)()
    assert done.returncode == 0, done.stderr
    assert counting.ended().code is ReasonCode.ASKED
    wait_until(lambda: counting.processes() == [])
    assert (counting.instance_dir / "quarantine").exists() is (ending == "stop")


def test_nothing_starts_in_it_and_what_is_frozen_stays(counting: LocalPlace, machines: LocalMachines) -> None:
    machines.quarantine(INSTANCE_ID)
    refused = counting.start(generation=2)
    assert refused.returncode == 1
    assert json.loads(refused.stderr)["code"] == "quarantined"
    assert stands(counting)
    assert counting.record().generation == 1
    counting.stop()
    assert counting.start(generation=2).returncode == 1
    machines.release(INSTANCE_ID)
    counting.started(generation=2)
    counting.stop()


def test_one_that_never_started_does_not_start_either(place: LocalPlace, machines: LocalMachines) -> None:
    machines.quarantine(INSTANCE_ID)
    assert place.start().returncode == 1
    machines.release(INSTANCE_ID)
    place.started()
    place.stop()


def test_a_launcher_that_is_killed_lets_nothing_go_on(counting: LocalPlace, machines: LocalMachines) -> None:
    machines.quarantine(INSTANCE_ID)
    psutil.Process(counting.record().pid).kill()
    wait_until(lambda: machines.look(INSTANCE_ID, 1).state is MachineState.GONE)
    assert stands(counting)
    machines.quarantine(INSTANCE_ID)
    assert counting.start(generation=2).returncode == 1
    assert stands(counting)
    machines.release(INSTANCE_ID)
    wait_until(lambda: counting.servers() == [])
    counting.started(generation=2)
    counting.stop()


@needs_root
def test_a_link_in_the_owners_folder_leads_nowhere(
    counting: LocalPlace, machines: LocalMachines, tmp_path: Path
) -> None:
    """The owner may put anything where the socket was: it is moved as it is, and never followed."""
    other = tmp_path / "other"
    other.write_text("kept", encoding="utf-8")
    jupyter = counting.instance_dir / "run" / "jupyter.sock"
    jupyter.unlink()
    jupyter.symlink_to(other)
    machines.quarantine(INSTANCE_ID)
    assert (counting.instance_dir / "shut.sock").is_symlink()
    machines.release(INSTANCE_ID)
    assert (jupyter.readlink(), other.read_text(encoding="utf-8")) == (other, "kept")
    counting.stop()


@needs_root
@pytest.mark.timeout(150)
def test_a_container_is_frozen_goes_on_and_ends(place: LocalPlace, machines: LocalMachines) -> None:
    require_container()
    contained = Contained(place)
    contained.run()
    server = contained.server()
    machines.quarantine(INSTANCE_ID)
    spent = server.cpu_times()
    assert not answers(place, 1.5)
    assert server.cpu_times() == spent
    assert not (place.instance_dir / "run" / "jupyter.sock").exists()
    machines.release(INSTANCE_ID)
    assert (place.instance_dir / "run" / "jupyter.sock").exists()
    assert answers(place)
    machines.quarantine(INSTANCE_ID)
    assert place.stop().returncode == 0
    assert place.ended().code is ReasonCode.ASKED
    assert (contained.processes(), contained.containers()) == ([], [])


def test_it_takes_a_moment(
    counting: LocalPlace, machines: LocalMachines, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    machines.quarantine(INSTANCE_ID)
    took = time.monotonic() - began
    assert stands(counting)
    assert took < 20.0, took  # 0.2 s on a machine with nothing else to do
    record_property("frozen_after_s", took)
    counting.stop()


def test_the_command_says_how_it_is_used(place: LocalPlace) -> None:
    done = subprocess.run(
        place.command("freeze"),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert "quarantine|release" in done.stderr
