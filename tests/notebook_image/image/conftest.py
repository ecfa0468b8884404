"""Containers of the built image; skipped, with the reason, where it is not built, unless it has to be there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_image.image.containers import ContainerInstance, why_not


@pytest.fixture(scope="session")
def image() -> None:
    """Skip without the image; where CI has just built it, its absence is a failure."""
    reason = why_not()
    if reason and os.environ.get("NIGHTINGALE_IMAGE") == "required":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def new_container(image: None) -> Iterator[Callable[[], ContainerInstance]]:
    """Makes instances whose entry point runs in a container; ends what they started."""
    assert image is None
    made: list[ContainerInstance] = []

    def make() -> ContainerInstance:
        made.append(ContainerInstance(Path(tempfile.mkdtemp(prefix="ni-", dir="/tmp"))))  # short paths
        return made[-1]

    yield make
    for instance in made:
        instance.remove()
        shutil.rmtree(instance.folder)


@pytest.fixture(scope="module")
def started_container(new_container: Callable[[], ContainerInstance]) -> ContainerInstance:
    """One container for all tests that only ask it something."""
    instance = new_container()
    instance.launch()
    return instance


@pytest.fixture
async def container(started_container: ContainerInstance) -> ContainerInstance:
    await started_container.wait_until_ready()
    return started_container
