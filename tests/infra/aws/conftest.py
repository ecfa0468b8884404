"""Fixtures of the AWS module's tests: Terraform with the real provider, and an account of moto's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles import aws_server
from infra.aws.account import BACKEND, MODULE, Account, terraform
from infra.aws_provider import require


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module's folder after one `terraform init`, to be copied."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    folder = tmp_path_factory.mktemp("module") / "aws"
    shutil.copytree(MODULE, folder, ignore=shutil.ignore_patterns(".terraform*", "tests"))
    (folder / "backend_override.tf").write_text(BACKEND, encoding="utf-8")
    require(terraform(folder, "init"))
    return folder


@pytest.fixture
def account() -> Iterator[Account]:
    with aws_server.running() as endpoint:
        yield Account(endpoint)
