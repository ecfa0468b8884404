"""Fixtures of the control plane's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.control_plane.terraform_runs import copy_whole, initialise


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module's folder with api/ in it."""
    return copy_whole(tmp_path_factory.mktemp("control-plane"))


@pytest.fixture(scope="session")
def prepared(packed: Path) -> Path:
    """The same after `terraform init`."""
    initialise(packed)
    return packed


@pytest.fixture
def module(prepared: Path, tmp_path: Path) -> Path:
    """A copy for one test, which may write into it."""
    where = tmp_path / "aws"
    shutil.copytree(prepared, where, symlinks=True)
    return where
