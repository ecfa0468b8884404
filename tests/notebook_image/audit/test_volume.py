"""Datasets as file systems: one for each who mounts it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from e2e.outside import IMAGE_PYTHON

pytestmark = [
    pytest.mark.image,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts"),
]

TWICE = """
import sys
from pathlib import Path
from nightingale_instance.audit.volume import Volume
source = Path(sys.argv[1])
Volume(source).ensure()
for name in ("one", "two"):
    (source.parent / name).mkdir()
    print(Volume(source).mount(source.parent / name), (source.parent / name / "file").read_text())
"""


def test_two_who_mount_one_dataset_have_a_file_system_each(tmp_path: Path):
    """Or the observer of one would record what the other's instance reads."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "file").write_text("content")
    command = ["unshare", "-m", "--propagation", "private", str(IMAGE_PYTHON), "-I", "-c", TWICE, str(tmp_path / "1")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    (one, content), (two, again) = (line.split() for line in done.stdout.splitlines())
    assert one != two
    assert content == again == "content"
