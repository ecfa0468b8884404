"""Fixtures of the build runner's and the launcher's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.aws_provider import provide
from infra.local_place import LocalPlace, open_local_place


@pytest.fixture
def place() -> Iterator[LocalPlace]:
    with open_local_place() as made:
        yield made


@pytest.fixture(scope="session")
def terraform_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Terraform's settings with which the real AWS provider is at hand; skips where it cannot be had."""
    return provide(tmp_path_factory.mktemp("provider"))
