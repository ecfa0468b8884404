"""The whole job on the second store."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles import dynamo_server
from e2e.outside import COMMAND, needs_everything
from e2e.processes import end_all

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
def test_the_whole_job_holds_on_dynamodb(scratch: Path) -> None:
    with dynamo_server.running() as url:
        done = play(scratch, "demo", "--check", "--json", "--store", "dynamodb", "--endpoint", url)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["store"] == "dynamodb"
    assert report["usage_seconds"] == report["history_seconds"] > 0


def test_a_platform_does_not_change_its_store_in_silence(scratch: Path) -> None:
    folder = str(scratch / "d")
    began = play(scratch, "local", "up", "--dir", folder, "--port", "0", "--detach")
    assert began.returncode == 0, began.stderr
    assert play(scratch, "local", "down", "--dir", folder).returncode == 0
    refused = play(scratch, "local", "up", "--dir", folder, "--detach", "--store", "dynamodb")
    assert refused.returncode == 1
    assert "keeps its items in sqlite" in refused.stderr


def test_an_endpoint_without_the_store_that_has_one_is_refused(scratch: Path) -> None:
    refused = play(scratch, "local", "up", "--dir", str(scratch / "d"), "--endpoint", "http://127.0.0.1:1")
    assert refused.returncode != 0
    assert "--store dynamodb" in refused.stderr
    assert not (scratch / "d").exists()
