"""Machines in Azure: a token of the identity that the build's machine has, and of no other, starts an instance once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from doubles.machine_claims import ask, code_of, start_in
from doubles.machine_proofs import ADDRESS, MACHINE, FakeProofs, claim, start_of
from doubles.platforms import URL, FakePlatform, given
from doubles.sts_web_identity import (
    AUDIENCE,
    OTHER_PRINCIPAL,
    PRINCIPAL,
    ROLE,
    TENANT,
    FakeWebIdentitySts,
    token_of,
)
from nightingale.adapters.azure_proofs import AzureProofs
from nightingale.app.dispatch import Request, Response
from nightingale.contract.machines import AwsProof, AzureProof, IdentifyMachineIn, start_digest
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.services.starts import StoredStarts

VM = (
    "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/a-group-of-resources-whose-name-is-as-long-as-"
    "azure-lets-it-be-which-is-ninety-characters/providers/Microsoft.Compute/virtualMachines/nightingale-i-0123456789"
)


@pytest.fixture
def sts() -> FakeWebIdentitySts:
    return FakeWebIdentitySts()


@pytest.fixture
def platform(sts: FakeWebIdentitySts) -> FakePlatform:
    """Return a platform whose one place, `local`, is proven as Azure's are; beside it one as AWS's."""
    azure = AzureProofs(tenant=TENANT, audience=AUDIENCE, role=ROLE, region="eu-central-1", send=sts.send)
    return FakePlatform(proofs={"aws": FakeProofs(), "local": azure})


async def launch(platform: FakePlatform, identity: str | None = PRINCIPAL, name: str = "scan") -> str:
    """Launch an instance whose build made a machine with this identity, and return its id: it is starting."""
    launched = platform.launch(name)
    finish(platform, given(launched.build_id), identity)
    platform.machines.remove(launched.id)
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    assert platform.get(name).status == "starting"
    return launched.id


def finish(platform: FakePlatform, build_id: str, identity: str | None) -> None:
    ids = {"home": "disk", "instance": VM, "identity": identity}
    platform.builder.finish(build_id, address=ADDRESS, resource_ids=ids)


def claimed(platform: FakePlatform, instance_id: str, token: str, number: int = 1, **changes: Any) -> Response:
    """Let a machine claim to be this instance's by a token, with a fresh nonce."""
    nonce = platform.services.login.create_challenge().nonce
    return ask(platform, in_azure(instance_id, nonce, token, start=start_of(instance_id, number), **changes))


def in_azure(instance_id: str, nonce: str, token: str, **changes: Any) -> IdentifyMachineIn:
    return claim(instance_id, nonce, URL, **{"proof": None, "azure": AzureProof(token=token), **changes})


def said(platform: FakePlatform, answer: Response) -> tuple[str, ...]:
    """Return all that a refusal tells, but for the request's own id."""
    error = platform.error(answer)
    return (error["code"], error["message"], error["next_step"])


# --- the right machine ------------------------------------------------------------------------------------------------


async def test_the_machine_whose_identity_the_build_made_becomes_the_instance(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    answer = claimed(platform, instance_id, token_of())
    assert answer.status == 201, answer.body
    start = start_in(platform, instance_id)
    assert (start.machine_id, start.address, start.generation) == (VM, ADDRESS, 1)
    event = platform.audit.events(instance_id)[-1]
    assert (event.tag, event.detail["machine"]) == (AuditTag.MACHINE_IDENTIFIED.value, PRINCIPAL)


async def test_terraform_may_write_the_identity_in_capitals(platform: FakePlatform) -> None:
    assert claimed(platform, await launch(platform, PRINCIPAL.upper()), token_of()).status == 201


async def test_the_same_start_may_ask_again_and_the_machine_starts_again_with_the_same_token_a_generation_later(
    platform: FakePlatform,
) -> None:
    """Azure gives the same token for most of a day: the machine that was stopped in the evening has no other."""
    token = token_of()
    instance_id = await launch(platform)
    assert [claimed(platform, instance_id, token).status for _ in range(2)] == [201, 201]
    platform.machines.bring_up(instance_id)
    await platform.watch.beat_in_flight()
    for command in ("stop_instance", "start_instance"):
        platform.ask(command, "grace", "scan")
        finish(platform, given(platform.get().build_id), PRINCIPAL)
        platform.machines.remove(instance_id)
        platform.watch.refresh()
        await platform.watch.beat_in_flight()
    assert platform.get().status == "starting"
    assert claimed(platform, instance_id, token, number=2).status == 201
    assert start_in(platform, instance_id).generation == platform.get().generation > 1


# --- a token in the wrong hands ---------------------------------------------------------------------------------------


async def test_a_token_is_good_for_one_start_of_a_generation(platform: FakePlatform) -> None:
    token = token_of()
    instance_id = await launch(platform)
    assert claimed(platform, instance_id, token).status == 201
    assert code_of(claimed(platform, instance_id, token, number=2)) == (403, "forbidden")
    event = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (event.tag, event.subject) == (AuditTag.MACHINE_REFUSED.value, instance_id)
    assert start_in(platform, instance_id).digest == start_digest(start_of(instance_id))
    platform.machines.bring_up(instance_id)
    await platform.watch.beat_in_flight()
    assert platform.get().status == "running"
    assert code_of(claimed(platform, instance_id, token, number=3)) == (403, "forbidden")


async def test_a_nonce_is_good_once_with_whatever_token(platform: FakePlatform, sts: FakeWebIdentitySts) -> None:
    instance_id = await launch(platform)
    body = in_azure(instance_id, platform.services.login.create_challenge().nonce, token_of())
    assert ask(platform, body).status == 201
    assert code_of(ask(platform, body)) == (401, "invalid_signature")
    assert len(sts.asked) == 1


async def test_a_token_shown_to_another_server_is_refused_before_anyone_is_asked(
    platform: FakePlatform, sts: FakeWebIdentitySts
) -> None:
    instance_id = await launch(platform)
    answer = claimed(platform, instance_id, token_of(), server="https://evil.example.org")
    assert code_of(answer) == (401, "invalid_signature")
    assert sts.asked == []


async def test_another_machines_token_starts_nothing(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    other = await launch(platform, OTHER_PRINCIPAL, "other")
    assert code_of(claimed(platform, instance_id, token_of(OTHER_PRINCIPAL))) == (403, "forbidden")
    assert code_of(claimed(platform, other, token_of())) == (403, "forbidden")
    assert StoredStarts(platform.store).find(instance_id) is None


@pytest.mark.parametrize("identity", [None, "", VM])
async def test_a_build_that_names_no_identity_has_a_machine_that_nobody_proves_to_be(
    platform: FakePlatform, identity: str | None
) -> None:
    instance_id = await launch(platform, identity)
    assert code_of(claimed(platform, instance_id, token_of())) == (403, "forbidden")


# --- two clouds beside each other -------------------------------------------------------------------------------------


async def test_a_proof_of_the_other_cloud_starts_nothing_and_tells_nothing(platform: FakePlatform) -> None:
    """Whether an instance is there, and in which cloud, is not told by what is said of a proof."""
    instance_id = await launch(platform, MACHINE)  # as if one cloud's ids could look like the other's
    nonces = [platform.services.login.create_challenge().nonce for _ in range(2)]
    answers = [
        ask(platform, claim(named, nonce, URL, MACHINE, start=start_of(instance_id)))
        for named, nonce in zip((instance_id, "i-nosuch0000"), nonces, strict=True)
    ]
    assert [code_of(one) for one in answers] == [(403, "forbidden")] * 2
    assert said(platform, answers[0]) == said(platform, answers[1])
    assert StoredStarts(platform.store).find(instance_id) is None


async def test_a_stranger_with_a_token_learns_nothing_of_what_there_is(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    for token in (token_of(key=b"forged"), token_of(OTHER_PRINCIPAL)):
        answers = [claimed(platform, named, token) for named in (instance_id, "i-nosuch0000")]
        assert said(platform, answers[0]) == said(platform, answers[1])


async def test_a_platform_without_azure_takes_no_token() -> None:
    platform = FakePlatform(proofs={"local": FakeProofs()})
    instance_id = await launch(platform)
    assert code_of(claimed(platform, instance_id, token_of())) == (401, "invalid_signature")


async def test_sts_without_an_answer_is_no_refusal(platform: FakePlatform, sts: FakeWebIdentitySts) -> None:
    instance_id = await launch(platform)
    sts.answer = (500, b"")
    answer = claimed(platform, instance_id, token_of())
    assert (code_of(answer), answer.retry_after_s) == ((503, "unavailable"), 5)
    sts.answer = None
    assert claimed(platform, instance_id, token_of()).status == 201


# --- on the wire ------------------------------------------------------------------------------------------------------


def test_a_machine_in_aws_says_what_it_always_said() -> None:
    told = json.loads(msgspec.json.encode(claim("i-0123456789", "n" * 20, URL)))
    assert set(told) == {"project", "instance_id", "server", "nonce", "proof", "start"}
    assert isinstance(msgspec.convert(told, IdentifyMachineIn).shown, AwsProof)


@pytest.mark.parametrize("proofs", [{}, {"proof": None, "azure": None}, {"azure": {"token": token_of()}}])
def test_a_claim_shows_one_proof(platform: FakePlatform, proofs: dict[str, Any]) -> None:
    told = msgspec.to_builtins(claim("i-0123456789", "n" * 20, URL))
    body = {**told, **proofs} if proofs else {name: one for name, one in told.items() if name != "proof"}
    answer = platform.dispatcher.handle("identify_machine", Request(body=msgspec.json.encode(body)))
    assert code_of(answer) == (422, "invalid")
    assert "one proof" in str(platform.error(answer))
