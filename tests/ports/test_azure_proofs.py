"""Machines of Azure prove who they are: what STS is asked is ours, and of its answer three names are read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from botocore.loaders import Loader  # type: ignore[import-untyped] # no types
from botocore.model import ServiceModel  # type: ignore[import-untyped] # no types
from botocore.serialize import create_serializer  # type: ignore[import-untyped] # no types
from botocore.validate import ParamValidator  # type: ignore[import-untyped] # no types

from doubles import sts
from doubles.machine_proofs import start_of
from doubles.sts_web_identity import (
    AUDIENCE,
    ISSUER,
    NOW,
    OTHER_PRINCIPAL,
    PRINCIPAL,
    ROLE,
    SECRET_KEY,
    TENANT,
    FakeWebIdentitySts,
    answered,
    failed,
    token_of,
)
from nightingale.adapters.azure_proofs import NOTHING, SECONDS, AzureProofs
from nightingale.contract.machines import AwsProof, AzureProof, IdentifyMachineIn
from nightingale.domain.machine import MachineIdentity
from nightingale.ports.machine_proofs import MachineProofError, MachineProofUnavailableError

REGION = "eu-central-1"
DIGEST = "ab" * 32
AWS_PROOF = AwsProof(authorization="x", date="20261102T090000Z", session_token="t" * 40)


@pytest.fixture
def aws() -> FakeWebIdentitySts:
    return FakeWebIdentitySts()


@pytest.fixture
def proofs(aws: FakeWebIdentitySts) -> AzureProofs:
    return made(send=aws.send)


def made(**changes: Any) -> AzureProofs:
    return AzureProofs(**{"tenant": TENANT, "audience": AUDIENCE, "role": ROLE, "region": REGION, **changes})


def check(proofs: AzureProofs, token: str | None = None, start: str = DIGEST) -> MachineIdentity:
    proof = AzureProof(token=token if token is not None else token_of())
    return proofs.check(proof, server="https://api.example.org", nonce="n" * 40, start=start)


def result(**changes: Any) -> bytes:
    named = {"Audience": AUDIENCE, "Provider": f"https://{ISSUER}", "SubjectFromWebIdentityToken": PRINCIPAL}
    return answered({**named, "Credentials": {"SecretAccessKey": SECRET_KEY}, **changes})


# --- good proofs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names_issuer", [True, False], ids=["by its issuer", "by its name in IAM"])
def test_a_machine_is_who_sts_says_it_is(proofs: AzureProofs, aws: FakeWebIdentitySts, names_issuer: bool) -> None:  # noqa: FBT001 - a case
    aws.names_issuer = names_issuer
    assert check(proofs) == MachineIdentity(TENANT, "", PRINCIPAL)
    assert check(proofs, token_of(OTHER_PRINCIPAL.upper())).machine_id == OTHER_PRINCIPAL


def test_what_is_asked_opens_nothing_and_is_signed_by_nobody(proofs: AzureProofs, aws: FakeWebIdentitySts) -> None:
    check(proofs)
    [(headers, form)] = aws.asked
    assert set(headers) == {"Content-Type", "Accept"}
    assert form["RoleArn"] == ROLE
    assert form["DurationSeconds"] == str(SECONDS) == "900"
    assert form["RoleSessionName"] == f"start-{DIGEST[:32]}"
    [statement] = json.loads(form["Policy"])["Statement"]
    assert statement == {"Effect": "Deny", "Action": "*", "Resource": "*"}


def test_the_request_is_the_one_that_the_sdk_makes() -> None:
    bodies: list[bytes] = []

    def send(_: dict[str, str], body: bytes) -> tuple[int, bytes]:
        bodies.append(body)
        return 200, result()

    token = token_of()
    check(made(send=send), token)
    operation = ServiceModel(Loader().load_service_model("sts", "service-2")).operation_model(
        "AssumeRoleWithWebIdentity"
    )
    told = {
        "RoleArn": ROLE,
        "RoleSessionName": f"start-{DIGEST[:32]}",
        "WebIdentityToken": token,
        "Policy": NOTHING,
        "DurationSeconds": SECONDS,
    }
    assert not ParamValidator().validate(told, operation.input_shape).has_errors()
    expected = create_serializer("query").serialize_to_request(told, operation)["body"]
    assert parse_qs(bodies[0].decode()) == {name: [str(value)] for name, value in expected.items()}
    assert operation.auth_type == "none"  # it needs no permission and no key of ours


# --- tokens that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (token_of(key=b"somebody else's"), "InvalidIdentityToken"),
        (token_of(iss="https://sts.windows.net/00000000-0000-0000-0000-000000000000/"), "InvalidIdentityToken"),
        (token_of(aud="https://management.azure.com/"), "InvalidIdentityToken"),
        (token_of(exp=NOW - 1), "ExpiredTokenException"),
        (token_of(aud="api://second-backend"), "AccessDenied"),
        (token_of("spn:nightingale"), "no identity of Azure"),
    ],
    ids=["forged", "another tenant", "another audience", "expired", "the second backend's", "no machine"],
)
def test_a_token_that_is_none_of_a_machines_for_this_platform_is_refused(
    proofs: AzureProofs, token: str, words: str
) -> None:
    with pytest.raises(MachineProofError, match=words) as raised:
        check(proofs, token)
    assert token not in str(raised.value)


def test_every_changed_part_of_a_token_is_refused(proofs: AzureProofs) -> None:
    mine, others = token_of().split("."), token_of(OTHER_PRINCIPAL).split(".")
    for swapped in ([mine[0], others[1], mine[2]], [mine[0], mine[1], others[2]]):
        with pytest.raises(MachineProofError, match="InvalidIdentityToken"):
            check(proofs, ".".join(swapped))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Audience": "api://another"}, "another audience"),
        ({"Audience": f"{AUDIENCE}x"}, "another audience"),
        ({"Provider": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/"}, "another tenant"),
        ({"Provider": f"https://evil.example.org/sts.windows.net/{TENANT}/"}, "another tenant"),
        ({"Provider": f"arn:aws:iam::123456789012:oidc-provider/evil/{ISSUER}"}, "another tenant"),
        ({"Provider": f"{ISSUER}extra"}, "another tenant"),
        ({"SubjectFromWebIdentityToken": f"{PRINCIPAL}\n"}, "no identity"),
        ({"SubjectFromWebIdentityToken": ""}, "no identity"),
    ],
)
def test_an_answer_about_somebody_else_is_no_machine_of_ours(changes: dict[str, str], words: str) -> None:
    with pytest.raises(MachineProofError, match=words):
        check(made(send=lambda *_: (200, result(**changes))))


def test_a_proof_of_another_cloud_reaches_nobody(proofs: AzureProofs, aws: FakeWebIdentitySts) -> None:
    assert not proofs.takes(AWS_PROOF)
    assert proofs.takes(AzureProof(token=token_of()))
    with pytest.raises(MachineProofError, match="no proof of a machine in Azure"):
        proofs.check(AWS_PROOF, server="https://api.example.org", nonce="n" * 40, start=DIGEST)
    with pytest.raises(MachineProofError, match="digest"):
        check(proofs, start="ab\r\n")
    assert aws.asked == []


# --- STS in trouble ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (302, b""),
        (429, b""),
        (200, b"<html>"),
        (200, b"\xff\xfe"),
        (200, b'{"AssumeRoleWithWebIdentityResponse": null}'),
        (200, answered({"Credentials": {"SecretAccessKey": SECRET_KEY}})),
        (200, result() + b" " * 20_000),
        failed(400, "IDPCommunicationError"),
        failed(400, "Throttling"),
        failed(400, "ValidationError"),
        failed(403, "RegionDisabledException"),
        failed(400, "PackedPolicyTooLarge"),
        failed(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider"),
    ],
)
def test_an_answer_that_is_none_says_nothing_of_the_proof(
    aws: FakeWebIdentitySts, proofs: AzureProofs, answer: tuple[int, bytes]
) -> None:
    aws.answer = answer
    with pytest.raises(MachineProofUnavailableError) as raised:
        check(proofs)
    assert SECRET_KEY not in f"{raised.value!r} {raised.value.__cause__!r}"
    assert len(aws.asked) == 1  # a machine asks again by itself, and a person waits for nobody's answer twice


def test_no_answer_at_all_says_nothing_of_the_proof() -> None:
    def silent(headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        assert headers
        assert body
        raise TimeoutError

    with pytest.raises(MachineProofUnavailableError, match="TimeoutError"):
        check(made(send=silent))


# --- what is shown and sent -------------------------------------------------------------------------------------------


def test_neither_token_nor_keys_show(proofs: AzureProofs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    token = token_of()
    identity = check(proofs, token)
    claim = IdentifyMachineIn(
        project="brain",
        instance_id="i-0123456789",
        server="s",
        nonce="n" * 20,
        start=start_of("i-0123456789"),
        azure=AzureProof(token=token),
    )
    kept = {name: one for name, one in vars(proofs).items() if name != "_send"}  # which is the double, that keeps all
    shown = repr((identity, kept, claim)) + caplog.text
    assert token not in shown
    assert SECRET_KEY not in shown


@pytest.mark.parametrize(
    "token", ["", "a.b.c", "no token", "a" * 40, f"{'a' * 20}.{'b' * 9000}.{'c' * 20}", f"{token_of()}\n"]
)
def test_what_is_no_token_by_its_form_is_no_claim(token: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"token": token}, AzureProof)
    assert msgspec.convert({"token": token_of()}, AzureProof)


@pytest.mark.slow
def test_over_http_too_and_no_redirect_is_followed() -> None:
    with sts.running() as served:
        served.answer = (200, result())
        proofs = made(endpoint=served.url)
        assert check(proofs).machine_id == PRINCIPAL
        [(method, path, headers, body)] = served.asked
        assert (method, path) == ("POST", "/")
        assert "authorization" not in headers
        assert b"WebIdentityToken=" in body
        served.answer = (302, b"")
        with pytest.raises(MachineProofUnavailableError, match="302"):
            check(proofs)
        assert len(served.asked) == 2
