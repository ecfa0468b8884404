"""One observed dataset for the tests of a file; skipped, with the reason, where the kernel or the account cannot."""

from __future__ import annotations

from collections.abc import Iterator

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
def own_place() -> Iterator[Watched]:
    """For tests that break something."""
    if reason := why_not():
        pytest.skip(reason)
    with watched() as made:
        yield made
