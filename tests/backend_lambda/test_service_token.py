"""The SSH gateway's token on a platform in AWS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import boto3  # type: ignore[import-untyped] # no types
import pytest
from moto import mock_aws

from chalicelib import container, service_token
from nightingale.adapters.dynamodb_table import create_table

ENVIRONMENT = {
    "NIGHTINGALE_TABLE": "nightingale",
    "NIGHTINGALE_AUDIT_BUCKET": "audit",
    "NIGHTINGALE_BUILDS_BUCKET": "builds",
    "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale-builds",
    "NIGHTINGALE_ADDRESSES": "https://api.example.org/api",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        create_table("nightingale", region="eu-central-1")
        s3 = boto3.client("s3", region_name="eu-central-1")
        s3.create_bucket(Bucket="audit", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        container.use_nothing()
        yield
        container.use_nothing()


@pytest.mark.usefixtures("account")
def test_a_token_of_the_gateway_speaks_for_the_gateway_so_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert service_token.main(["gateway", "90"]) == 0
    told = capsys.readouterr()
    platform = container.wired().platform
    principal = platform.services.login.authenticate(f"Bearer {told.out}")
    assert principal.name == "gateway"
    assert told.err == ""
    assert principal.expires_at is not None
    left = principal.expires_at - platform.adapters.clock.now()
    assert timedelta(days=89) < left <= timedelta(days=90)


@pytest.mark.parametrize("days", ["0", "366"])
def test_a_token_without_an_end_is_refused(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert service_token.main(["gateway", days]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "hint" in told.err


def test_nobody_elses_token_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        service_token.main(["operator", "1"])
    assert capsys.readouterr().out == ""


def test_without_the_functions_settings_it_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    container.use_nothing()
    assert service_token.main(["gateway", "1"]) == 1
    told = capsys.readouterr()
    assert "NIGHTINGALE_TABLE" in told.err
    assert told.out == ""
