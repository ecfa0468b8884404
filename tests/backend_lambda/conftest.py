"""Each host for the tests of a file; each brings people and instances of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend_azure.functions_server import open_functions_server
from backend_lambda.chalice_server import ChaliceServer, open_server
from doubles.platforms import FakePlatform


@pytest.fixture(scope="module", params=["chalice", "functions"])
def hosted_by(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def served(hosted_by: str) -> FakePlatform:
    assert hosted_by  # each host has a platform of its own
    return FakePlatform()


@pytest.fixture(scope="module")
def server(hosted_by: str, served: FakePlatform) -> Iterator[ChaliceServer]:
    opening = open_server if hosted_by == "chalice" else open_functions_server
    with opening(served) as opened:
        yield opened
