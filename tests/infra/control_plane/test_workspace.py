"""Terraform as a deployment runs it, with a program in its place that writes down what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.control_plane.terraform_runs import ROOT
from nightingale_deploy.refusal import DeployError
from nightingale_deploy.terraform import Workspace

PROGRAM = """#!/bin/sh
folder=${1#-chdir=}
shift
echo "$*" >>"$folder/../said"
case $1 in
init) [ -f "$folder/.terraform.lock.hcl" ] || echo made >"$folder/.terraform.lock.hcl" ;;
plan) exit "$(cat "$folder/../status")" ;;
output) echo '{"api_url": {"value": "https://x.example.org/api", "type": "string"}}' ;;
show) echo '{"values": {"root_module": {"resources": [{"address": "a.b"}],
    "child_modules": [{"resources": [{"address": "module.m.c.d"}]}]}}}' ;;
esac
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    program = tmp_path / "terraform"
    program.write_text(PROGRAM, encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("NIGHTINGALE_TERRAFORM", str(program))
    return Workspace.make(ROOT, tmp_path / "work" / "deploy", None)


def said(work: Workspace) -> list[str]:
    return (work.folder.parent / "said").read_text(encoding="utf-8").splitlines()


def test_the_state_lies_in_the_bucket_that_is_named(work: Workspace) -> None:
    work.init("the-bucket", "eu-central-1")
    (line,) = said(work)
    assert "-backend-config=bucket=the-bucket" in line
    assert "-backend-config=region=eu-central-1" in line
    assert not (work.folder / "state_override.tf").exists()


def test_without_a_bucket_the_state_lies_in_the_folder(work: Workspace) -> None:
    work.init(None, "eu-central-1")
    assert 'backend "local"' in (work.folder / "state_override.tf").read_text(encoding="utf-8")


@pytest.mark.parametrize(("status", "is_changed"), [(0, False), (2, True)])
def test_a_plan_says_whether_it_changes_anything(work: Workspace, status: int, *, is_changed: bool) -> None:
    (work.folder.parent / "status").write_text(str(status), encoding="ascii")
    assert work.plan() is is_changed


def test_a_plan_that_fails_ends_it_in_words(work: Workspace) -> None:
    (work.folder.parent / "status").write_text("1", encoding="ascii")
    with pytest.raises(DeployError, match="terraform plan failed") as refused:
        work.plan()
    assert refused.value.hint


def test_the_provider_of_the_last_time_is_taken_again(work: Workspace) -> None:
    work.init(None, "eu-central-1")
    (work.folder.parent / ".terraform.lock.hcl").write_text("that of last time", encoding="utf-8")
    again = Workspace.make(ROOT, work.folder, None)
    assert (again.folder / ".terraform.lock.hcl").read_text(encoding="utf-8") == "that of last time"


def test_outputs_and_resources_are_read(work: Workspace) -> None:
    assert work.outputs() == {"api_url": "https://x.example.org/api"}
    assert work.resources() == {"a.b", "module.m.c.d"}


def test_overrides_of_ones_own_lie_over_the_module(work: Workspace, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine_override.tf").write_text("# mine", encoding="utf-8")
    again = Workspace.make(ROOT, work.folder, own)
    assert (again.folder / "mine_override.tf").exists()
    assert (again.folder / "storage.tf").exists()
    assert not (again.folder / "tests").exists()


def test_a_state_that_could_not_be_written_is_not_thrown_away(work: Workspace) -> None:
    lost = work.folder / "errored.tfstate"
    lost.write_text("the only copy", encoding="ascii")
    with pytest.raises(DeployError, match="the only copy is") as refused:
        Workspace.make(ROOT, work.folder, None)
    assert f"terraform -chdir={work.folder} state push errored.tfstate" in refused.value.hint
    assert lost.read_text(encoding="ascii") == "the only copy"
    lost.unlink()
    assert Workspace.make(ROOT, work.folder, None).folder == work.folder


def test_without_terraform_it_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTINGALE_TERRAFORM", str(tmp_path / "none"))
    with pytest.raises(DeployError, match="Terraform was not found") as refused:
        Workspace.make(ROOT, tmp_path / "deploy", None)
    assert "developer.hashicorp.com" in refused.value.hint
