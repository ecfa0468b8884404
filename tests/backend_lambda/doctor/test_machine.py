"""Versions, this machine, and the platform that is up: each fault that can be planted in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from doubles.clocks import START
from nightingale.contract.openapi import VERSION
from nightingale_build.launcher.sandbox import SandboxProbe
from nightingale_local.doctor import machine
from nightingale_local.doctor.deployed import Answer, Pinned, deployed_checks
from nightingale_local.doctor.report import Check, DoctorLine

PINNED = Pinned("gate.example.org", 22, "ssh-ed25519 AAAAC3Nz pinned")
DATE = START.strftime("%a, %d %b %Y %H:%M:%S GMT")


def lines_of(checks: Iterable[Check], name: str) -> list[DoctorLine]:
    return [line for check in checks if check.name == name for line in check.look()]


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    """Let PATH hold programs of these names and nothing else."""
    for name in names:
        (folder / name).write_text("#!/bin/sh\n", encoding="ascii")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("version", "verdict"), [("1.11.0", "ok"), ("1.12.3", "ok"), ("2.0.0", "ok"), ("1.9.8", "fail"), ("0.15.5", "fail")]
)
def test_terraform_is_new_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, verdict: str) -> None:
    on_path(monkeypatch, tmp_path, "terraform")
    checks = machine.version_checks(lambda _: (0, f'{{"terraform_version": "{version}"}}'))
    (line,) = lines_of(checks, "terraform")
    assert (line.verdict, line.seen) == (verdict, version)


def test_programs_that_are_not_there_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path(monkeypatch, tmp_path, "ssh")
    assert lines_of(machine.version_checks(), "terraform")[0].verdict == "fail"
    (line,) = lines_of(machine.machine_checks(tmp_path, ""), "ssh")
    assert (line.verdict, line.seen) == ("fail", "not on PATH: ssh-keygen")
    assert "not installed" in lines_of(machine.machine_checks(tmp_path, ""), "podman")[0].seen


def test_podman_that_does_not_run_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path(monkeypatch, tmp_path, "podman")
    checks = machine.machine_checks(tmp_path, "", lambda _: (125, ""))
    assert lines_of(checks, "podman")[0].verdict == "warn"


def test_a_sandbox_that_does_not_work_says_why(tmp_path: Path) -> None:
    checks = machine.machine_checks(tmp_path, "", probe=lambda: SandboxProbe(None, "bubblewrap is not installed"))
    (line,) = lines_of(checks, "sandbox")
    assert (line.verdict, line.seen) == ("fail" if os.geteuid() == 0 else "warn", "bubblewrap is not installed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may watch reads at all")
def test_a_kernel_that_lets_nothing_be_watched_is_seen(tmp_path: Path) -> None:
    refused = machine.machine_checks(tmp_path, "/image/python", lambda _: (1, ""))
    assert lines_of(refused, "observer")[0].verdict == "fail"
    assert lines_of(machine.machine_checks(tmp_path, ""), "observer")[0].verdict == "unknown"
    assert lines_of(machine.machine_checks(tmp_path, "x", lambda _: (0, "")), "observer")[0].verdict == "ok"


@pytest.mark.parametrize(("free_gib", "verdict"), [(0.5, "fail"), (5, "warn"), (50, "ok")])
def test_a_full_disk_is_seen(tmp_path: Path, free_gib: float, verdict: str) -> None:
    (line,) = machine.find_room(tmp_path / "not" / "there", lambda _: int(free_gib * 2**30))
    assert (line.verdict, str(tmp_path) in line.seen) == (verdict, True)


@pytest.mark.parametrize(
    ("files", "verdict", "words"),
    [
        ({"cgroup.controllers": "cpu io memory pids"}, "ok", "version 2"),
        ({"cgroup.controllers": "cpu io pids"}, "warn", "version 2, without memory"),
        ({"memory/x": "", "cpu/x": "", "pids/x": ""}, "ok", "version 1"),
        ({"cpu/x": "", "pids/x": ""}, "warn", "version 1, without memory"),
        ({}, "warn", "there are none"),
    ],
)
def test_missing_cgroups_are_seen(tmp_path: Path, files: dict[str, str], verdict: str, words: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    (line,) = machine.find_cgroups(tmp_path)
    assert (line.verdict, words in line.seen) == (verdict, True), line


@pytest.mark.parametrize(
    ("constraint", "verdict"),
    [('version = "~> 5.100"', "ok"), ('version = "5.100.0"', "ok"), ('version = ">= 5.0"', "fail"), ("", "fail")],
)
def test_a_provider_that_is_not_pinned_is_seen(tmp_path: Path, constraint: str, verdict: str) -> None:
    (tmp_path / "versions.tf").write_text(
        f'terraform {{ required_providers {{ aws = {{\n source = "hashicorp/aws"\n {constraint}\n}} }} }}',
        encoding="utf-8",
    )
    assert machine.find_pin("aws", tmp_path).verdict == verdict


# --- a platform that is up --------------------------------------------------------------------------------------------


def up(answer: Answer | Exception, key: str | Exception = PINNED.host_key, url: str = "http://here") -> list[Check]:
    def ask(_: str) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def find_key(_: Pinned) -> str:
        if isinstance(key, Exception):
            raise key
        return " ".join(key.split()[:2])

    return deployed_checks(url, PINNED, lambda: START, ask, find_key)


GOOD = Answer(200, VERSION, DATE)


def test_a_platform_of_our_version_with_the_pinned_key_is_well() -> None:
    assert {line.verdict.value for name in ("api", "gateway") for line in lines_of(up(GOOD), name)} == {"ok"}


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (httpx.ConnectError("refused"), "fail", "no answer of ours (ConnectError)"),
        (ValueError("no JSON"), "fail", "no answer of ours"),
        (Answer(503, "", DATE), "fail", "answered 503"),
        (Answer(200, "0.0.9", DATE), "warn", "runs 0.0.9"),
    ],
)
def test_an_api_that_is_away_ill_or_of_another_version_is_seen(
    answer: Answer | Exception, verdict: str, words: str
) -> None:
    line = lines_of(up(answer), "api")[0]
    assert (line.verdict, words in line.seen) == (verdict, True), line


def test_a_clock_that_differs_from_the_apis_is_seen() -> None:
    late = (START - timedelta(minutes=3)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert lines_of(up(Answer(200, VERSION, late)), "api")[1].verdict == "fail"
    assert lines_of(up(Answer(200, VERSION, "")), "api")[1].verdict == "unknown"


@pytest.mark.parametrize(
    ("scan", "verdict"),
    [("ok", "ok"), ("never", "warn"), ("late", "warn"), ("failing", "warn"), ("partial", "warn"), ("", "warn")],
)
def test_a_scan_of_the_logs_that_does_not_go_well_is_seen(scan: str, verdict: str) -> None:
    (line,) = [line for line in lines_of(up(Answer(200, VERSION, DATE, scan)), "api") if line.check == "scan"]
    assert line.verdict == verdict
    assert bool(line.do) is (verdict == "warn")


@pytest.mark.parametrize("key", ["ssh-ed25519 AAAAC3Other", "ssh-rsa AAAAC3Nz", "", ConnectionRefusedError()])
def test_a_gateway_with_another_key_or_none_is_seen(key: str | Exception) -> None:
    assert lines_of(up(GOOD, key), "gateway")[0].verdict == "fail"


def test_what_nobody_names_is_unknown() -> None:
    checks = deployed_checks("", None, lambda: START)
    assert {line.verdict.value for name in ("api", "gateway") for line in lines_of(checks, name)} == {"unknown"}


def test_a_program_that_is_run_has_no_input_and_gives_its_status(tmp_path: Path) -> None:
    assert machine.run_program(["cat"]) == (0, "")
    with pytest.raises((OSError, subprocess.TimeoutExpired)):
        machine.run_program([str(tmp_path / "none")])
