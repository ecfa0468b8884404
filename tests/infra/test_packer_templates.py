"""The templates of machine images as Packer itself sees them: names, types and values of everything that it knows.

Debian's Packer is 1.6.6. What came later is taken out of the copy that it is shown, and named here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "infra" / "packer"
PACKER = os.environ.get("NIGHTINGALE_PACKER", "packer")
PLUGINS = r"^packer \{\n.*?^\}\n"  # required_plugins: 1.7
ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Template:
    """One cloud's."""

    path: str
    given: Mapping[str, str]
    changes: Mapping[str, str]
    """What a pattern is replaced by, each once."""
    machine: str
    """The argument that says on what the image is made."""


TEMPLATES = {
    "aws": Template(
        path="nightingale.pkr.hcl",
        given={"region": "eu-central-1", "subnet_id": "subnet-0123456789abcdef0"},
        changes={
            PLUGINS: "",
            r"^  imds_support = .*?\n": "",  # 1.8.3
            r"^  metadata_options \{\n.*?^  \}\n": "",  # 1.7
        },
        machine="instance_type",
    ),
    "azure": Template(
        path="azure/nightingale.pkr.hcl",
        given={
            "location": "germanywestcentral",
            "resource_group": "images",
            "gallery": "nightingale",
            "definition": "cpu",
            "version": "1.0.0",
            "subscription": ID,
            "network": '{resource_group="build",name="build",subnet="build"}',
        },
        changes={
            PLUGINS: "",
            # It would ask `az` who is signed in.
            r"^  use_azure_cli_auth = true\n": "".join(
                f'  {name} = "{ID}"\n' for name in ("client_id", "client_secret", "tenant_id", "subscription_id")
            ),
        },
        machine="vm_size",
    ),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(PACKER) is None, reason="packer is not installed"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the templates as Debian's Packer knows them, and what they ask for."""
    for template in TEMPLATES.values():
        text = (FOLDER / template.path).read_text(encoding="utf-8")
        for pattern, instead in template.changes.items():
            text, found = re.subn(pattern, instead, text, flags=re.MULTILINE | re.DOTALL)
            assert found == 1, pattern
        target = tmp_path / template.path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    shutil.copytree(FOLDER / "files", tmp_path / "files")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "notebook.tar").touch()
    return tmp_path


def validate(folder: Path, cloud: str, **told: str) -> subprocess.CompletedProcess[str]:
    """Ask Packer about a cloud's template with these variables, beside those that it needs."""
    template = TEMPLATES[cloud]
    given = {
        **template.given,
        "environment": str(folder / "wheels"),
        "notebook_image": str(folder / "notebook.tar"),
        **told,
    }
    words = [word for name, value in given.items() if value for word in ("-var", f"{name}={value}")]
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "PACKER_CONFIG_DIR": str(folder), "HOME": str(folder)}
    return subprocess.run(
        [PACKER, "validate", *words, str((folder / template.path).parent)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("cloud", TEMPLATES)
@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_packer_takes_the_template(folder: Path, cloud: str, variant: str) -> None:
    ended = validate(folder, cloud, variant=variant)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("cloud", "told", "words"),
    [
        ("aws", {"variant": "tpu"}, "The variant is cpu or gpu."),
        ("aws", {"region": ""}, "region"),
        ("aws", {"notebook_image": "/nonexistent/notebook.tar"}, "notebook.tar"),
        ("azure", {"variant": "tpu"}, "The variant is cpu or gpu."),
        ("azure", {"gallery": ""}, "gallery"),
        ("azure", {"version": "newest"}, "A version is three numbers"),
    ],
)
def test_packer_refuses_what_cannot_be_built(folder: Path, cloud: str, told: dict[str, str], words: str) -> None:
    ended = validate(folder, cloud, **told)
    assert ended.returncode != 0
    assert words in ended.stdout + ended.stderr


@pytest.mark.parametrize("cloud", TEMPLATES)
def test_an_argument_that_packer_does_not_know_is_seen(folder: Path, cloud: str) -> None:
    path = folder / TEMPLATES[cloud].path
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"\b{TEMPLATES[cloud].machine} ", "machine_sort ", text), encoding="utf-8")
    ended = validate(folder, cloud)
    assert ended.returncode != 0
    assert "machine_sort" in ended.stdout + ended.stderr
