"""What the AWS module tells a machine by cloud-init: a small document that cloud-init itself finds well made."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.aws.account import MODULE
from infra.local_place import needs_terraform

UNITS = Path(__file__).parents[3] / "infra" / "packer" / "files"
TOLD = {"name": "quote\" and: # 'other'", "words": "ünïcode\n---\n"}

pytestmark = [pytest.mark.slow, pytest.mark.terraform, needs_terraform]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The document, rendered by Terraform itself; no provider is needed for that."""
    content = base64.b64encode(json.dumps(TOLD).encode()).decode()
    asked = f'jsonencode(templatefile("{MODULE}/cloud-init.yaml.tftpl", {{ instance_json = "{content}" }}))\n'
    folder = tmp_path_factory.mktemp("console")
    command = ["terraform", f"-chdir={folder}", "console"]
    ended = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=50, check=True)
    text: str = json.loads(json.loads(ended.stdout))
    return text


def test_cloud_init_finds_it_well_made(rendered: str, tmp_path: Path):
    program = shutil.which("cloud-init")
    if program is None:
        pytest.skip("cloud-init is not installed")
    document = tmp_path / "user-data"
    document.write_text(rendered, encoding="utf-8")
    ended = subprocess.run(
        [program, "schema", "--config-file", str(document)], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Valid" in ended.stdout


def test_it_writes_what_it_was_given_starts_the_unit_and_lets_nobody_in(rendered: str):
    assert rendered.startswith("#cloud-config\n")
    document: dict[str, Any] = yaml.safe_load(rendered)
    (file,) = document["write_files"]
    assert file["path"] == "/etc/nightingale/instance.json"
    assert file["encoding"] == "b64"
    assert json.loads(base64.b64decode(file["content"])) == TOLD
    assert document["runcmd"] == [["systemctl", "start", "--no-block", "nightingale-instance.service"]]
    assert document["ssh_pwauth"] is False
    assert set(document) == {"write_files", "ssh_pwauth", "disable_root", "runcmd"}


def test_the_units_read_the_file_that_it_writes_and_the_disks_come_first():
    instance = (UNITS / "nightingale-instance.service").read_text(encoding="utf-8")
    disks = (UNITS / "nightingale-disks.service").read_text(encoding="utf-8")
    for unit in (instance, disks):
        assert "ConditionPathExists=/etc/nightingale/instance.json" in unit
    assert "-m nightingale_build.boot /etc/nightingale/instance.json" in instance
    (after,) = [line for line in instance.splitlines() if line.startswith("After=")]
    assert "nightingale-disks.service" in after
    assert "Requires=" not in instance  # it must start without its disks too: only it can tell the platform why
