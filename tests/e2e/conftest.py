"""One platform for the tests of a file; each test brings instances of its own names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.outside import Outside, opened


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    with opened() as made:
        yield made
