"""How a host in Azure comes to AWS's services: by its own identity, for an hour at a time, without a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import botocore.session  # type: ignore[import-untyped] # no types
import pytest
from azure.functions import HttpRequest
from botocore.exceptions import CredentialRetrievalError  # type: ignore[import-untyped] # no types
from moto import mock_aws

from azurelib import container
from azurelib.settings import AzureSettings
from doubles.cloud_identity import CloudIdentity, cloud_identity
from nightingale.adapters.azure_identity import ManagedIdentity, TokenError
from nightingale.adapters.dynamodb_table import create_table
from nightingale.adapters.web_identity import WebIdentity
from nightingale.contract.operations import BY_NAME
from nightingale.hosting.settings import SettingsError
from nightingale.hosting.wired import NotWiredError
from nightingale_functions_local.host import declared_by_app

ROLE = "arn:aws:iam::123456789012:role/nightingale-functions"
ENVIRONMENT = {
    "NIGHTINGALE_TABLE": "nightingale",
    "NIGHTINGALE_AUDIT_BUCKET": "audit",
    "NIGHTINGALE_BUILDS_BUCKET": "builds",
    "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale-builds",
    "NIGHTINGALE_ADDRESSES": "https://nightingale.azurewebsites.net",
    "AWS_REGION": "eu-central-1",
    "NIGHTINGALE_AWS_ROLE": ROLE,
    "NIGHTINGALE_AWS_AUDIENCE": "api://nightingale",
}


@pytest.fixture
def identity() -> Iterator[CloudIdentity]:
    with cloud_identity() as told:
        yield told


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_read_whole() -> None:
    settings = AzureSettings.read(ENVIRONMENT)
    assert (settings.role, settings.audience, settings.client_id) == (ROLE, "api://nightingale", None)
    assert settings.services.table == "nightingale"


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        AzureSettings.read({key: value for key, value in ENVIRONMENT.items() if key != name})


def test_all_that_is_missing_is_named_at_once_with_the_page_to_read() -> None:
    with pytest.raises(NotWiredError) as raised:
        container.make({})
    assert all(name in str(raised.value) for name in ENVIRONMENT)
    assert "run-on-functions" in raised.value.next_step


def test_all_that_is_wrong_is_told_at_once() -> None:
    environment = {**ENVIRONMENT, "NIGHTINGALE_ADDRESSES": "nowhere", "NIGHTINGALE_AWS_ROLE": "a-name"}
    with pytest.raises(SettingsError) as raised:
        AzureSettings.read({k: v for k, v in environment.items() if k != "NIGHTINGALE_AWS_AUDIENCE"})
    told = str(raised.value)
    assert all(name in told for name in ("NIGHTINGALE_ADDRESSES", "NIGHTINGALE_AWS_ROLE", "NIGHTINGALE_AWS_AUDIENCE"))


def test_a_role_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="no role"):
        AzureSettings.read(ENVIRONMENT | {"NIGHTINGALE_AWS_ROLE": "nightingale"})


# --- the token --------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_by_the_hosts_own_address_and_header(identity: CloudIdentity) -> None:
    assert ManagedIdentity(identity.environment, "api://nightingale", "an-id")() == "token-1"
    assert identity.asked == [{"api-version": "2019-08-01", "resource": "api://nightingale", "client_id": "an-id"}]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no managed identity"),
        ({"IDENTITY_ENDPOINT": "file:///etc/passwd", "IDENTITY_HEADER": "x"}, "no address"),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1:1/", "IDENTITY_HEADER": "x"}, "gave no token"),
    ],
)
def test_a_host_without_an_identity_says_so(environment: dict[str, str], words: str) -> None:
    with pytest.raises(TokenError, match=words):
        ManagedIdentity(environment, "api://nightingale")()


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (400, None, "answered 400"),
        (302, None, "answered 302"),
        (200, b"{", "gave no token"),
        (200, b"[]", "without a token"),
        (200, b'{"access_token": ""}', "without a token"),
    ],
)
def test_an_answer_without_a_token_is_said_and_no_redirect_followed(
    identity: CloudIdentity, status: int, said: bytes | None, words: str
) -> None:
    identity.status, identity.said = status, said
    with pytest.raises(TokenError, match=words):
        ManagedIdentity(identity.environment, "api://nightingale")()
    assert len(identity.asked) == 1


def test_no_error_repeats_the_header_or_a_token(identity: CloudIdentity) -> None:
    identity.status, identity.said = 500, b'{"access_token": "half-of-one"}'
    with pytest.raises(TokenError) as raised:
        ManagedIdentity(identity.environment, "api://nightingale")()
    assert identity.header not in str(raised.value)
    assert "half-of-one" not in str(raised.value)


# --- the role ---------------------------------------------------------------------------------------------------------


def of_role(identity: CloudIdentity) -> WebIdentity:
    token = ManagedIdentity(identity.environment, "api://nightingale")
    return WebIdentity(ROLE, token, region="eu-central-1", endpoint=identity.url)


def test_the_token_opens_the_role_when_the_first_request_comes_and_not_before(identity: CloudIdentity) -> None:
    credentials = of_role(identity)
    session = botocore.session.get_session()
    credentials.give_to(session)
    found = session.get_credentials()
    assert (identity.asked, identity.opened) == ([], [])
    keys = found.get_frozen_credentials()
    assert (keys.access_key, keys.token) == ("ASIA0000000000000001", "session-1")
    (form,) = identity.opened
    assert (form["RoleArn"], form["WebIdentityToken"], form["DurationSeconds"]) == (ROLE, "token-1", "3600")
    assert "secret" not in repr(credentials).lower()


def test_a_session_near_its_end_is_renewed_with_a_fresh_token(identity: CloudIdentity) -> None:
    identity.lives = [timedelta(minutes=5), timedelta(hours=1)]
    found = of_role(identity).load()
    assert found.get_frozen_credentials().token == "session-1"
    assert [found.get_frozen_credentials().token for _ in range(3)] == ["session-2"] * 3
    assert [form["WebIdentityToken"] for form in identity.opened] == ["token-1", "token-2"]


def test_all_clients_share_one_session(identity: CloudIdentity) -> None:
    credentials = of_role(identity)
    for _ in range(3):
        session = botocore.session.get_session()
        credentials.give_to(session)
        session.get_credentials().get_frozen_credentials()
    assert len(identity.opened) == 1


def test_keys_that_lie_about_are_not_used(identity: CloudIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "long-lived")
    session = botocore.session.get_session()
    of_role(identity).give_to(session)
    assert session.get_credentials().get_frozen_credentials().access_key.startswith("ASIA0000")


def test_an_identity_that_gives_no_token_is_an_error_of_the_sdk(identity: CloudIdentity) -> None:
    identity.status = 500
    with pytest.raises(CredentialRetrievalError, match="answered 500"):
        of_role(identity).load().get_frozen_credentials()


# --- the app on AWS's services ----------------------------------------------------------------------------------------


@pytest.fixture
def deployed(identity: CloudIdentity, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudIdentity]:
    """The app as Azure starts it, with services (of moto) behind it and an identity beside it."""
    for name, value in {**ENVIRONMENT, **identity.environment}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")  # for this test's own clients
    container.use_nothing()
    with mock_aws():
        s3 = boto3.client("s3", region_name="eu-central-1")
        for bucket in ("audit", "builds"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        create_table("nightingale", region="eu-central-1")
        yield identity
    container.use_nothing()


def ask(name: str, **told: Any) -> tuple[int, Any]:
    (route,) = (one for one in declared_by_app().routes if one.name == name)
    row = BY_NAME[name]
    asked = {"method": row.method, "url": f"https://nightingale.azurewebsites.net{row.path}", "body": b""} | told
    answer = route.call(**{route.argument: HttpRequest(**asked)})
    return answer.status_code, json.loads(answer.get_body())


def test_the_app_reads_and_writes_the_same_table_in_the_role(deployed: CloudIdentity) -> None:
    operator = container.wired().platform.services.login.create_service_session("operator", timedelta(hours=1))
    headers = {"authorization": f"Bearer {operator}"}
    assert ask("get_me", headers=headers)[0] == 200
    status, answer = ask("list_audit_events", headers=headers, route_params={"stream": "platform"})
    assert (status, [one["tag"] for one in answer["events"]]) == (200, ["operation:call:allowed"])  # this look itself
    assert len(deployed.asked) == 1
    stored = boto3.client("dynamodb", region_name="eu-central-1").scan(TableName="nightingale")["Items"]
    assert any("operator" in str(item) for item in stored)


def test_an_identity_that_is_gone_is_a_503_with_words(deployed: CloudIdentity) -> None:
    deployed.status = 500
    status, answer = ask("create_challenge")
    assert (status, answer["code"]) == (503, "unavailable")
    assert "identity" in answer["message"]
