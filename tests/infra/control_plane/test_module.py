"""The control plane's module as Terraform and checkov see it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.control_plane.terraform_runs import MODULE, ROOT, TERRAFORM, initialise, terraform

pytestmark = [pytest.mark.terraform]


@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.timeout(600)
def test_todays_terraform_and_provider_take_the_whole_without_a_warning(prepared: Path) -> None:
    ended = terraform(prepared, "validate", "-json")
    told = json.loads(ended.stdout)
    assert told["valid"], ended.stdout
    assert told["diagnostics"] == []


@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.timeout(600)
def test_the_modules_own_tests_pass(prepared: Path) -> None:
    ended = terraform(prepared, "test", "-no-color")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 failed" in ended.stdout


@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.timeout(600)
def test_a_further_regions_module_is_taken_without_a_warning_and_its_own_tests_pass(packed: Path) -> None:
    region = packed / "region"
    initialise(region)
    told = json.loads(terraform(region, "validate", "-json").stdout)
    assert (told["valid"], told["diagnostics"]) == (True, [])
    ended = terraform(region, "test", "-no-color")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 failed" in ended.stdout


@pytest.mark.parametrize("folder", ["aws", "aws/audit", "aws/datasets", "aws/region", "azure"])
def test_every_output_is_asked_for(folder: str) -> None:
    """By the deployment, by the module around it, or by a person who follows the pages."""
    module = MODULE.parent / folder
    named = set(
        re.findall(r'^output "(\w+)"', "".join(one.read_text("utf-8") for one in module.glob("*.tf")), re.MULTILINE)
    )
    assert named
    around = [*(MODULE.glob("*.tf") if folder.startswith("aws/") else ())]
    readers = [*(ROOT / "infra/src/nightingale_deploy").glob("*.py"), *(ROOT / "docs/how-to").glob("*.md"), *around]
    text = "".join(one.read_text(encoding="utf-8") for one in readers)
    used = {
        name for name in named if re.search(rf"module\.\w+\.{name}\b|\"{name}\"|terraform output -\w+ {name}\b", text)
    }
    assert used == named


@pytest.mark.skipif(shutil.which(TERRAFORM) is None, reason="terraform is not installed")
def test_the_module_is_formatted() -> None:
    ended = terraform(MODULE, "fmt", "-check", "-diff", "-recursive", "-no-color")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("who", ["gateway", "packages"])
def test_a_machine_s_first_start_is_a_script_that_shellcheck_likes(tmp_path: Path, who: str) -> None:
    text = (MODULE / f"{who}.sh").read_text(encoding="utf-8")
    values = {"region": "eu-central-1", "package": "s3://b/k.zip", "parameters": f"/n/{who}", "port": "8022"}
    more = {"api_url": "https://x.example.org/api", "index": "https://pypi.org/simple", "proxy": ""}
    for name, value in {**values, **more}.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    script = tmp_path / f"{who}.sh"
    script.write_text(text, encoding="utf-8")
    ended = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "shellcheck"), str(script)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.timeout(600)
def test_checkov_finds_nothing_and_every_skip_has_a_reason(packed: Path) -> None:
    checkov = os.environ.get("NIGHTINGALE_CHECKOV") or shutil.which("checkov")
    if checkov is None:  # where it is named, it must be there
        pytest.skip(
            "checkov is not installed: put it into an environment of its own and name it in NIGHTINGALE_CHECKOV"
        )
    command = [checkov, "--directory", str(packed), "--framework", "terraform", "--output", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    found = json.loads(ended.stdout)
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 100
    failed = [f"{one['check_id']} {one['resource']}" for one in found["results"]["failed_checks"]]
    assert failed == []
    skipped = found["results"]["skipped_checks"]
    assert skipped
    assert all(one["check_result"]["suppress_comment"].strip() for one in skipped)
    assert not [one for one in skipped if "No comment" in one["check_result"]["suppress_comment"]]
