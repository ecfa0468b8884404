"""Tokens for Azure by what AWS signs: asked for late, kept for as long as they are good, renewed by one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from doubles.azure_cloud import AUDIENCE, CLIENT_ID, TENANT, AzureCloud, azure_cloud
from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.azure_identity import TokenError
from nightingale.adapters.entra_tokens import LAST_S, RENEWED_BEFORE_S, AwsAssertion, EntraTokens

SCOPE = "https://management.azure.com/.default"


@dataclass
class Clock:
    """Seconds that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureCloud]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with azure_cloud() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(cloud: AzureCloud, clock: Clock) -> EntraTokens:
    sts = LazyClient("sts", region="eu-central-1", endpoint=cloud.url)
    return EntraTokens(TENANT, CLIENT_ID, AwsAssertion(sts), SCOPE, endpoint=cloud.url, monotonic=clock)


def test_what_aws_signed_is_exchanged_for_a_token(cloud: AzureCloud, tokens: EntraTokens) -> None:
    assert cloud.signed == []
    assert tokens() == "token-1"
    asked = cloud.signed[0]
    assert (asked["Action"], asked["Audience.member.1"]) == ("GetWebIdentityToken", AUDIENCE)
    assert (asked["SigningAlgorithm"], asked["DurationSeconds"]) == ("RS256", "300")
    sent = cloud.exchanged[0]
    assert (sent["client_id"], sent["scope"], sent["grant_type"]) == (CLIENT_ID, SCOPE, "client_credentials")
    assert sent["client_assertion"] == f"signed 1 for {AUDIENCE}"
    assert "token" not in repr(tokens)


def test_a_token_is_kept_until_shortly_before_its_end(cloud: AzureCloud, clock: Clock, tokens: EntraTokens) -> None:
    assert [tokens() for _ in range(5)] == ["token-1"] * 5
    clock.now += 3600 - RENEWED_BEFORE_S - 1
    assert tokens() == "token-1"
    clock.now += 1
    assert tokens() == "token-2"
    assert len(cloud.exchanged) == 2


def test_a_token_that_was_refused_is_asked_for_anew(tokens: EntraTokens) -> None:
    assert tokens() == "token-1"
    tokens.forget()
    assert tokens() == "token-2"


def test_while_the_next_one_cannot_be_had_the_present_one_is_used_to_its_end(
    cloud: AzureCloud, clock: Clock, tokens: EntraTokens
) -> None:
    assert tokens() == "token-1"
    cloud.refusal = "AADSTS90033"
    clock.now += 3600 - RENEWED_BEFORE_S
    assert tokens() == "token-1"
    clock.now += RENEWED_BEFORE_S - LAST_S
    with pytest.raises(TokenError, match="AADSTS90033"):
        tokens()


def test_many_threads_fetch_one_token(cloud: AzureCloud, tokens: EntraTokens) -> None:
    begin, had = threading.Barrier(8), list[str]()

    def ask() -> None:
        begin.wait(10)
        had.append(tokens())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert had == ["token-1"] * 8
    assert len(cloud.exchanged) == 1


def test_one_thread_renews_and_the_others_do_not_wait_for_it(cloud: AzureCloud, clock: Clock) -> None:
    entered, go = threading.Event(), threading.Event()
    is_slow: list[bool] = []

    def assertion() -> str:
        if is_slow:
            entered.set()
            assert go.wait(10)
        return f"signed 1 for {AUDIENCE}"

    tokens = EntraTokens(TENANT, CLIENT_ID, assertion, SCOPE, endpoint=cloud.url, monotonic=clock)
    assert tokens() == "token-1"
    clock.now += 3600 - RENEWED_BEFORE_S
    is_slow.append(True)
    renewed: list[str] = []
    thread = threading.Thread(target=lambda: renewed.append(tokens()))
    thread.start()
    assert entered.wait(10)
    assert tokens() == "token-1"
    go.set()
    thread.join(10)
    assert renewed == ["token-2"]
    assert tokens() == "token-2"


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("AADSTS700213", "names this role of AWS as its subject"),
        ("AADSTS700211", "names this issuer"),
        ("AADSTS1234567", "AADSTS1234567"),
    ],
)
def test_a_refusal_of_entras_is_told_by_its_code_and_never_with_what_was_sent(
    cloud: AzureCloud, tokens: EntraTokens, refusal: str, words: str
) -> None:
    cloud.refusal = refusal
    with pytest.raises(TokenError, match=words) as raised:
        tokens()
    assert "signed" not in str(raised.value)


def test_an_account_that_signs_no_tokens_is_told_what_to_do(cloud: AzureCloud, tokens: EntraTokens) -> None:
    cloud.aws_refusal = "OutboundWebIdentityFederationDisabledException"
    with pytest.raises(TokenError, match="enable-outbound-web-identity-federation"):
        tokens()
    cloud.aws_refusal = "AccessDenied"
    with pytest.raises(TokenError, match="AWS refused it"):
        tokens()


def test_without_an_answer_of_entras_there_is_no_token(tokens: EntraTokens, clock: Clock) -> None:
    nowhere = EntraTokens(TENANT, CLIENT_ID, lambda: "x", SCOPE, endpoint="http://127.0.0.1:9", monotonic=clock)
    with pytest.raises(TokenError, match="ConnectionRefusedError"):
        nowhere()
    assert tokens() == "token-1"
