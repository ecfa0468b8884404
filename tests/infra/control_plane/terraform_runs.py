"""Terraform and checkov run on the control plane's module, in a copy of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.aws_provider import require

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "infra" / "control-plane" / "aws"
PACKAGE = ROOT / "backend-lambda" / "package.py"
TERRAFORM = os.environ.get("NIGHTINGALE_TERRAFORM", "terraform")
REGION = "eu-central-1"

QUIET = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1", "AWS_EC2_METADATA_DISABLED": "true"}

LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'


def terraform(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run Terraform in `folder` and return how it ended."""
    told = {**os.environ, **QUIET, **(environment or {})}
    return subprocess.run(
        [TERRAFORM, f"-chdir={folder}", *arguments],
        env=told,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
    )


def copy_whole(folder: Path) -> Path:
    """Copy the module into `folder`, with api/ made as a deployment makes it; return where it is."""
    where = folder / "aws"
    shutil.copytree(MODULE, where, ignore=shutil.ignore_patterns(".terraform*", "api", "terraform.tfstate*"))
    made = subprocess.run(
        [sys.executable, str(PACKAGE), "--module-only", str(where / "api")], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return where


def initialise(where: Path, backend: str = "-backend=false") -> None:
    """Run `terraform init`, as a rule without a backend; skip, or fail where it must be had, without the provider."""
    if shutil.which(TERRAFORM) is None:
        pytest.skip("terraform is not installed")
    require(terraform(where, "init", backend, "-no-color"))


def variables(folder: Path) -> dict[str, object]:
    """Return what a deployment tells the module, with packages that hold next to nothing."""
    package = folder / "package.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "")
    return {
        "region": REGION,
        "zones": [f"{REGION}a", f"{REGION}b"],
        "functions_package": str(package),
        "platform_package": str(package),
        "gateway_package": str(package),
        "scan_package": str(package),
        "gateway_host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpvvzHn3tD1lEf4Tl2s0N9n8uXkq4m1nG6a9d2r7sZb",
        "gateway_cidrs": ["192.0.2.0/24"],
        "alarm_emails": ["ops@example.org"],
        "monthly_budget_usd": 500,
    }


def write_variables(where: Path, values: Mapping[str, object]) -> None:
    """Write variables where Terraform finds them by itself."""
    (where / "terraform.tfvars.json").write_text(json.dumps(values), encoding="utf-8")
