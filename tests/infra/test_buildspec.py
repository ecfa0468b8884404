"""buildspec.yml is what CodeBuild takes, pins what it downloads, and its pins are those of this repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no types

ROOT = Path(__file__).parents[2]
BUILDSPEC = ROOT / "infra" / "buildspec.yml"

COMMANDS = {"type": "array", "minItems": 1, "items": {"type": "string"}}
PHASE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["commands"],
    "properties": {
        "run-as": {"type": "string"},
        "on-failure": {"enum": ["ABORT", "CONTINUE"]},
        "runtime-versions": {"type": "object", "additionalProperties": {"type": "string"}},
        "commands": COMMANDS,
        "finally": COMMANDS,
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "phases"],
    "properties": {
        "version": {"const": 0.2},
        "run-as": {"type": "string"},
        "env": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "shell": {"enum": ["bash", "/bin/sh"]},
                "variables": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "phases": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(("install", "pre_build", "build", "post_build"), PHASE),
        },
    },
}
"""The part of CodeBuild's buildspec syntax, version 0.2, that is allowed here: no secrets, no artifacts, no caches."""


@pytest.fixture(scope="module")
def buildspec() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(BUILDSPEC.read_text(encoding="utf-8"))
    return found


def every_command(buildspec: dict[str, Any]) -> list[str]:
    phases = buildspec["phases"].values()
    return [command for phase in phases for command in (*phase["commands"], *phase.get("finally", ()))]


def test_it_has_the_shape_that_codebuild_takes(buildspec):
    Draft202012Validator(SCHEMA).validate(buildspec)


def test_a_phase_that_codebuild_does_not_know_would_be_found(buildspec):
    wrong = {**buildspec, "phases": {**buildspec["phases"], "biuld": buildspec["phases"]["build"]}}
    assert not Draft202012Validator(SCHEMA).is_valid(wrong)


def test_every_command_is_good_shell(buildspec):
    for command in every_command(buildspec):
        done = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False, timeout=10)
        assert done.returncode == 0, done.stderr


def test_terraform_is_pinned_by_version_and_checksum(buildspec):
    told = buildspec["env"]["variables"]
    assert re.fullmatch(r"1\.\d+\.\d+", told["TERRAFORM_VERSION"])
    assert re.fullmatch(r"[0-9a-f]{64}", told["TERRAFORM_SHA256"])
    assert f"/{told['TERRAFORM_VERSION']}/terraform_{told['TERRAFORM_VERSION']}_linux" in told["TERRAFORM_URL"]
    install = "\n".join(buildspec["phases"]["install"]["commands"])
    assert install.index("curl ") < install.index("sha256sum --check") < install.index("unzip")


def test_a_terraform_that_is_there_is_taken_however_much_it_says(buildspec, tmp_path):
    told = buildspec["env"]["variables"]
    words = f"echo Terraform v{told['TERRAFORM_VERSION']}; yes on linux_amd64 | head -n 20000"
    for name, script in (("terraform", words), ("curl", "exit 7")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".runner").write_text(str(tmp_path), encoding="utf-8")
    command = next(one for one in buildspec["phases"]["install"]["commands"] if "terraform-path" in one)
    environment = {**os.environ, **told, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, check=False, timeout=30)
    assert done.returncode == 0
    assert (tmp_path / "terraform-path").read_text(encoding="utf-8").strip() == str(tmp_path / "terraform")


def test_what_it_installs_is_pinned_by_hash(buildspec):
    installs = [line for line in "\n".join(every_command(buildspec)).splitlines() if " install " in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line
        named = re.search(r"-r (\S+)", line)
        assert named is not None
        assert (ROOT / named[1]).is_file()


@pytest.mark.parametrize("group", ["codebuild", "codebuild-tools"])
def test_requirements_are_those_of_the_lock(group):
    locked = re.findall(r'^name = "([^"]+)"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text("utf-8"), re.MULTILINE)
    wanted = (ROOT / "infra" / "requirements" / f"{group}.txt").read_text("utf-8")
    pinned = set(re.findall(r"^([a-z0-9_.-]+)==(\S+)", wanted, re.MULTILINE))
    assert pinned
    assert pinned <= set(locked), (
        f"type: uv export --frozen --package nightingale-infra --only-group {group} --no-emit-workspace --no-annotate"
        f" --no-header --format requirements-txt >infra/requirements/{group}.txt"
    )
    assert wanted.count("--hash=sha256:") >= len(pinned)


def test_the_build_ends_with_our_entry_and_nothing_prints_the_environment(buildspec):
    last = buildspec["phases"]["build"]["commands"][-1].strip()
    assert last.endswith("-m nightingale_build codebuild")
    for command in every_command(buildspec):
        assert not re.search(r"\b(printenv|set -x|env\s*$|export -p)", command, re.MULTILINE)
