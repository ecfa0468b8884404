"""The API against its own document, by schemathesis: what each operation says it takes and gives is what it does.

It plays examples at the edges of every schema, made-up ones, and chains of calls; checks that nothing ends with a
status of 500 or above, that statuses, content types and bodies are documented ones, that a wrong method is refused with
405 and a missing or false token with 401, and that what the document forbids is refused. Behind the host stand fake
builders and machines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend_lambda.chalice_server import ChaliceServer, open_server
from doubles.loops import run_apart
from doubles.platforms import FakePlatform

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(220)]

CONFIGURATION = """
color = false
suppress-health-check = ["all"]
generation.max-examples = 12
headers = { Authorization = "Bearer ${NIGHTINGALE_TEST_TOKEN}" }
[checks]
# A body, a cursor or a cluster file may have the right form and yet not fit what is there: that is no mistake of ours.
positive_data_acceptance.enabled = false
"""
AT_HOME = """
[parameters]
"path.project" = "brain"
"path.instance" = "scan"
"path.source" = "build"
"""


@pytest.fixture
def platform() -> FakePlatform:
    made = FakePlatform()
    made.builder.finishes_at_once = True
    made.launch("scan", "grace")
    run_apart(made.settle())
    return made


@pytest.fixture
def server(platform: FakePlatform) -> Iterator[ChaliceServer]:
    with open_server(platform) as opened:
        yield opened


def play(
    server: ChaliceServer, folder: Path, token: str, configuration: str, *more: str
) -> subprocess.CompletedProcess[str]:
    file = folder / "schemathesis.toml"
    file.write_text(configuration, encoding="utf-8")
    command = [str(SCHEMATHESIS), "--config-file", str(file), "run", f"{server.url}/openapi.json", "--seed", "7", *more]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "NIGHTINGALE_TEST_TOKEN": token}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, cwd=folder, env=environment
    )


@pytest.mark.parametrize(
    ("who", "more"),
    [
        # Logging out would end the token of the run.
        ("hedy", ["--exclude-operation-id", "delete_session"]),
        ("grace", ["--exclude-operation-id", "delete_session"]),
        ("gateway", []),
    ],
    ids=["admin", "researcher", "gateway"],
)
def test_the_api_keeps_to_its_document(
    server: ChaliceServer, platform: FakePlatform, tmp_path: Path, who: str, more: list[str]
) -> None:
    configuration = CONFIGURATION + (AT_HOME if who == "grace" else "")
    done = play(server, tmp_path, platform.token(who), configuration, *more)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: " in done.stdout


def test_logging_out_keeps_to_its_document(server: ChaliceServer, platform: FakePlatform, tmp_path: Path) -> None:
    done = play(server, tmp_path, platform.token("mary"), CONFIGURATION, "--include-operation-id", "delete_session")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
