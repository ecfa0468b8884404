"""An image that names a container, on a platform that runs: launch, a cell, its reads, a crash, a stop."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from e2e.jupyter import run_cell
from e2e.outside import Outside, needs_everything
from e2e.processes import wait_until
from infra.containers import CONTAINER, podman, require_container

pytestmark = [*needs_everything, pytest.mark.root]

CELL = """
import json, os, pathlib
import mne, nibabel, scipy.fft, pydicom
path = next(p for p in sorted(pathlib.Path("/data/demo-scans").rglob("*.dcm")))
pixels = pydicom.dcmread(path).pixel_array
print(json.dumps({
    "uid": os.getuid(), "home": str(pathlib.Path.home()), "peak": float(abs(scipy.fft.fft([0.0, 1.0])).max()),
    "read": str(path.relative_to("/data/demo-scans")), "is_array": pixels.ndim > 1,
    "nibabel": bool(nibabel.__version__),
}))
"""
ADA_UID = 20_001


@pytest.fixture(scope="module")
def boxed(outside: Outside) -> Any:
    """An instance of the demo's image that names the container."""
    require_container()
    return outside.run_one("boxed", image="notebook")


def launcher_of(outside: Outside, instance_id: str) -> Any:
    return json.loads((outside.folder / "instances" / instance_id / "launcher.json").read_text())


def containers(instance_id: str) -> list[str]:
    return podman("ps", "--all", "--filter", f"name={instance_id}", "--format", "{{.Names}}").split()


def test_a_cell_in_the_container_computes_as_the_person_and_its_reads_are_recorded_outside(
    outside: Outside, boxed: Any
) -> None:
    assert (boxed["sandbox"], containers(boxed["id"])) == ("podman", [boxed["id"]])
    assert boxed["image_digest"] == "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", CONTAINER).strip()
    seen = json.loads(run_cell(outside, "boxed", CELL))
    read = seen.pop("read")
    assert seen == {"uid": ADA_UID, "home": "/home/ada", "peak": 1.0, "nibabel": True, "is_array": True}
    if launcher_of(outside, boxed["id"])["observer"] is None:
        pytest.skip(launcher_of(outside, boxed["id"])["observer_words"])
    wait_until(lambda: read in paths_read(outside, "boxed"), 20, "the record of what the cell has read")


def paths_read(outside: Outside, name: str) -> set[str]:
    said = outside.say("reads", name, person="ada")
    return {one.get("path", "") for one in (said["reads"] if isinstance(said, dict) else said)}


def test_sensitive_data_is_read_in_the_container_too(outside: Outside, boxed: Any) -> None:
    assert boxed["sandbox"] == "podman"
    seen = outside.run_one("boxed-strict", image="notebook", datasets=["demo-sensitive"])
    assert (seen["sandbox"], seen["tier"]) == ("podman", 2)
    code = (
        "import pathlib; print(sum(len(p.read_bytes()) for p in pathlib.Path('/data').rglob('*') if p.is_file()) > 0)"
    )
    assert run_cell(outside, "boxed-strict", code) == "True"
    outside.act("boxed-strict", "delete")
    wait_until(lambda: containers(seen["id"]) == [], 20, "the container's end")


def test_a_crash_a_killed_launcher_a_retry_and_a_stop_leave_one_container_or_none(outside: Outside, boxed: Any) -> None:
    instance_id = boxed["id"]
    os.kill(server_of(instance_id), signal.SIGKILL)
    wait_until(lambda: outside.get("boxed")["status"] == "failed", 20, "the crash being found")
    assert outside.get("boxed")["reason"]["code"] == "jupyter_killed"
    outside.act("boxed", "retry")
    outside.until("boxed", "running")
    os.kill(outside.launcher_pid(instance_id), signal.SIGKILL)
    wait_until(lambda: outside.get("boxed")["status"] == "failed", 20, "the killed machine's failure")
    outside.act("boxed", "retry")
    outside.until("boxed", "running")
    assert containers(instance_id) == [instance_id]
    outside.act("boxed", "stop")
    outside.until("boxed", "stopped")
    assert containers(instance_id) == []
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    assert instance_id not in mounts


def server_of(instance_id: str) -> int:
    """Return the pid of the instance's Jupyter server, as this machine numbers it."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            mark = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"nightingale_instance.serve" in words and f"NIGHTINGALE_INSTANCE={instance_id}".encode() in mark:
            return int(process.name)
    pytest.fail("no Jupyter server of it runs")
