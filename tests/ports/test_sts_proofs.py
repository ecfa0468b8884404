"""Machines of AWS prove who they are: what STS is asked is ours, and every forgery of the rest is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped] # no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped] # no types
from botocore.credentials import Credentials as SdkCredentials  # type: ignore[import-untyped] # no types

from doubles import sts
from doubles.clocks import START, FixedClock
from doubles.sts import ACCOUNT, HOST, REGION, ROLE, FakeSts, Session, of_machine
from nightingale.adapters.sts_proofs import StsProofs
from nightingale.contract.machines import IDENTITY_BODY, IDENTITY_CONTENT_TYPE, AwsProof
from nightingale.domain.machine import MachineIdentity
from nightingale.ports.machine_proofs import MachineProofError, MachineProofUnavailableError
from nightingale_build.boot import proof as machine_side

MACHINE = "i-0123456789abcdef0"
SERVER = "https://api.example.org/api"
NONCE = "x7Jq0" * 8
DIGEST = "ab" * 32


@pytest.fixture
def aws() -> FakeSts:
    return FakeSts(sessions=[of_machine(MACHINE)])


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def proofs(aws: FakeSts, clock: FixedClock) -> StsProofs:
    return StsProofs(account=ACCOUNT, role=ROLE, region=REGION, clock=clock, send=aws.send)


def signed(session: Session | None = None, **changes: Any) -> AwsProof:
    """Return the proof as a machine makes it, of the values that the tests use unless they are changed."""
    session = session or of_machine(MACHINE)
    told = {"host": HOST, "region": REGION, "at": START, "server": SERVER, "nonce": NONCE, "start": DIGEST, **changes}
    return machine_side.sign(machine_side.Credentials(session.access_key, session.secret_key, session.token), **told)


def check(proofs: StsProofs, proof: AwsProof, **changes: str) -> MachineIdentity:
    return proofs.check(proof, **{"server": SERVER, "nonce": NONCE, "start": DIGEST, **changes})


def test_a_machine_is_who_sts_says_it_is(proofs: StsProofs, aws: FakeSts) -> None:
    assert check(proofs, signed()) == MachineIdentity(ACCOUNT, ROLE, MACHINE)
    [(method, path, headers, body)] = aws.asked
    assert (method, path, headers["host"], body) == ("POST", "/", HOST, IDENTITY_BODY)


def test_the_machines_signature_is_the_one_that_the_sdk_makes() -> None:
    session = of_machine(MACHINE)
    request = AWSRequest(method="POST", url=f"https://{HOST}/", data=IDENTITY_BODY)
    request.headers["Content-Type"] = IDENTITY_CONTENT_TYPE
    request.headers["X-Amz-Security-Token"] = session.token
    request.headers["X-Amz-Date"] = "20261102T090000Z"
    request.headers.add_header("X-Nightingale-Nonce", NONCE)
    request.headers.add_header("X-Nightingale-Server", SERVER)
    request.headers.add_header("X-Nightingale-Start", DIGEST)
    signer = SigV4Auth(SdkCredentials(session.access_key, session.secret_key, session.token), "sts", REGION)
    request.context["timestamp"] = "20261102T090000Z"
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert signed().authorization.endswith(f"Signature={expected}")


# --- forgeries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [{"server": "https://evil.example.org"}, {"nonce": "y" * 40}, {"start": "cd" * 32}],
    ids=["another server", "another nonce", "another start"],
)
def test_a_signature_over_something_else_is_worth_nothing(proofs: StsProofs, changed: dict[str, Any]) -> None:
    with pytest.raises(MachineProofError, match="SignatureDoesNotMatch"):
        check(proofs, signed(**changed))


def test_a_signature_for_another_host_cannot_bring_us_there(proofs: StsProofs, aws: FakeSts) -> None:
    with pytest.raises(MachineProofError, match="SignatureDoesNotMatch"):
        check(proofs, signed(host="sts.evil.example.org"))
    assert [headers["host"] for _, _, headers, _ in aws.asked] == [HOST]


def test_a_signature_for_another_action_or_address_is_worth_nothing(proofs: StsProofs, aws: FakeSts) -> None:
    session = of_machine(MACHINE)
    for method, path, body in (
        ("POST", "/", b"Action=AssumeRole&Version=2011-06-15"),
        ("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", b""),
        ("POST", "/elsewhere", IDENTITY_BODY),
    ):
        request = AWSRequest(method=method, url=f"https://{HOST}{path}", data=body)
        proof = signed()
        request.headers["Content-Type"] = IDENTITY_CONTENT_TYPE
        request.headers["X-Amz-Security-Token"] = session.token
        request.headers["X-Amz-Date"] = proof.date
        for name, value in (("Nonce", NONCE), ("Server", SERVER), ("Start", DIGEST)):
            request.headers.add_header(f"X-Nightingale-{name}", value)
        signer = SigV4Auth(SdkCredentials(session.access_key, session.secret_key, session.token), "sts", REGION)
        request.context["timestamp"] = proof.date
        made = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        forged = msgspec.structs.replace(
            proof, authorization=f"{proof.authorization.partition('Signature=')[0]}Signature={made}"
        )
        with pytest.raises(MachineProofError, match="SignatureDoesNotMatch"):
            check(proofs, forged)
    assert {(method, path, body) for method, path, _, body in aws.asked} == {("POST", "/", IDENTITY_BODY)}


@pytest.mark.parametrize("left_out", ["host", "x-nightingale-nonce", "x-nightingale-server", "x-nightingale-start"])
def test_a_signature_that_leaves_a_header_out_never_reaches_sts(proofs: StsProofs, aws: FakeSts, left_out: str) -> None:
    proof = signed()
    less = msgspec.structs.replace(proof, authorization=proof.authorization.replace(f"{left_out};", "", 1))
    if left_out == "x-nightingale-start":
        less = msgspec.structs.replace(proof, authorization=proof.authorization.replace(f";{left_out}", "", 1))
    assert less != proof
    with pytest.raises(MachineProofError, match="over exactly"):
        check(proofs, less)
    assert aws.asked == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"/{REGION}/sts/", "/us-east-1/sts/"),
        ("/sts/", "/iam/"),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("Signature=", "Signature=0"),
        ("content-type;", "content-type;x-amz-target;"),
        ("AWS4", "AWS4\r\nHost: evil.example.org\r\nX: AWS4"),
        ("AWS4", "X AWS4"),
    ],
    ids=["another region", "another service", "another algorithm", "too long", "one more header", "lines", "more"],
)
def test_an_odd_authorization_never_reaches_sts(proofs: StsProofs, aws: FakeSts, old: str, new: str) -> None:
    proof = signed()
    odd = msgspec.structs.replace(proof, authorization=proof.authorization.replace(old, new, 1))
    assert odd != proof
    with pytest.raises(MachineProofError):
        check(proofs, odd)
    assert aws.asked == []


def test_every_changed_digit_of_the_signature_is_refused(proofs: StsProofs) -> None:
    text = signed().authorization
    for place in range(len(text) - 64, len(text)):
        digit = "0" if text[place] != "0" else "1"
        with pytest.raises(MachineProofError, match="SignatureDoesNotMatch"):
            check(proofs, msgspec.structs.replace(signed(), authorization=text[:place] + digit + text[place + 1 :]))


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a b", "", "ü"])
def test_what_cannot_stand_in_a_header_never_reaches_sts(proofs: StsProofs, aws: FakeSts, value: str) -> None:
    with pytest.raises(MachineProofError, match="header"):
        check(proofs, signed(), server=value)
    assert aws.asked == []


@pytest.mark.parametrize(("seconds", "words"), [(301, "301 s ahead of"), (-900, "900 s behind")])
def test_a_clock_that_is_off_is_told_by_name(proofs: StsProofs, aws: FakeSts, seconds: int, words: str) -> None:
    with pytest.raises(MachineProofError, match=f"clock skew: the machine's clock is {words}"):
        check(proofs, signed(at=START + timedelta(seconds=seconds)))
    assert aws.asked == []


def test_the_day_of_the_scope_and_the_time_must_agree(proofs: StsProofs) -> None:
    with pytest.raises(MachineProofError, match="day"):
        check(proofs, msgspec.structs.replace(signed(at=datetime(2026, 11, 1, tzinfo=UTC)), date="20261102T090000Z"))


# --- others' identities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        (f"arn:aws:iam::{ACCOUNT}:user/grace", "another kind"),
        (f"arn:aws:iam::{ACCOUNT}:root", "another kind"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/grace", "another kind"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/{MACHINE}x", "another kind"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/path/{ROLE}/{MACHINE}", "another kind"),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/{MACHINE}", "another kind"),
        (f"arn:evil:sts::{ACCOUNT}:assumed-role/{ROLE}/{MACHINE}", "another kind"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/other-role/{MACHINE}", "another role"),
        (f"arn:aws:sts::999999999999:assumed-role/{ROLE}/{MACHINE}", "another account"),
    ],
)
def test_only_machines_of_our_account_and_role_count(aws: FakeSts, proofs: StsProofs, arn: str, words: str) -> None:
    aws.sessions = [Session(arn)]
    with pytest.raises(MachineProofError, match=words):
        check(proofs, signed(aws.sessions[0]))


def test_an_account_that_differs_from_the_names_is_refused(aws: FakeSts, proofs: StsProofs) -> None:
    aws.sessions = [Session(of_machine(MACHINE).arn, account="999999999999")]
    with pytest.raises(MachineProofError, match="another account"):
        check(proofs, signed(aws.sessions[0]))


# --- STS in trouble ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (302, b""),
        (200, b"<html>"),
        (200, json.dumps({"GetCallerIdentityResponse": None}).encode()),
        (200, b"x" * 20_000),
        (429, b""),
    ],
)
def test_an_answer_that_is_none_says_nothing_of_the_proof(
    aws: FakeSts, proofs: StsProofs, answer: tuple[int, bytes]
) -> None:
    aws.answer = answer
    with pytest.raises(MachineProofUnavailableError):
        check(proofs, signed())


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "RequestLimitExceeded"])
def test_a_throttled_question_says_nothing_of_the_proof(clock: FixedClock, code: str) -> None:
    body = f'{{"Error":{{"Code":"{code}","Message":"Rate exceeded","Type":"Sender"}}}}'.encode()
    proofs = StsProofs(account=ACCOUNT, role=ROLE, region=REGION, clock=clock, send=lambda _: (400, body))
    with pytest.raises(MachineProofUnavailableError, match=code):
        check(proofs, signed())


def test_no_answer_at_all_says_nothing_of_the_proof(clock: FixedClock) -> None:
    def silent(headers: dict[str, str]) -> tuple[int, bytes]:
        assert headers
        raise TimeoutError

    proofs = StsProofs(account=ACCOUNT, role=ROLE, region=REGION, clock=clock, send=silent)
    with pytest.raises(MachineProofUnavailableError, match="TimeoutError"):
        check(proofs, signed())


def test_no_proof_shows_in_a_repr(aws: FakeSts) -> None:
    session = aws.sessions[0]
    shown = repr(signed()) + repr(machine_side.Credentials(session.access_key, session.secret_key, session.token))
    assert session.token not in shown
    assert session.secret_key not in shown
    assert "Signature" not in shown


# --- over a real connection -------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[FakeSts]:
    with sts.running() as fake:
        yield fake


@pytest.mark.slow
def test_over_http_too_and_no_redirect_is_followed(served: FakeSts, clock: FixedClock) -> None:
    served.sessions = [of_machine(MACHINE)]
    proofs = StsProofs(account=ACCOUNT, role=ROLE, region=REGION, clock=clock, endpoint=served.url)
    host = served.url.removeprefix("http://")
    assert check(proofs, signed(host=host)).machine_id == MACHINE
    served.answer = (302, b"")
    with pytest.raises(MachineProofUnavailableError, match="302"):
        check(proofs, signed(host=host))
    assert len(served.asked) == 2
