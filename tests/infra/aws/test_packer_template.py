"""The template of machine images as Packer itself sees it: names, types and values of everything that it knows.

Debian's Packer is 1.6.6. What came later is taken out of the copy that it is shown, and named here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "infra" / "packer"
PACKER = os.environ.get("NIGHTINGALE_PACKER", "packer")
LATER = (
    r"^packer \{\n.*?^\}\n",  # required_plugins: 1.7
    r"^  imds_support = .*?\n",  # 1.8.3
    r"^  metadata_options \{\n.*?^  \}\n",  # 1.7
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(PACKER) is None, reason="packer is not installed"),
]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A folder with the template as Debian's Packer knows it, and what it asks for."""
    text = (FOLDER / "nightingale.pkr.hcl").read_text(encoding="utf-8")
    for pattern in LATER:
        text, found = re.subn(pattern, "", text, flags=re.MULTILINE | re.DOTALL)
        assert found == 1, pattern
    (tmp_path / "nightingale.pkr.hcl").write_text(text, encoding="utf-8")
    shutil.copytree(FOLDER / "files", tmp_path / "files")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "notebook.tar").touch()
    return tmp_path


def validate(folder: Path, **told: str) -> subprocess.CompletedProcess[str]:
    """Ask Packer about the template with these variables, beside those that it needs."""
    given = {
        "region": "eu-central-1",
        "subnet_id": "subnet-0123456789abcdef0",
        "environment": str(folder / "wheels"),
        "notebook_image": str(folder / "notebook.tar"),
        **told,
    }
    words = [word for name, value in given.items() if value for word in ("-var", f"{name}={value}")]
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "PACKER_CONFIG_DIR": str(folder), "HOME": str(folder)}
    return subprocess.run(
        [PACKER, "validate", *words, str(folder)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_packer_takes_the_template(template: Path, variant: str) -> None:
    ended = validate(template, variant=variant)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"variant": "tpu"}, "The variant is cpu or gpu."),
        ({"region": ""}, "region"),
        ({"notebook_image": "/nonexistent/notebook.tar"}, "notebook.tar"),
    ],
)
def test_packer_refuses_what_cannot_be_built(template: Path, told: dict[str, str], words: str) -> None:
    ended = validate(template, **told)
    assert ended.returncode != 0
    assert words in ended.stdout + ended.stderr


def test_an_argument_that_packer_does_not_know_is_seen(template: Path) -> None:
    path = template / "nightingale.pkr.hcl"
    path.write_text(path.read_text(encoding="utf-8").replace("instance_type ", "machine_type "), encoding="utf-8")
    ended = validate(template)
    assert ended.returncode != 0
    assert "machine_type" in ended.stdout + ended.stderr
