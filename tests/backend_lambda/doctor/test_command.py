"""`nightingale admin doctor` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_SECRETS = {"AWS_ACCESS_KEY_ID": "AKIAPLANTEDACCESSKEY", "AWS_SECRET_ACCESS_KEY": "planted/secret/of/nobody"}


def doctor(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NIGHTINGALE_"))}
    command = [sys.executable, "-c", "from nightingale_tui.cli.main import main; raise SystemExit(main())"]
    return subprocess.run(
        [*command, "admin", "doctor", *words],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**kept, "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true", **environ},
        text=True,
        timeout=120,
    )


def test_the_local_place_is_looked_at_by_default(tmp_path: Path) -> None:
    ran = doctor(tmp_path, "--json")
    lines = {line["check"]: line for line in json.loads(ran.stdout)["lines"]}
    assert {"sandbox", "cgroups", "disk", "ssh", "terraform", "api", "gateway"} <= lines.keys()
    assert (lines["api"]["verdict"], lines["gateway"]["verdict"]) == ("unknown", "unknown")
    assert ran.returncode == int(any(line["verdict"] == "fail" for line in lines.values()))


def test_a_platform_that_does_not_answer_fails_and_says_what_to_do(tmp_path: Path) -> None:
    ran = doctor(tmp_path, "--url", "http://127.0.0.1:9")
    assert ran.returncode == 1
    assert "fail    api" in ran.stdout
    assert "-> Is the platform up" in ran.stdout
    assert " fail" in ran.stderr


def test_an_account_that_cannot_be_reached_fails_within_its_time_and_tells_no_secret(tmp_path: Path) -> None:
    nowhere = {"NIGHTINGALE_AWS_ENDPOINT": "http://127.0.0.1:9", "NIGHTINGALE_TABLE": "nightingale"}
    ran = doctor(tmp_path, "--region", "eu-central-1", "--timeout", "60", **nowhere, **_SECRETS)
    assert ran.returncode == 1
    assert "fail    credentials" in ran.stdout
    for secret in _SECRETS.values():
        assert secret not in ran.stdout + ran.stderr


def test_no_credentials_are_a_failure_in_words(tmp_path: Path) -> None:
    ran = doctor(tmp_path, "--place", "aws", "--region", "eu-central-1")
    assert ran.returncode == 1
    assert "no credentials are found" in ran.stdout


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    assert doctor(tmp_path, "--timeout", "0").returncode == 2
