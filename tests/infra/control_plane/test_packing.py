"""What is uploaded at a deployment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from infra.control_plane.terraform_runs import ROOT
from nightingale_deploy import packing


def test_builds_run_from_a_zip_that_the_same_sources_make_again(tmp_path: Path) -> None:
    sums = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        package = tmp_path / name / "platform.zip"
        packing.pack_platform(ROOT, package)
        sums.add(hashlib.sha256(package.read_bytes()).hexdigest())
        assert [one.name for one in package.parent.iterdir()] == ["platform.zip"]
    assert len(sums) == 1
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    assert {"infra/instance/local/main.tf", "infra/src/nightingale_build/__main__.py"} <= names
    assert "core/src/nightingale/contract/build.py" in names
    assert not [name for name in names if name.startswith("infra/control-plane")]
    locks = {name for name in names if name.endswith("/.terraform.lock.hcl")}
    assert locks == {"infra/instance/aws/.terraform.lock.hcl"}
    hidden = {name for name in names if "/.terraform" in name} - locks
    assert not hidden | {name for name in names if "__pycache__" in name or "tfstate" in name}


def test_the_gateways_libraries_are_those_of_the_lock_file() -> None:
    found = dict(line.split("==") for line in packing.requirements(ROOT / "uv.lock", ("asyncssh", "httpx")))
    locked = {
        one["name"]: one.get("version")
        for one in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    }
    assert {"asyncssh", "httpx", "cryptography", "anyio"} <= found.keys()
    assert all(locked[name] == version for name, version in found.items())


START = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
made = importlib.import_module(sys.argv[2])
assert made.__file__.startswith(sys.argv[1]), made.__file__
kept = tuple(f"nightingale.{one}" for one in sys.argv[3].split(","))
assert not [name for name in sys.modules if name.startswith("nightingale.") and not name.startswith(kept)]
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.version_info[:2] != (3, 11) or os.uname().machine != "x86_64", reason="packed for this only")
@pytest.mark.parametrize(
    ("who", "program", "needs"),
    [
        ("gateway", "nightingale_gateway.gateway", "contract"),
        ("packages", "nightingale_local.index_service", "contract,domain,services"),
    ],
)
def test_a_machine_s_program_starts_from_its_zip_alone(tmp_path: Path, who: str, program: str, needs: str) -> None:
    package = tmp_path / f"{who}.zip"
    {"gateway": packing.pack_gateway, "packages": packing.pack_packages}[who](ROOT, package)
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "task")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", START, str(tmp_path / "task"), program, needs],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
