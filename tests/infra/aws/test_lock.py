"""A build takes the very provider that the module's lock file names, and no other."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from infra.aws.account import MODULE, terraform
from infra.aws_provider import require
from infra.local_place import needs_terraform
from nightingale_build.module_folder import LOCK_FILE, prepare_folder

LOCKED = (MODULE / LOCK_FILE).read_text(encoding="utf-8")
SUM = re.compile(r'"(?:h1:[A-Za-z0-9+/]{43}=|zh:[0-9a-f]{64})"')


def test_the_lock_file_names_one_version_that_the_module_takes_with_its_sums() -> None:
    assert LOCKED.count('provider "') == 1
    version = re.search(r'version += "(5\.(\d+)\.\d+)"', LOCKED)
    assert version is not None
    assert int(version[2]) >= 100  # versions.tf: ~> 5.100
    assert 'version = "~> 5.100"' in (MODULE / "versions.tf").read_text(encoding="utf-8")
    sums = SUM.findall(LOCKED)
    assert len(sums) == len(set(sums)) == LOCKED.count('"h1:') + LOCKED.count('"zh:')
    assert {one[1:3] for one in sums} == {"h1", "zh"}


@needs_terraform
@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.terraform
@pytest.mark.timeout(300)
def test_a_build_takes_the_locked_provider_and_refuses_one_with_another_sum(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    prepare_folder(MODULE, good, {})
    assert (good / LOCK_FILE).read_text(encoding="utf-8") == LOCKED
    require(terraform(good, "init", "-backend=false", "-input=false", "-no-color"))
    assert (good / LOCK_FILE).read_text(encoding="utf-8") == LOCKED
    shutil.rmtree(good / ".terraform")
    prepare_folder(MODULE, bad, {})
    other = re.sub(r"h1:....", "h1:AAAA", re.sub(r"zh:....", "zh:0000", LOCKED))
    (bad / LOCK_FILE).write_text(other, encoding="utf-8")
    refused = terraform(bad, "init", "-backend=false", "-input=false", "-no-color")
    assert refused.returncode != 0
    assert "checksums" in refused.stderr
