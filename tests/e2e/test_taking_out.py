"""A dataset of tier 2 on a platform that runs: no way that we know takes a byte of it out, and the tries are on record.

What `nightingale demo --check` counts is worked out anew here: own requests, own commands, own list of records.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.jupyter import run_cell
from e2e.outside import PROJECT, SMALL, Outside, instances, needs_everything
from e2e.processes import wait_until
from e2e.ssh import ssh_options, tunnel

pytestmark = [
    *needs_everything,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a dataset of tier 2 needs the root profile"),
    pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="e2fsprogs is not on this machine"),
]
SCAN = "data/demo-sensitive/ct.dcm"
COPY = """
import json, pathlib, shutil
home, data = pathlib.Path.home(), pathlib.Path("/data/demo-sensitive")
shutil.copy(data / "ct.dcm", home / "mine.txt")
(home / "many.csv").write_text((data / "table.csv").read_text() * 20_000)
shown = {"output_type": "stream", "name": "stdout", "text": (data / "table.csv").read_text()}
cell = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": "", "outputs": [shown]}
(home / "shown.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
print((home / "many.csv").stat().st_size)
"""


@pytest.fixture(scope="module")
def vault(outside: Outside) -> dict[str, Any]:
    """A running instance of tier 2 beside another one; skipped with the platform's words where nothing watches."""
    outside.launch("other")
    body = {"name": "vault", "size": SMALL, "datasets": ["demo-sensitive"]}
    outside.ask("POST", instances(), status=202, json=body)
    outside.until("other", "running")
    wait_until(lambda: outside.get("vault")["status"] in {"running", "failed"}, 40, "an instance of tier 2")
    seen: dict[str, Any] = outside.get("vault")
    if seen["reason"] is not None and seen["reason"]["code"] == "observer_unavailable":
        pytest.skip(seen["reason"]["words"])
    assert (seen["status"], seen["tier"]) == ("running", 2), seen["reason"]
    return seen


def scan(outside: Outside) -> bytes:
    return (outside.folder / "datasets" / "demo-sensitive" / "1" / "ct.dcm").read_bytes()


def wait_for(outside: Outside, stream: str, wanted: Counter[tuple[str, str]]) -> None:
    """Wait until these refusals, by tag and what was tried, are in the stream under ada's name."""

    def missing() -> Counter[tuple[str, str]]:
        seen = Counter(
            (one["tag"], one["detail"].get("path", one["detail"].get("what", "")))
            for one in outside.audit(stream)
            if one["actor"] == "ada"
        )
        return wanted - seen

    wait_until(lambda: not missing(), 10, f"records of {wanted}")


def test_no_file_and_no_copy_leaves_by_jupyter_and_each_try_names_who_and_what(
    outside: Outside, vault: dict[str, Any]
) -> None:
    assert int(run_cell(outside, "vault", COPY)) > 1 << 20
    token = outside.ask("POST", instances("vault", "jupyter"), status=201)["token"]
    whole = scan(outside)
    refused = {
        f"/files/{SCAN}": "contents:download:refused",
        "/files/mine.txt": "contents:download:refused",
        "/files/many.csv": "contents:download:refused",
        f"/api/contents/{SCAN}?format=base64": "contents:contents_read:refused",
        "/api/contents/mine.txt?type=file&format=base64": "contents:contents_read:refused",
        "/api/contents/many.csv": "contents:contents_read:refused",
    }
    absent = ["/nbconvert/html/shown.ipynb?download=true", "/nbconvert/script/shown.ipynb", "/api/terminals"]
    headers = {"Authorization": f"token {token}"}
    with (
        tunnel(outside, "vault") as port,
        httpx.Client(base_url=f"http://localhost:{port}", headers=headers, trust_env=False, timeout=20) as client,
    ):
        said = {path: client.get(path) for path in (*refused, *absent)}
        said["terminal"] = client.post("/api/terminals", json={"name": "1"})
    assert {path: said[path].status_code for path in refused} == dict.fromkeys(refused, 403)
    assert {path: said[path].status_code for path in (*absent, "terminal")} == dict.fromkeys((*absent, "terminal"), 404)
    for answer in said.values():
        assert whole[:64] not in answer.content
        assert base64.b64encode(whole[:63]) not in answer.content
        assert b"troponin" not in answer.content
    names = (path.partition("?")[0].removeprefix("/files/").removeprefix("/api/contents/") for path in refused)
    wait_for(outside, vault["id"], Counter(zip(refused.values(), names, strict=True)))


def test_nothing_of_it_is_copied_through_the_gateway(outside: Outside, vault: dict[str, Any], tmp_path: Path) -> None:
    options = ssh_options(outside, "ada")
    own = outside.folder / "instances" / vault["id"] / "run" / "jupyter.sock"
    got = tmp_path / "got"
    commands = {
        "command cat": ["ssh", *options, "any", "cat", f"/{SCAN}"],
        "subsystem sftp": ["sftp", *options, f"any:/{SCAN}", str(got)],
        "command scp": ["scp", "-O", *options, f"any:/{SCAN}", str(got)],
        "remote forward localhost:0": ["ssh", *options, "-N", "-R", "0:127.0.0.1:9", "any"],
    }
    for command in (*commands.values(), ["ssh", *options, "-W", "vault:22", "any"]):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
        assert done.returncode != 0, command
        assert done.stdout == b""
    assert not got.exists()
    assert own.is_socket()
    wait_for(outside, "platform", Counter({("channel:open:refused", what): 1 for what in commands}))
    ports = [one for one in outside.audit() if one["subject"] == "vault" and one["detail"].get("port") == "22"]
    assert [(one["tag"], one["actor"]) for one in ports] == [("channel:open:refused", "ada")]


CELL = """
import json, os, socket
told = json.loads(TOLD)
let = []
def attempt(act):
    try:
        let.append(str(act()))
    except OSError:
        pass
for path in told["paths"]:
    attempt(lambda: os.stat(path))
for port in told["ports"]:
    attempt(lambda: socket.create_connection(("127.0.0.1", port), 2))
attempt(lambda: socket.create_connection(("192.0.2.1", 443), 2))
attempt(lambda: open("/data/demo-sensitive/ct.dcm", "ab"))
attempt(lambda: open("/data/demo-sensitive/new", "wb"))
with socket.socket(socket.AF_UNIX) as one:
    one.connect(os.environ["NIGHTINGALE_RUN"] + "/packages.sock")
    one.sendall(b"GET /simple/s001-troponin-1-40/ HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    status = one.recv(100).split()[1].decode()
print(json.dumps({"let": let, "package": status}))
"""


def test_a_cell_finds_no_way_around_the_sandbox(outside: Outside, vault: dict[str, Any]) -> None:
    before = scan(outside)
    other = outside.get("other")["id"]
    own, theirs = (outside.folder / "instances" / one for one in (vault["id"], other))
    paths = [own / "reads", own / "shipper.token", theirs, theirs / "run" / "jupyter.sock", outside.folder / "audit"]
    paths += [outside.folder / "homes" / other, outside.folder / "nightingale.db", outside.folder / "datasets"]
    assert all(path.exists() for path in paths)
    ports = [int(outside.url.rpartition(":")[2]), outside.ask("GET", "/v1/gateway")["port"]]
    told = json.dumps({"paths": [str(path) for path in paths], "ports": ports})
    said = json.loads(run_cell(outside, "vault", CELL.replace("TOLD", repr(told))))
    assert said == {"let": [], "package": "403"}
    assert scan(outside) == before

    def recorded() -> bool:
        return any(
            (one["tag"], one["actor"], one["detail"].get("package"))
            == ("package:get:refused", "ada", "s001-troponin-1-40")
            for one in outside.audit(vault["id"])
        )

    wait_until(recorded, 10, "a record of the package")
    for stream in (vault["id"], f"reads-{vault['id']}", "platform"):
        assert outside.ask("GET", f"/v1/admin/audit/{stream}/verification", "grace")["first_bad"] is None
    assert vault["project"] == PROJECT
