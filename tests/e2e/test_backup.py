"""A platform saved while it runs, and brought up again elsewhere while the first one runs on."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.outside import PROJECT, Outside, instances, moment, needs_everything, opened, prepared
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


def test_a_backup_made_while_it_runs_comes_up_elsewhere_with_the_same_bills(first: Outside, second: Outside) -> None:
    kept = first.launch("kept")
    first.until("kept", "running")
    home = first.folder / "homes" / kept
    (home / "result.txt").write_text("42")
    first.act("kept", "stop")
    first.until("kept", "stopped")
    first.settled_usage(kept)
    alive = first.launch("alive")
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
    second.settled_usage(alive)
    assert first.get("alive")["status"] == "running"  # the other one ended nothing of ours
    assert second.audit()[: len(facts)] == facts

    check_life_goes_on(second, kept, first.folder / "homes" / kept)


def until_gone(outside: Outside, name: str) -> None:
    with pytest.raises(AssertionError, match="machine_gone"):
        outside.until(name, "terminated")


def check_life_goes_on(outside: Outside, instance_id: str, others_home: Path) -> None:
    """What was saved starts with its home and can be deleted, what is gone too; the first platform keeps its own."""
    home = outside.folder / "homes" / instance_id
    assert (home / "result.txt").read_text() == "42"
    outside.act("kept", "start")
    outside.until("kept", "running")
    outside.act("kept", "delete")
    terminated(outside, instance_id)
    assert not home.exists()
    assert (others_home / "result.txt").read_text() == "42"
    gone = outside.get("alive")["id"]
    assert (outside.folder / "homes" / gone).is_dir()
    outside.act("alive", "delete")
    terminated(outside, gone)
    # No Terraform state came with it that would remove the home: a job does.
    wait_until(lambda: not (outside.folder / "homes" / gone).exists(), 15, "the deleted instance's home is gone")
    assert (others_home.parent / gone).is_dir()


def terminated(outside: Outside, instance_id: str) -> None:
    assert outside.until(instance_id, "terminated")["status"] == "terminated"
    assert outside.ask("GET", instances(instance_id))["project"] == PROJECT
