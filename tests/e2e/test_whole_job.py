"""The whole job, worked out from outside: what the platform says is compared with /proc, files and our own clock."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from e2e.jupyter import run_cell, status_of
from e2e.outside import IMAGE_PYTHON, PROJECT, Outside, instances, moment, needs_everything
from e2e.processes import PROC, arguments, descendants, environment, is_alive, touching, wait_until

pytestmark = needs_everything

LIMITS = """
import json, os, resource
print(json.dumps({"cores": len(os.sched_getaffinity(0)), "data": resource.getrlimit(resource.RLIMIT_DATA)[0]}))
"""
READ_KEPT = "import pathlib; print(pathlib.Path.home().joinpath('kept.txt').read_text())"
CGROUPS = Path("/sys/fs/cgroup")
GIB = 2**30


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the test's own clock is what the bill is compared with


def lasting(outside: Outside) -> set[int]:
    """Return the processes of the platform, but for the one that now and then looks at the image's files."""
    return {pid for pid in touching(outside.folder) if "check-image" not in arguments(pid)}


def limits_seen(outside: Outside, name: str) -> dict[str, int]:
    seen: dict[str, int] = json.loads(run_cell(outside, name, LIMITS))
    return seen


def test_a_life_of_launch_crash_retry_resize_stop_start_delete_is_billed_to_the_second(  # noqa: PLR0915 - one life, in order
    outside: Outside,
) -> None:
    before = lasting(outside)
    began = time.monotonic()
    instance_id = outside.launch("life")
    running = outside.until("life", "running")
    assert time.monotonic() - began < 30
    assert running["allowed_actions"]
    assert running["reason"] is None
    run_cell(outside, "life", "import pathlib; pathlib.Path.home().joinpath('kept.txt').write_text('kept')")
    small = limits_seen(outside, "life")

    # A crash, seen against our own clock.
    time.sleep(1.5)  # let some seconds of use stand on the bill
    victim = outside.jupyter_pid(instance_id)
    killed_at = now()
    os.kill(victim, signal.SIGKILL)
    while (failed := outside.get("life"))["status"] != "failed":
        assert now() - killed_at < timedelta(seconds=2), "the crash was not seen within two seconds"
    print(f"a crash was seen after {(now() - killed_at).total_seconds():.1f} s")  # noqa: T201 - a figure, under -s
    reason = failed["reason"]
    assert (reason["code"], bool(reason["words"]), bool(reason["next_step"])) == ("jupyter_killed", True, True)
    log = (outside.folder / "instances" / instance_id / "jupyter.log").read_text().splitlines()
    assert reason["log_tail"]
    assert [line.strip() for line in reason["log_tail"]] == [line.strip() for line in log[-len(reason["log_tail"]) :]]
    crash = outside.history("life")[-1]
    assert (crash["event"], crash["after"]) == ("crashed", "failed")
    assert abs(moment(crash["billed_until"]) - killed_at) <= timedelta(seconds=2)
    assert not is_alive(victim)

    outside.act("life", "retry")
    outside.until("life", "running")
    outside.act("life", "resize", {"cpu": "m", "memory": "m"})
    resized = outside.until("life", "running")
    assert (resized["size"]["cpu"], resized["size"]["memory"]) == ("m", "m")
    large = limits_seen(outside, "life")
    assert (small["data"], large["data"]) == (2 * GIB, 4 * GIB)
    assert small["cores"] == 1
    assert large["cores"] == min(2, len(os.sched_getaffinity(0)))

    outside.act("life", "stop")
    outside.until("life", "stopped")
    nothing_more = lambda: lasting(outside) <= before  # noqa: E731 - looked at twice
    wait_until(nothing_more, 10, "a stopped instance that holds no process")
    outside.act("life", "start")
    outside.until("life", "running")
    assert run_cell(outside, "life", READ_KEPT) == "kept"
    with outside.home(instance_id) as home:
        assert (home / "kept.txt").read_text() == "kept"

    launcher = outside.launcher_pid(instance_id)
    outside.act("life", "delete")
    outside.until(instance_id, "terminated")
    assert list((outside.folder / "homes").glob(f"*{instance_id}*")) == []
    assert not is_alive(launcher)
    wait_until(nothing_more, 10, "a deleted instance that holds no process")
    assert outside.api().get(f"/v1/projects/{PROJECT}/instances/life").status_code == 404

    history = outside.history(instance_id)
    assert [entry["seq"] for entry in history] == list(range(1, len(history) + 1))
    assert all(moment(one["at"]) <= moment(two["at"]) for one, two in itertools.pairwise(history))
    assert [one["after"] for one in history] == [two["before"] for two in history[1:]] + ["terminated"]
    seconds = outside.settled_usage(instance_id)
    assert seconds >= 1
    records = outside.usage_records(instance_id)
    usage = outside.ask("GET", f"/v1/projects/{PROJECT}/usage")
    (line,) = (one for one in usage["by_instance"] if one["key"] == instance_id or "life" in one["key"])
    assert line["compute_seconds"] == seconds
    by_hand = sum((Decimal(one["quantity"]) * Decimal(one["price_per_hour"]) / 3600 for one in records), Decimal())
    stated = sum((Decimal(one["list_cost"]) for one in records), Decimal())
    assert abs(by_hand - stated) < Decimal("0.000002") * len(records)
    assert len({one["price_per_hour"] for one in records}) == 2  # the two sizes it had


def test_a_cell_reads_the_scan_that_pydicom_reads_directly(outside: Outside) -> None:
    outside.run_one("reader")
    expression = "int(scan.pixel_array.sum()), scan.pixel_array.shape, str(scan.PatientName)"
    cell = (
        "import os, pathlib, pydicom\n"
        "scan = pydicom.dcmread(pathlib.Path(os.environ['NIGHTINGALE_DATA'], 'demo-scans', 'ct/CT_small.dcm'))\n"
        f"print({expression})"
    )
    scan = outside.folder / "datasets" / "demo-scans" / "1" / "ct" / "CT_small.dcm"
    program = f"import sys, pydicom; scan = pydicom.dcmread(sys.argv[1]); print({expression})"
    command = [str(IMAGE_PYTHON), "-I", "-c", program, str(scan)]
    direct = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout.strip()
    assert run_cell(outside, "reader", cell) == direct
    assert "(128, 128)" in direct


def test_a_tunnel_lets_in_who_has_the_token_and_nobody_else(outside: Outside) -> None:
    outside.run_one("reader")
    assert status_of(outside, "reader") == 200
    token = outside.ask("POST", instances("reader", "jupyter"), status=201)["token"]
    assert status_of(outside, f"reader.{PROJECT}", token) == 200
    assert status_of(outside, "reader", "wrong") == 403


def test_datasets_cannot_be_written_and_the_network_is_not_there(outside: Outside) -> None:
    outside.run_one("reader")
    cell = """
import os, pathlib, socket
try:
    pathlib.Path(os.environ["NIGHTINGALE_DATA"], "demo-scans", "MANIFEST").write_text("mine")
except OSError as error:
    print(type(error).__name__, end=" ")
try:
    socket.create_connection(("127.0.0.1", PORT), timeout=2)
except OSError as error:
    print("cut")
""".replace("PORT", outside.url.rpartition(":")[2])
    first, second = run_cell(outside, "reader", cell).split()
    assert first in {"OSError", "PermissionError"}
    assert second == "cut"


def test_each_limit_that_is_shown_is_really_set(outside: Outside) -> None:
    shown = {one["resource"]: one for one in outside.run_one("reader")["limits"]}
    assert set(shown) == {"cpu", "memory", "disk", "gpu"}
    pid = outside.jupyter_pid(outside.get("reader")["id"])
    for limit in shown.values():
        assert limit["enforced_by"] is not None or limit["why"], limit  # what is not enforced says why
    entries = [line.split(":", 2)[1:] for line in (PROC / str(pid) / "cgroup").read_text().splitlines()]
    groups = {name: path for names, path in entries for name in names.split(",")}
    assert f"Max data size             {2 * GIB}" in (PROC / str(pid) / "limits").read_text()
    assert len(os.sched_getaffinity(pid)) == 1
    if shown["memory"]["enforced_by"] == "cgroup":
        unified = CGROUPS / groups.get("", "/").lstrip("/") / "memory.max"
        old = CGROUPS / "memory" / groups.get("memory", "/").lstrip("/") / "memory.limit_in_bytes"
        assert int((unified if unified.exists() else old).read_text()) == 2 * GIB
    else:
        assert shown["memory"]["enforced_by"] == "RLIMIT_DATA"


def test_no_secret_stands_in_a_command_line_an_environment_or_a_log(outside: Outside) -> None:
    instance_id = outside.run_one("reader")["id"]
    secrets = {
        "token": (outside.folder / "instances" / instance_id / "secret" / "jupyter.token").read_text().strip(),
        "session": outside.token("ada"),
        "operator": (outside.folder / "secrets" / "operator.token").read_text().strip(),
        "gateway": (outside.folder / "secrets" / "gateway.token").read_text().strip(),
        "index": (outside.folder / "secrets" / "index.token").read_text().strip(),
    }
    pids = [outside.pid(name) for name in ("supervisor", "api", "scheduler", "gateway", "index", "scan")]
    for pid in {*pids, *descendants(outside.launcher_pid(instance_id))}:
        seen = " ".join(arguments(pid)) + environment(pid)
        assert not [name for name, secret in secrets.items() if secret in seen], pid
    patterns = ("run/logs/*", "builds/*/*", "instances/*/*.log")
    logs = [path for pattern in patterns for path in outside.folder.glob(pattern)]
    assert len(logs) > 5
    for log in logs:
        written = log.read_text(errors="replace")
        assert not [name for name, secret in secrets.items() if secret in written], log


def test_nobody_else_of_this_machine_can_read_what_the_platform_keeps(outside: Outside) -> None:
    outside.run_one("reader")
    for name in ("", "secrets", "run", "instances", "builds", "homes", "audit"):
        assert (outside.folder / name).stat().st_mode & 0o077 == 0 or name not in {"", "secrets"}, name
    for path in (*outside.folder.glob("secrets/*"), *outside.folder.glob("instances/*/secret/*")):
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_a_second_apply_of_the_demo_changes_nothing(outside: Outside) -> None:
    assert outside.say("local", "apply-demo", "--dir", str(outside.folder))["changes"] == []


@pytest.mark.parametrize("command", [["ps"], ["show", "reader"], ["cost"], ["sizes"], ["whoami"], ["logs", "reader"]])
def test_the_command_line_says_the_same_as_the_api(outside: Outside, command: list[str]) -> None:
    running = outside.run_one("reader")
    said = json.dumps(outside.say(*command, person="ada"))
    assert {"ps": running["id"], "show": running["id"], "whoami": "ada"}.get(command[0], "") in said
    assert outside.token("ada") not in said
