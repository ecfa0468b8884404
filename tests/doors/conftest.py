"""A host over real HTTP on a platform in memory, for the doors of one file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend_lambda.chalice_server import ChaliceServer, open_server
from doubles.platforms import FakePlatform


@pytest.fixture(scope="module")
def served() -> FakePlatform:
    return FakePlatform()


@pytest.fixture(scope="module")
def server(served: FakePlatform) -> Iterator[ChaliceServer]:
    with open_server(served) as opened:
        yield opened
