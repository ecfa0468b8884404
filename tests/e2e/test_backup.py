"""A platform saved while it runs, and brought up again elsewhere while the first one runs on."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.outside import (
    IMAGE_PYTHON,
    PROJECT,
    Outside,
    billed_seconds,
    instances,
    moment,
    needs_everything,
    opened,
    prepared,
)
from e2e.processes import wait_until

pytestmark = needs_everything


@pytest.fixture
def first() -> Iterator[Outside]:
    with opened() as outside:
        yield outside


@pytest.fixture
def second() -> Iterator[Outside]:
    with prepared() as outside:
        yield outside


def bill(outside: Outside, instance_id: str) -> list[tuple[object, ...]]:
    records = outside.usage_records(instance_id)
    return sorted((one["hour"], one["revision"], one["quantity"], one["kind"]) for one in records)


def used(outside: Outside, name: str) -> int:
    """Return the seconds of compute so far, which are those of the history; hours that are not over have no records."""
    seconds = int(outside.get(name)["usage_seconds"])
    assert seconds == billed_seconds(outside.history(name))
    return seconds


def test_a_backup_made_while_it_runs_comes_up_elsewhere_with_the_same_bills(first: Outside, second: Outside) -> None:
    kept = first.launch("kept")
    first.until("kept", "running")
    with first.home(kept) as home:
        (home / "result.txt").write_text("42")
    first.act("kept", "stop")
    first.until("kept", "stopped")
    seconds = used(first, "kept")
    first.launch("alive")
    first.until("alive", "running")

    facts = first.audit()
    archive = first.folder.parent / "b.tar"
    done = first.local("backup", str(archive), "--with-homes", "--with-secrets", "--json")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert first.get("alive")["status"] == "running"  # it went on

    done = second.local("restore", str(archive))
    assert done.returncode == 0, done.stderr
    again = second.local("restore", str(archive))
    assert (again.returncode, "no empty folder" in again.stderr) == (1, True)

    # Its ports are still the first platform's.
    assert "port" in second.local("up", "--detach").stderr
    done = second.local("up", "--detach", "--port", "0")
    assert done.returncode == 0, done.stderr
    assert second.url != first.url
    until_gone(second, "alive")
    gone = second.get("alive")
    assert gone["reason"]["code"] == "machine_gone"
    assert gone["reason"]["next_step"]
    entry = second.history("alive")[-1]
    assert moment(entry["billed_until"]) <= moment(entry["at"])
    assert second.get("kept")["status"] == "stopped"
    assert second.history("kept") == first.history("kept")
    assert bill(second, kept) == bill(first, kept)
    assert used(second, "kept") == seconds
    used(second, "alive")
    assert first.get("alive")["status"] == "running"  # the other one ended nothing of ours
    assert second.audit()[: len(facts)] == facts

    check_life_goes_on(second, kept, first)


def until_gone(outside: Outside, name: str) -> None:
    with pytest.raises(AssertionError, match="machine_gone"):
        outside.until(name, "terminated")


def check_life_goes_on(outside: Outside, instance_id: str, other: Outside) -> None:
    """What was saved starts with its home and can be deleted, what is gone too; the first platform keeps its own."""
    restored = outside.folder / "homes" / instance_id
    assert (restored / "result.txt").read_text() == "42"
    outside.act("kept", "start")
    outside.until("kept", "running")
    with outside.home(instance_id) as home:
        assert (home / "result.txt").read_text() == "42"
    outside.act("kept", "delete")
    terminated(outside, instance_id)
    assert list(restored.parent.glob(f"*{instance_id}*")) == []
    with other.home(instance_id) as home:
        assert (home / "result.txt").read_text() == "42"
    gone = outside.get("alive")["id"]
    assert (outside.folder / "homes" / gone).is_dir()
    outside.act("alive", "delete")
    terminated(outside, gone)
    # No Terraform state came with it that would remove the home: a job does.
    wait_until(lambda: not (outside.folder / "homes" / gone).exists(), 40, "the deleted instance's home is gone")
    assert (other.folder / "homes" / gone).is_dir()


def terminated(outside: Outside, instance_id: str) -> None:
    assert outside.until(instance_id, "terminated")["status"] == "terminated"
    assert outside.ask("GET", instances(instance_id))["project"] == PROJECT


# --- upgrade ----------------------------------------------------------------------------------------------------------

CHECKOUT = Path(__file__).parents[2]
SOURCES = ("core/src", "tui/src", "infra/src", "backend-lambda", "backend-lambda/local")


@pytest.fixture
def previous(tmp_path: Path) -> Iterator[Path]:
    """The commit before this one, checked out beside."""
    tree = tmp_path / "previous"
    git = ["git", "-C", str(CHECKOUT), "worktree"]
    made = subprocess.run([*git, "add", "--detach", str(tree), "HEAD~1"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"the commit before is not here: {made.stderr.strip()}")
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


@pytest.mark.slow
def test_what_the_commit_before_wrote_is_taken_up_by_this_one(previous: Path) -> None:
    with prepared() as outside:
        ours = dict(outside.environment)
        # The commit before, run by the same interpreter: its folders stand before the installed ones.
        outside.environment |= {
            "PYTHONPATH": os.pathsep.join(str(previous / folder) for folder in SOURCES),
            "NIGHTINGALE_IMAGE_PYTHON": str(IMAGE_PYTHON),
        }
        done = outside.local("up", "--port", "0", "--detach")
        assert done.returncode == 0, done.stderr
        check_runs(outside, previous)
        assert outside.local("apply-demo").returncode == 0
        stopped = outside.launch("stopped")
        outside.until("stopped", "running")
        with outside.home(stopped) as home:
            (home / "result.txt").write_text("42")
        outside.act("stopped", "stop")
        outside.until("stopped", "stopped")
        seconds = used(outside, "stopped")
        runs = outside.launch("runs")
        outside.until("runs", "running")
        histories = {name: outside.history(name) for name in ("stopped", "runs")}
        before, facts = bill(outside, stopped), outside.audit()
        launcher = outside.launcher_pid(runs)
        assert outside.local("down").returncode == 0

        outside.environment = ours
        outside.up()
        check_runs(outside, CHECKOUT)
        assert outside.get("runs")["status"] == "running"  # the session of before is good, the instance ran on
        assert outside.launcher_pid(runs) == launcher
        assert {name: outside.history(name) for name in histories} == histories
        assert bill(outside, stopped) == before
        assert used(outside, "stopped") == seconds
        assert outside.audit()[: len(facts)] == facts
        outside.act("stopped", "start")
        outside.until("stopped", "running")
        with outside.home(stopped) as home:
            assert (home / "result.txt").read_text() == "42"
        for name, instance_id in (("runs", runs), ("stopped", stopped)):
            outside.act(name, "delete")
            terminated(outside, instance_id)


def check_runs(outside: Outside, checkout: Path) -> None:
    """Fail unless the API's process has the environment of this checkout, in which all of ours comes from there."""
    told = (Path("/proc") / str(outside.pid("api")) / "environ").read_bytes().split(b"\0")
    assert [one for one in told if one.startswith(b"PYTHONPATH=")] == [
        f"PYTHONPATH={path}".encode() for path in [outside.environment.get("PYTHONPATH")] if path
    ]
    names = ("nightingale.app.dispatch", "nightingale_local.child", "nightingale_gateway", "nightingale_build", "app")
    program = "import importlib, sys; [print(importlib.import_module(name).__file__) for name in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-c", program, *names],
        env=outside.environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(Path(line).is_relative_to(checkout) for line in done.stdout.split()), done.stdout
