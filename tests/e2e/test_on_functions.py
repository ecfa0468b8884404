"""The whole job on the second host, and what that host does unasked: its timers, and the ends of builds."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.outside import COMMAND, needs_everything
from e2e.processes import end_all, wait_until
from nightingale.adapters.sqlite import open_store
from nightingale.adapters.system_clock import SystemClock
from nightingale.ports.store import StoreUnavailableError
from nightingale.services.leases import lease_key
from nightingale.services.records import SHARDS

pytestmark = needs_everything


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ng-e2e-") as made:
        yield Path(made)
        left = end_all(Path(made))
    assert not left, f"left over: {left}"


def play(scratch: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), "TMPDIR": str(scratch)}
    return subprocess.run(
        [COMMAND, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150,
        check=False,
    )  # fmt: skip


@pytest.mark.timeout(200)
def test_the_whole_job_holds_on_functions(scratch: Path) -> None:
    done = play(scratch, "demo", "--check", "--json", "--host", "functions")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["host"] == "functions"
    assert report["usage_seconds"] == report["history_seconds"] > 0


@pytest.mark.timeout(200)
def test_the_timers_run_and_the_log_says_where_the_queue_is(scratch: Path) -> None:
    folder = scratch / "d"
    began = play(scratch, "local", "up", "--dir", str(folder), "--port", "0", "--detach", "--host", "functions")
    assert began.returncode == 0, began.stderr
    store = open_store(folder / "nightingale.db", SystemClock())
    try:

        def are_leased() -> bool:
            try:
                return all(store.get(lease_key(shard)) is not None for shard in range(SHARDS))
            except StoreUnavailableError:  # the platform writes at this moment
                return False

        wait_until(
            are_leased, 100, "a watcher's leases"
        )  # a watcher begins at every half minute, and takes all that nobody has
    finally:
        store.close()
        assert play(scratch, "local", "down", "--dir", str(folder)).returncode == 0
    lines = (folder / "run" / "logs" / "api.log").read_text("utf-8").splitlines()
    messages = [json.loads(line)["message"] for line in lines]
    assert any("the queue is in this process" in message for message in messages)
    assert "a function failed" not in messages


def test_a_host_that_nobody_knows_is_refused_in_words(scratch: Path) -> None:
    refused = play(scratch, "local", "up", "--dir", str(scratch / "d"), "--host", "flask")
    assert refused.returncode == 2
    assert "functions" in refused.stderr
