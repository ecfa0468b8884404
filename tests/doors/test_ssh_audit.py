"""What ssh-audit says of the running gateway, and that the people it is for still get in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles.gateway_api import FakeApi
from infra.gateway.conftest import GatewayProcess, Laptop

pytestmark = pytest.mark.slow  # each starts a gateway
SSH_AUDIT = Path(sys.executable).with_name("ssh-audit")
SOCKET = "/nonexistent/jupyter.sock"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    running: list[GatewayProcess] = []

    def make(api: FakeApi, **settings: Any) -> GatewayProcess:
        running.append(GatewayProcess(tmp_path, api.url, **{"connections_at_once": 10} | settings))
        return running[-1].wait_until_ready()

    yield make
    for gateway in running:
        assert gateway.stop() == 0
        assert not [line for line in gateway.raw_log if "raceback" in line]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    made = FakeApi(SOCKET)
    yield made
    made.stop()


def audit(gateway: GatewayProcess) -> tuple[int, Any]:
    """Return exit status and report; its test of how fast connections are greeted is part of it."""
    command = [str(SSH_AUDIT), "--json", "--port", str(gateway.port), "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, json.loads(done.stdout)


def complaints(report: Any, level: str) -> set[tuple[str, str]]:
    """Return (algorithm, words) of every note of this level."""
    rows = [row for part in ("kex", "key", "enc", "mac") for row in report[part]]
    assert len(rows) > 5
    return {(row["algorithm"], words) for row in rows for words in row["notes"].get(level, ())}


def test_ssh_audit_has_nothing_to_say(start: Callable[..., GatewayProcess], api: FakeApi) -> None:
    status, report = audit(start(api))
    assert complaints(report, "fail") | complaints(report, "warn") == set()
    # The additional notes are Terrapin, and how fast connections are greeted.
    assert (status, report["additional_notes"], report["cves"], report["recommendations"]) == (0, [], [], {})


def test_ssh_audit_has_one_warning_where_older_clients_are_let_in(
    start: Callable[..., GatewayProcess], api: FakeApi
) -> None:
    _, report = audit(start(api, classical_exchange=True))
    assert complaints(report, "fail") == set()
    warning = ("curve25519-sha256", "does not provide protection against post-quantum attacks")
    assert complaints(report, "warn") == {warning}
    assert (report["additional_notes"], report["cves"]) == ([], [])


KINDS = {
    "ed25519": ["-t", "ed25519"],
    "rsa-3072": ["-t", "rsa", "-b", "3072"],
    "ecdsa-256": ["-t", "ecdsa", "-b", "256"],
}


def laptop_with(folder: Path, kind: str) -> Laptop:
    key = folder / kind
    command = ["ssh-keygen", "-q", *KINDS[kind], "-N", "", "-C", "", "-f", str(key)]
    subprocess.run(command, check=True, timeout=30)
    line = key.with_suffix(".pub").read_text(encoding="ascii").strip()
    return Laptop(folder, str(key), " ".join(line.split()[:2]))


@pytest.mark.parametrize("kind", KINDS)
def test_this_systems_own_ssh_logs_in_with_keys_of_every_kind(
    start: Callable[..., GatewayProcess], api: FakeApi, tmp_path: Path, kind: str
) -> None:
    laptop = laptop_with(tmp_path, kind)
    api.keys[laptop.public_key] = "ada"
    gateway = start(api)
    laptop.ssh(gateway, "-W", "xray:8888", "127.0.0.1")
    assert api.wait_for("open_channel").person == "ada"
    assert "logged_in" in gateway.events
