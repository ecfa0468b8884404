"""An AWS account in memory as a good deployment leaves it; each test spoils one thing of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from backend_lambda.doctor.good_account import ACCESS_KEY, SECRET, GoodAccount

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, Any]]:
    """Run moto in this process for a file's tests; return the clients that they share, by service."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
            patched.delenv(name, raising=False)
        patched.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patched.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patched.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        with mock_aws():
            yield {}


@pytest.fixture
def aws(clients: dict[str, Any]) -> GoodAccount:
    """Return an account in which every check is content; its names are its own."""
    return GoodAccount(clients, next(_NUMBERS))
