"""The Chalice app by itself: what is registered, and what it says when nothing is wired to it."""

from __future__ import annotations

import json

import pytest
from chalice.app import Chalice
from chalice.deploy.validate import validate_route_content_types
from chalice.test import Client

import app as lambda_app
from chalicelib import container
from doubles.platforms import FakePlatform
from nightingale.contract.operations import OPERATIONS


@pytest.fixture
def chalice_app() -> Chalice:
    return lambda_app.app


def test_every_operation_is_registered_once_and_nothing_else(chalice_app: Chalice) -> None:
    registered = [
        (method, path, entry.view_name)
        for path, methods in chalice_app.routes.items()
        for method, entry in methods.items()
    ]
    assert sorted(registered) == sorted((row.method, row.path, row.name) for row in OPERATIONS)


def test_the_routes_pass_chalices_own_check_before_deployment(chalice_app: Chalice) -> None:
    validate_route_content_types(chalice_app.routes, chalice_app.api.binary_types)


def test_chalices_test_client_reaches_the_platform(chalice_app: Chalice) -> None:
    platform = FakePlatform()
    container.use(platform.dispatcher)
    with Client(chalice_app) as client:
        answer = client.http.get("/v1/me", headers={"Authorization": f"Bearer {platform.token('grace')}"})
    assert answer.status_code == 200
    assert json.loads(answer.body)["person"] == "grace"
    assert answer.headers["X-Request-Id"].startswith("r-")


def test_an_app_without_a_platform_says_unavailable_and_what_to_do(chalice_app: Chalice) -> None:
    container.use_nothing()
    with Client(chalice_app) as client:
        answer = client.http.get("/health")
    assert answer.status_code == 503
    error = json.loads(answer.body)
    assert error["code"] == "unavailable"
    assert "local up" in error["next_step"]
    assert answer.headers["Retry-After"] == "5"
    assert error["request_id"]
