"""One observed dataset for the tests of a file; skipped, with the reason, where the kernel or the account cannot."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_image.audit.watched import Watched, watched, why_not


@pytest.fixture(scope="module")
def place() -> Iterator[Watched]:
    """For tests that only read."""
    if reason := why_not():
        pytest.skip(reason)
    with watched() as made:
        yield made


@pytest.fixture
def own_place(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """For tests that break something; its parameter is the way to watch."""
    way = getattr(request, "param", "fanotify")
    if reason := why_not(way):
        pytest.skip(reason)
    with watched(way=way) as made:
        yield made


@pytest.fixture(scope="module")
def served() -> Iterator[Watched]:
    """A dataset shown through FUSE, for tests that only read."""
    if reason := why_not("fuse"):
        pytest.skip(reason)
    with watched(way="fuse") as made:
        yield made


@pytest.fixture(scope="module", params=["fanotify", "fuse"])
def either(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A dataset watched in each of the two ways, for tests that only read."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    with watched(way=request.param) as made:
        yield made


@pytest.fixture
def narrow_place() -> Iterator[Watched]:
    """Whose spool holds two segments only."""
    if reason := why_not():
        pytest.skip(reason)
    with watched("--most-segments", "2") as made:
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A spool on a disk of its own of 16 MiB."""
    if reason := why_not():
        pytest.skip(reason)
    spool = tmp_path / "spool"
    spool.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", spool], check=True)
    yield spool
    subprocess.run(["umount", "-l", spool], check=True)
