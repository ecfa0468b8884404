"""Machines in a cloud: only the machine that an instance's build made becomes it, once a start."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from doubles.machine_claims import ask, code_of, identify, launch, report, start_in
from doubles.machine_proofs import ADDRESS, MACHINE, OTHER_MACHINE, FakeProofs, claim, start_of, token_of
from doubles.platforms import URL, FakePlatform, given
from nightingale.app.dispatch import Request
from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.machines import AwsProof, StartIn, start_digest
from nightingale.contract.vocabulary import AuditTag, ReasonCode
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.services import records
from nightingale.services.starts import StoredStarts


@pytest.fixture
def proofs() -> FakeProofs:
    return FakeProofs()


@pytest.fixture
def platform(proofs: FakeProofs) -> FakePlatform:
    return FakePlatform(proofs={"local": proofs})


# --- the right machine ------------------------------------------------------------------------------------------------


async def test_the_machine_that_the_build_made_becomes_the_instance(platform: FakePlatform, proofs: FakeProofs) -> None:
    instance_id = await launch(platform)
    answer = identify(platform, instance_id)
    assert answer.status == 201, answer.body
    told = msgspec.json.decode(answer.body)
    assert (told["name"], told["owner"], told["owner_uid"], told["generation"]) == ("scan", "grace", 20_000, 1)
    start = start_in(platform, instance_id)
    assert (start.machine_id, start.address, start.generation) == (MACHINE, ADDRESS, 1)
    assert proofs.asked[0][0] == URL
    assert proofs.asked[0][2] == start_digest(start_of(instance_id)) == start.digest
    event = platform.audit.events(instance_id)[-1]
    assert (event.tag, event.detail["machine"]) == (AuditTag.MACHINE_IDENTIFIED.value, MACHINE)


@pytest.mark.parametrize("index", [None, {"address": "10.0.192.10:3142", "sha256": "ab" * 32}])
async def test_a_machine_is_told_where_its_packages_come_from(
    platform: FakePlatform, index: dict[str, str] | None
) -> None:
    instance_id = await launch(platform)
    stored = given(platform.lifecycle.find("brain", instance_id))
    build, version = given(platform.lifecycle.find_build(stored.instance))
    network = {**build.variables["network"], "packages": index}
    changed = replace(build, variables={**build.variables, "network": network})
    platform.store.put(records.build_item(changed, version))
    assert msgspec.json.decode(identify(platform, instance_id).body)["packages"] == index


async def test_nothing_secret_comes_back_or_is_shown(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    body = identify(platform, instance_id).body.decode()
    made = start_of(instance_id)
    for shown in (body, repr(start_in(platform, instance_id)), repr(made), str(platform.audit.events(instance_id))):
        assert made.jupyter_token not in shown
        assert made.door_key not in shown
        assert token_of(instance_id) not in shown
    item = given(platform.store.get(records.start_key(instance_id)))
    assert token_of(instance_id) not in repr(item.document)


async def test_an_answer_that_was_lost_is_had_again_by_the_same_start(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    first, second = identify(platform, instance_id), identify(platform, instance_id)
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body


async def test_while_the_build_has_not_ended_the_machine_is_put_off(platform: FakePlatform) -> None:
    launched = platform.launch()
    answer = identify(platform, launched.id)
    assert code_of(answer) == (409, "not_allowed_now")
    assert answer.retry_after_s == 5
    assert StoredStarts(platform.store).find(launched.id) is None


async def test_a_new_generation_has_a_start_of_its_own(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    platform.machines.crash(instance_id)
    await platform.watch.beat_in_flight()
    assert platform.get().status == "failed"
    platform.ask("retry_instance", "grace", "scan")
    build = given(platform.get().build_id)
    platform.builder.finish(build, address=ADDRESS, resource_ids={"instance": OTHER_MACHINE})
    platform.machines.remove(instance_id)
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    assert code_of(identify(platform, instance_id)) == (403, "forbidden")  # the machine before
    assert identify(platform, instance_id, OTHER_MACHINE, start=start_of(instance_id, 2)).status == 201
    assert start_in(platform, instance_id).generation == 2


# --- wrong machines ---------------------------------------------------------------------------------------------------


async def test_another_machine_is_refused_and_recorded(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    assert code_of(identify(platform, instance_id, OTHER_MACHINE)) == (403, "forbidden")
    assert StoredStarts(platform.store).find(instance_id) is None
    event = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (event.tag, event.subject) == (AuditTag.MACHINE_REFUSED.value, instance_id)
    assert OTHER_MACHINE in event.detail["why"]


async def test_a_machine_of_one_instance_is_none_of_another(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    other = await launch(platform, OTHER_MACHINE, "other")
    assert code_of(identify(platform, other, MACHINE)) == (403, "forbidden")
    assert code_of(identify(platform, instance_id, OTHER_MACHINE)) == (403, "forbidden")
    assert code_of(identify(platform, other, OTHER_MACHINE, project="heart"))[1] == "forbidden"


async def test_a_second_start_of_a_generation_is_refused_and_recorded(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    assert identify(platform, instance_id).status == 201
    assert code_of(identify(platform, instance_id, start=start_of(instance_id, 2))) == (403, "forbidden")
    assert start_in(platform, instance_id).digest == start_digest(start_of(instance_id))
    assert platform.audit.events(PLATFORM_STREAM)[-1].tag == AuditTag.MACHINE_REFUSED.value


async def test_of_many_starts_at_once_one_is_kept(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    nonces = [platform.services.login.create_challenge().nonce for _ in range(8)]
    barrier = threading.Barrier(8)
    statuses: list[int] = []

    def attempt(number: int) -> None:
        body = claim(instance_id, nonces[number], URL, start=start_of(instance_id, number + 1))
        barrier.wait()
        statuses.append(ask(platform, body).status)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, *[403] * 7]


@pytest.mark.parametrize("ending", ["stop_instance", "delete_instance"])
async def test_an_instance_that_is_not_starting_starts_nothing(platform: FakePlatform, ending: str) -> None:
    running = await platform.run()
    platform.ask(ending, "grace", "scan")
    assert identify(platform, running.id).status in {403, 409}
    await platform.settle()
    assert code_of(identify(platform, running.id)) == (403, "forbidden")


async def test_a_machine_that_rebooted_does_not_start_again_in_a_running_instances_name(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    assert identify(platform, instance_id).status == 201
    platform.machines.bring_up(instance_id)
    await platform.watch.beat_in_flight()
    assert platform.get().status == "running"
    assert code_of(identify(platform, instance_id, start=start_of(instance_id, 2))) == (403, "forbidden")


# --- proofs that are none ---------------------------------------------------------------------------------------------


async def test_a_proof_is_good_once(platform: FakePlatform, proofs: FakeProofs) -> None:
    instance_id = await launch(platform)
    body = claim(instance_id, platform.services.login.create_challenge().nonce, URL)
    assert ask(platform, body).status == 201
    assert code_of(ask(platform, body)) == (401, "invalid_signature")
    assert len(proofs.asked) == 1


async def test_a_proof_for_another_server_is_refused_before_anyone_is_asked(
    platform: FakePlatform, proofs: FakeProofs
) -> None:
    instance_id = await launch(platform)
    assert code_of(identify(platform, instance_id, server="https://evil.example.org")) == (401, "invalid_signature")
    assert proofs.asked == []


async def test_a_nonce_is_worth_nothing_to_a_machine_after_its_time(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    body = claim(instance_id, platform.services.login.create_challenge().nonce, URL)
    platform.clock.advance(121)
    assert code_of(ask(platform, body)) == (401, "invalid_signature")


async def test_a_stranger_learns_nothing_of_what_there_is(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    bad = AwsProof(authorization="nonsense", date="20261102T090000Z", session_token="t" * 40)
    answers = [
        platform.error(identify(platform, named, proof=bad, start=start_of(instance_id)))
        for named in (instance_id, "i-nosuch0000")
    ]
    assert {(one["code"], one["message"]) for one in answers} == {("invalid_signature", "this proves nothing")}


async def test_a_machine_that_is_nobodys_is_refused(platform: FakePlatform) -> None:
    assert code_of(identify(platform, "i-nosuch0000")) == (403, "forbidden")


async def test_a_place_without_proofs_takes_none() -> None:
    platform = FakePlatform()
    instance_id = await launch(platform)
    assert code_of(identify(platform, instance_id)) == (401, "invalid_signature")


async def test_a_cloud_that_cannot_be_asked_says_so(platform: FakePlatform, proofs: FakeProofs) -> None:
    instance_id = await launch(platform)
    proofs.is_down = True
    answer = identify(platform, instance_id)
    assert code_of(answer) == (503, "unavailable")
    assert answer.retry_after_s == 5
    proofs.is_down = False
    assert identify(platform, instance_id).status == 201


async def test_refused_machines_are_bounded_and_good_ones_count_for_none(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    bad = AwsProof(authorization="nonsense", date="20261102T090000Z", session_token="t" * 40)
    codes = []
    for _ in range(62):
        platform.clock.advance(1)
        codes.append(code_of(identify(platform, instance_id, proof=bad))[1])
    assert set(codes) == {"invalid_signature"}
    nonces = [platform.services.login.create_challenge(f"192.0.2.{n}").nonce for n in range(62)]
    codes = [code_of(ask(platform, claim(instance_id, nonce, URL, proof=bad)))[1] for nonce in nonces]
    assert codes[-1] == "too_many_requests"
    platform.clock.advance(timedelta(hours=1))
    for _ in range(70):
        platform.clock.advance(1)
        assert identify(platform, instance_id).status == 201


@pytest.mark.parametrize(
    "changes",
    [
        {"project": "Brain"},
        {"instance_id": "i-1\n"},
        {"nonce": "short"},
        {"extra": 1},
        {"start": {"instance_token_hash": "x"}},
        {"proof": {"authorization": "x", "date": "yesterday", "session_token": "t" * 40}},
        {"proof": {"url": "https://evil.example.org", "authorization": "x", "date": "20261102T090000Z"}},
    ],
)
def test_a_body_of_another_form_is_refused(platform: FakePlatform, changes: dict[str, Any]) -> None:
    body = {**msgspec.to_builtins(claim("i-0000000001", "n" * 20, URL)), **changes}
    answer = platform.dispatcher.handle("identify_machine", Request(body=msgspec.json.encode(body)))
    assert code_of(answer) == (422, "invalid")


# --- reports ----------------------------------------------------------------------------------------------------------


LAUNCHER = LauncherRecord(
    pid=1,
    start_time=1,
    boot_id="b",
    generation=1,
    started_at=datetime(2026, 11, 2, 9, tzinfo=UTC),
    sandbox="bubblewrap",
)
EXIT = ExitRecord(
    generation=1,
    code=ReasonCode.BOOT_FAILED,
    words="no\x1b[2J home",
    next_step="",
    started_at=LAUNCHER.started_at,
    ended_at=LAUNCHER.started_at,
    last_lines=tuple("x" * 1000 for _ in range(100)),
)


async def test_a_machine_tells_how_its_start_went(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    assert report(platform, instance_id, {"generation": 1, "launcher": msgspec.to_builtins(LAUNCHER)}).status == 200
    assert start_in(platform, instance_id).launcher == LAUNCHER
    assert report(platform, instance_id, {"generation": 1, "exit": msgspec.to_builtins(EXIT)}).status == 200
    ended = given(start_in(platform, instance_id).exit)
    assert ended.words == "no [2J home"
    assert [len(line) for line in ended.last_lines] == [500] * 40
    again = {"generation": 1, "exit": {**msgspec.to_builtins(EXIT), "words": "another"}}
    assert report(platform, instance_id, again).status == 200
    assert given(start_in(platform, instance_id).exit).words == "no [2J home"


@pytest.mark.parametrize("generation", [0, 2])
async def test_a_report_about_another_start_is_refused(platform: FakePlatform, generation: int) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    assert code_of(report(platform, instance_id, {"generation": generation})) == (409, "not_allowed_now")
    mixed = {"generation": 1, "launcher": {**msgspec.to_builtins(LAUNCHER), "generation": generation}}
    assert code_of(report(platform, instance_id, mixed)) == (409, "not_allowed_now")


async def test_reports_are_bounded(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    statuses = [report(platform, instance_id, {"generation": 1}).status for _ in range(32)]
    assert statuses[-1] == 429
    assert statuses[0] == 200


async def test_an_interruption_is_recorded_once_and_shown_to_the_owner(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    for at in ("2026-11-02T09:02:00Z", "2026-11-02T09:03:00Z"):
        assert report(platform, instance_id, {"generation": 1, "interrupted_at": at}).status == 200
    assert start_in(platform, instance_id).interrupted_at == datetime(2026, 11, 2, 9, 2, tzinfo=UTC)
    tags = [event.tag for event in platform.audit.events(instance_id)]
    assert tags.count(AuditTag.MACHINE_INTERRUPTED.value) == 1
    told = platform.stored(instance_id).instance.work.notifications
    assert [one.text for one in told] == ["The cloud takes this machine back at 09:02:00 UTC: save your work."]


# --- codes ------------------------------------------------------------------------------------------------------------


async def test_a_code_lets_in_once_in_its_time_and_to_its_own_instance(platform: FakePlatform) -> None:
    running = await platform.run()
    token = platform.own_token("scan")
    starts = StoredStarts(platform.store)

    def take(code_hash: str) -> bool:
        answer = platform.dispatcher.handle(
            "take_code", Request(body=msgspec.json.encode({"code_hash": code_hash}), authorization=f"Bearer {token}")
        )
        assert answer.status == 200, answer.body
        is_good: bool = msgspec.json.decode(answer.body)["is_good"]
        return is_good

    until = platform.clock.now() + timedelta(seconds=60)
    starts.admit(running.id, "1" * 64, until)
    starts.admit("i-someother0", "2" * 64, until)
    starts.admit(running.id, "3" * 64, platform.clock.now())
    assert [take("1" * 64), take("1" * 64)] == [True, False]
    assert [take("2" * 64), take("3" * 64), take("4" * 64)] == [False, False, False]


def test_a_start_never_shows_what_is_in_it() -> None:
    made = StartIn(
        instance_token_hash="1" * 64,
        shipper_token_hash="2" * 64,
        jupyter_token="3" * 64,
        door_certificate="4" * 64,
        door_key="5" * 64,
    )
    assert repr(made) == "StartIn(...)"
