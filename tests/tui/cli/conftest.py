"""Fixtures of the command line's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tui.api.conftest import free_port
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine

__all__ = ["free_port"]


@pytest.fixture
def platform() -> FakePlatform:
    platform = FakePlatform()
    platform.moves_on_read = True
    return platform


@pytest.fixture
def bare(platform: FakePlatform, tmp_path: Path) -> CommandLine:
    """Return a command line of a person who has not logged in."""
    environ = {"NIGHTINGALE_CONFIG_DIR": str(tmp_path / "config"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    return CommandLine(platform, tmp_path, environ)


@pytest.fixture
def run(bare: CommandLine) -> Iterator[CommandLine]:
    """Return ada's command line."""
    bare.log_in()
    yield bare
    assert "token-of-" not in "".join(bare.opened)
