"""`nightingale demo --check --json`: one JSON object, an exit status that tells the truth, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.outside import COMMAND, needs_everything
from e2e.processes import end_all, touching, wait_until

pytestmark = needs_everything

KEYS = {
    "ok": bool,
    "launch_to_ready_s": float,
    "terraform_s": float,
    "jupyter_start_s": float,
    "tunnel_status": int,
    "cell_output": str,
    "crash_detected_s": float,
    "usage_seconds": int,
    "history_seconds": int,
    "cost": str,
    "currency": str,
    "left_over_processes": int,
    "observer": dict,
    "audit_verified": bool,
    "steps": list,
}


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ng-e2e-") as made:
        yield Path(made)
        left = end_all(Path(made))
    assert not left, f"left over: {left}"


def play(scratch: Path, *more: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), "TMPDIR": str(scratch)} | environ
    return subprocess.run(
        [COMMAND, "demo", *more],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_check_holds_and_reports_it_in_one_object(scratch: Path) -> None:
    done = play(scratch, "--check", "--json")
    report = json.loads(done.stdout)  # one document and nothing else
    assert done.returncode == 0, done.stderr
    assert report["ok"] is True
    assert {name: type(report[name]) for name in KEYS} == KEYS
    assert (report["tunnel_status"], report["cell_output"], report["left_over_processes"]) == (200, "(128, 128)", 0)
    assert report["crash_detected_s"] <= 2
    assert report["usage_seconds"] == report["history_seconds"] > 0
    assert float(report["cost"]) > 0
    assert report["launch_to_ready_s"] == pytest.approx(report["terraform_s"] + report["jupyter_start_s"], abs=0.01)
    assert report["audit_verified"] is True
    if os.geteuid() == 0:  # an ordinary account may not watch what others read
        assert report["observer"]["name"] in {"fanotify", "fanotify-open", "fuse", "fuse-open"}
        (read,) = report["reads"]
        assert read["path"] == "demo-scans/ct/CT_small.dcm"
        assert read["ranges"] == [[0, read["bytes"]]]
        assert set(report["forbidden"]) == {"tried", "refused", "recorded"}
        doors = report["forbidden_by_door"]
        assert set(doors) == {"jupyter", "gateway", "file system"}
        for name, count in report["forbidden"].items():
            assert sum(door[name] for door in doors.values()) == count
        for door in doors.values():
            assert door["tried"] == door["refused"] >= door["recorded"] == door["recordable"] > 0
        assert report["forbidden_reason"] is None
    else:
        assert report["observer"]["name"] is None
        assert report["observer"]["words"]
        assert report["reads"] is None
        assert report["forbidden"] is None
        assert "tier 2" in report["forbidden_reason"]
    for step in report["steps"]:
        assert set(step) == {"name", "seconds", "ok"}
        assert step["ok"] is True
        assert step["name"] in done.stderr  # progress
    wait_until(lambda: not touching(scratch), 10, "no process of the platform")
    assert list(scratch.iterdir()) == []


def test_a_check_that_fails_says_so_by_its_status_and_cleans_up_too(scratch: Path) -> None:
    done = play(scratch, "--check", "--json", NIGHTINGALE_TERRAFORM="/nonexistent/terraform")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["left_over_processes"]) == (1, False, 0)
    assert [step["name"] for step in report["steps"] if not step["ok"]] == ["launch"]
    assert "terraform_missing" in done.stderr
    assert list(scratch.iterdir()) == []
