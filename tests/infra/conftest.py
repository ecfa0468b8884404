"""Fixtures of the build runner's and the launcher's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local_place import LocalPlace, open_local_place


@pytest.fixture
def place() -> Iterator[LocalPlace]:
    with open_local_place() as made:
        yield made
