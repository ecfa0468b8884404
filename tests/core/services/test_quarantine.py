"""Quarantine as people and rules ask for it: who may, what it refuses, what is shown to whom, that machines follow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from doubles.platforms import FakePlatform, given, pass_time
from nightingale.contract.vocabulary import AuditTag, Status
from nightingale.domain.deadlines import Deadlines
from nightingale.domain.errors import RefusedError
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.ports.prober import Activity, ProbeOutcome

WHY = "copies the cohort of patient 4711"
BODY = {"why": WHY}
BODIES: dict[str, Any] = {"resize_instance": {"cpu": "s"}, "extend_instance": {"seconds": 600}}
RULE = "honeypot_touched"


@pytest.fixture
async def platform() -> FakePlatform:
    platform = FakePlatform()
    await platform.run()
    return platform


def put_in(platform: FakePlatform, **more: Any) -> str:
    """Put `scan` in quarantine as the platform does for a rule, and return its id."""
    return platform.services.quarantine.quarantine("platform", "brain", "scan", WHY, by_rule=RULE, **more).id


def seen_by(platform: FakePlatform, who: str) -> dict[str, Any]:
    seen: dict[str, Any] = platform.ask("get_instance", who, "scan")
    return seen


def tunnel(platform: FakePlatform) -> str:
    """Return the id of a channel of grace's to `scan`."""
    key = platform.signatures.fingerprint_of(platform.signatures.key("grace"))
    body = {"person": "grace", "fingerprint": key, "target": "scan", "port": 8888, "client": "192.0.2.9"}
    channel_id: str = platform.ask("open_channel", "gateway", None, body)["channel_id"]
    return channel_id


# --- what it does -----------------------------------------------------------------------------------------------------


async def test_it_is_a_property_beside_the_status_with_an_entry_of_its_history(platform: FakePlatform) -> None:
    seen = platform.ask("quarantine_instance", "hedy", "scan", BODY)
    assert (seen["status"], seen["is_quarantined"]) == ("running", True)
    assert platform.machines.quarantined == {seen["id"]}
    entry = platform.ask("list_history", "hedy", "scan")["entries"][-1]
    assert (entry["event"], entry["actor"], entry["before"], entry["after"], entry["note"]) == (
        *("quarantine", "hedy", "running", "running"),
        WHY,
    )


async def test_twice_is_once_and_so_is_its_release(platform: FakePlatform) -> None:
    for _ in range(2):
        platform.ask("quarantine_instance", "hedy", "scan", BODY)
    for _ in range(2):
        platform.ask("release_instance", "hedy", "scan", {"why": "a false alarm"})
    events = [entry["event"] for entry in platform.ask("list_history", "hedy", "scan")["entries"]]
    assert (events.count("quarantine"), events.count("release")) == (1, 1)
    assert platform.machines.quarantined == set()
    tags = platform.audit.tags(platform.get().id)
    assert [tag for tag in tags if "quarantine" in tag or "release" in tag] == [
        AuditTag.INSTANCE_QUARANTINED.value,
        AuditTag.INSTANCE_HELD.value,
        AuditTag.INSTANCE_RELEASED.value,
        AuditTag.INSTANCE_LET_GO.value,
    ]


async def test_a_rule_is_named_and_why_leaves_the_platform_by_no_record(platform: FakePlatform) -> None:
    instance_id = put_in(platform)
    (fact,) = [one for one in platform.audit.events(instance_id) if one.tag == AuditTag.INSTANCE_QUARANTINED.value]
    assert (fact.actor, fact.detail["rule"]) == ("platform", RULE)
    assert not any("4711" in str(one.detail) for one in platform.audit.events())


async def test_administrators_are_told_why_and_others_only_that_it_is_so(platform: FakePlatform) -> None:
    put_in(platform)
    told = seen_by(platform, "hedy")["quarantine"]
    assert (told["by"], told["why"], told["by_rule"], told["trouble"]) == ("platform", WHY, RULE, "")
    assert told["settled_at"] is not None
    for who in ("grace", "ada", "mary", "otto"):
        answers = (seen_by(platform, who), platform.ask("list_history", who, "scan"))
        assert not any(secret in str(answers) for secret in ("4711", RULE))
        assert "quarantine" in answers[0]["quarantine"]["words"]
        assert answers[0]["quarantine"]["next_step"]


async def test_what_was_before_is_for_administrators_only(platform: FakePlatform) -> None:
    put_in(platform)
    platform.ask("release_instance", "hedy", "scan", {"why": "a false alarm"})
    told = seen_by(platform, "hedy")["quarantine"]
    assert (told["released_by"], told["released_why"]) == ("hedy", "a false alarm")
    assert seen_by(platform, "grace")["quarantine"] is None


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["grace", "ada", "operator"])
async def test_nobody_starts_resizes_extends_or_opens_it(platform: FakePlatform, who: str) -> None:
    put_in(platform)
    for operation in ("start_instance", "retry_instance", "resize_instance", "extend_instance"):
        assert platform.refusal(operation, who, "scan", BODIES.get(operation)) == "forbidden"
    assert platform.refusal("open_jupyter", "grace", "scan") == "forbidden"
    assert platform.machines.admitted == []


@pytest.mark.parametrize("who", ["grace", "ada"])
async def test_only_administrators_end_it(platform: FakePlatform, who: str) -> None:
    put_in(platform)
    for operation in ("stop_instance", "delete_instance"):
        assert platform.refusal(operation, who, "scan", query=_sure(operation)) == "forbidden"
    assert seen_by(platform, who)["allowed_actions"] == []
    assert set(seen_by(platform, "hedy")["allowed_actions"]) == {"stop", "delete", "release"}
    assert platform.ask("stop_instance", "hedy", "scan")["status"] == "stopping"


def _sure(operation: str) -> dict[str, str]:
    return {"destroy_evidence": "true"} if operation == "delete_instance" else {}


async def test_deleting_it_destroys_evidence_and_has_to_be_meant(platform: FakePlatform) -> None:
    put_in(platform)
    assert platform.refusal("delete_instance", "hedy", "scan") == "not_allowed_now"
    assert platform.get().status is Status.RUNNING
    deleted = platform.ask("delete_instance", "hedy", "scan", query={"destroy_evidence": "true"})
    assert deleted["status"] == "terminating"
    await platform.settle()
    assert platform.ask("list_instances", "hedy", query={"all": "true"})["instances"][0]["status"] == "terminated"


async def test_a_stopped_one_stays_in_it_and_is_started_once_it_is_released(platform: FakePlatform) -> None:
    put_in(platform)
    platform.ask("stop_instance", "hedy", "scan")
    await platform.settle()
    assert (platform.get().status, platform.get().is_quarantined) == (Status.STOPPED, True)
    assert platform.refusal("start_instance", "grace", "scan") == "forbidden"
    platform.ask("release_instance", "hedy", "scan", BODY)
    assert platform.ask("start_instance", "grace", "scan")["status"] == "provisioning"


async def test_the_gateway_lets_nobody_in_and_ends_what_is_open(platform: FakePlatform) -> None:
    channel = tunnel(platform)
    used = {"sent": 0, "received": 0}
    assert platform.handle("renew_channel", "gateway", None, used, channel=channel).status == 200
    put_in(platform)
    assert platform.refusal("renew_channel", "gateway", None, used, channel=channel) == "forbidden"
    with pytest.raises(AssertionError):
        tunnel(platform)


async def test_from_inside_nothing_is_accepted_but_what_was_read(platform: FakePlatform) -> None:
    put_in(platform)
    for operation, body in (
        ("begin_job", {"name": "x"}),
        ("notify_owner", {"message": "x"}),
        ("stop_own_instance", None),
    ):
        assert platform.refusal(operation, "instance", None, body) == "forbidden"
    record = {"number": 1, "kind": "observer_started", "at": "2026-11-02T09:00:00Z"}
    assert platform.ask("ship_reads", "shipper", None, {"records": [record]}) == {"number": 1}


# --- in flight, and by itself -----------------------------------------------------------------------------------------


async def test_while_something_is_under_way_it_is_not_busy_and_outlasts_the_build() -> None:
    platform = FakePlatform()
    platform.launch()
    assert platform.ask("quarantine_instance", "hedy", "scan", BODY)["status"] == "provisioning"
    await platform.settle()
    seen = platform.get()
    assert (seen.status, seen.is_quarantined) == (Status.STARTING, True)  # its server is frozen and never ready
    platform.ask("release_instance", "hedy", "scan", BODY)
    await platform.settle()
    assert platform.get().status is Status.RUNNING


async def test_neither_its_lifetime_nor_silence_nor_idleness_ends_it() -> None:
    platform = FakePlatform()
    running = await platform.run(stop_after_seconds=60)
    await pass_time(platform, 2)
    put_in(platform)
    platform.prober.default = ProbeOutcome.SILENT
    platform.prober.activities[f"unix:/instances/{running.id}/run/jupyter.sock"] = Activity(
        last_activity_at=platform.clock.now(), is_busy=False, kernels=1, connections=1
    )
    await pass_time(platform, 200)
    await platform.watch.beat_activity()
    seen = platform.get()
    assert (seen.status, seen.unreachable_since, seen.stops_at) == (Status.RUNNING, None, None)
    assert seen.usage_seconds == 202  # and it is billed
    assert "quarantine" in seen.why_up


async def test_after_its_release_silence_counts_anew() -> None:
    platform = FakePlatform()
    await platform.run()
    put_in(platform)
    platform.prober.default = ProbeOutcome.SILENT
    await pass_time(platform, 100)
    platform.ask("release_instance", "hedy", "scan", BODY)
    await pass_time(platform, 4)
    assert platform.get().unreachable_since is None
    await pass_time(platform, 3)
    assert platform.get().unreachable_since is not None


async def test_the_end_of_its_machine_is_news_all_the_same(platform: FakePlatform) -> None:
    instance_id = put_in(platform)
    await pass_time(platform, 20)
    platform.machines.lose(instance_id)
    await pass_time(platform, 1)
    seen = platform.get()
    assert (seen.status, given(seen.reason).code, seen.is_quarantined) == (Status.FAILED, "machine_rebooted", True)
    assert 19 <= seen.usage_seconds <= 21
    assert platform.refusal("retry_instance", "grace", "scan") == "forbidden"


# --- machines that do not follow --------------------------------------------------------------------------------------


async def test_a_machine_that_does_not_follow_is_told_again_and_administrators_see_it(platform: FakePlatform) -> None:
    platform.machines.is_deaf = True
    instance_id = put_in(platform)
    told = seen_by(platform, "hedy")["quarantine"]
    assert (told["settled_at"], told["trouble"]) == (None, "it does not freeze")
    assert seen_by(platform, "grace")["is_quarantined"]
    platform.watch.refresh()
    platform.watch.beat_quarantine()
    platform.machines.is_deaf = False
    platform.watch.beat_quarantine()
    assert platform.machines.quarantined == {instance_id}
    told = seen_by(platform, "hedy")["quarantine"]
    assert (told["trouble"], told["settled_at"] is not None) == ("", True)
    tags = platform.audit.tags(instance_id)
    assert tags.count(AuditTag.INSTANCE_NOT_HELD.value) == tags.count(AuditTag.INSTANCE_HELD.value) == 1


async def test_a_machine_that_woke_is_put_back(platform: FakePlatform) -> None:
    instance_id = put_in(platform)
    platform.watch.refresh()
    platform.watch.beat_quarantine()
    platform.machines.quarantined.clear()
    platform.clock.advance(10)
    platform.watch.beat_quarantine()
    assert platform.machines.quarantined == {instance_id}


async def test_a_watcher_that_remembers_yesterday_does_not_freeze_what_was_released(platform: FakePlatform) -> None:
    platform.machines.is_deaf = True
    put_in(platform)
    platform.watch.refresh()
    platform.machines.is_deaf = False
    platform.ask("release_instance", "hedy", "scan", BODY)
    platform.watch.beat_quarantine()
    assert platform.machines.quarantined == set()
    assert seen_by(platform, "hedy")["quarantine"]["trouble"] == ""


async def test_a_release_that_fails_is_made_up_for(platform: FakePlatform) -> None:
    instance_id = put_in(platform)
    platform.machines.is_deaf = True
    platform.ask("release_instance", "hedy", "scan", BODY)
    assert platform.machines.quarantined == {instance_id}
    platform.machines.is_deaf = False
    platform.watch.refresh()
    platform.watch.beat_quarantine()
    assert platform.machines.quarantined == set()


async def test_what_cannot_be_recorded_does_not_happen(platform: FakePlatform) -> None:
    platform.token("hedy")
    platform.audit.break_down()
    answer = platform.handle("quarantine_instance", "hedy", "scan", BODY)
    assert platform.error(answer)["code"] == "unavailable"
    platform.audit.mend()
    assert not platform.get().is_quarantined


# --- people -----------------------------------------------------------------------------------------------------------


async def test_a_person_who_is_revoked_is_out_and_their_tunnel_with_them(platform: FakePlatform) -> None:
    channel = tunnel(platform)
    assert platform.services.quarantine.revoke_person("platform", "grace", WHY, by_rule=RULE)
    assert platform.refusal("get_me", "grace") == "unauthenticated"
    used = {"sent": 0, "received": 0}
    assert platform.refusal("renew_channel", "gateway", None, used, channel=channel) == "forbidden"
    assert platform.get().status is Status.RUNNING
    assert not platform.services.quarantine.revoke_person("platform", "grace", WHY)
    (fact,) = [one for one in platform.audit.events(PLATFORM_STREAM) if one.tag == AuditTag.PERSON_REVOKED.value]
    assert (fact.actor, fact.subject, fact.detail["rule"]) == ("platform", "grace", RULE)


async def test_who_is_not_there_cannot_be_revoked(platform: FakePlatform) -> None:
    with pytest.raises(RefusedError, match="no person nobody"):
        platform.services.quarantine.revoke_person("platform", "nobody", WHY)


async def starting_in_quarantine() -> tuple[FakePlatform, str]:
    """Return a platform whose `scan` was starting when it was put in quarantine, and its id."""
    platform = FakePlatform()
    platform.prober.default = ProbeOutcome.REFUSED
    platform.builder.finish(given(platform.launch().build_id))
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    return platform, put_in(platform)


async def pass_most(platform: FakePlatform, span: timedelta) -> None:
    """Let all but the last second of a span pass, in beats that no clock's step explains."""
    beat, left = timedelta(seconds=50), span - timedelta(seconds=1)
    while left:
        platform.clock.advance(min(beat, left))
        left -= min(beat, left)
        platform.watch.refresh()
        await platform.watch.beat_in_flight()


async def test_a_start_in_quarantine_is_not_over_time_and_has_its_whole_time_after_the_release() -> None:
    platform, _ = await starting_in_quarantine()
    await pass_most(platform, 3 * Deadlines().starting)
    assert platform.get().status == "starting"
    platform.ask("release_instance", "hedy", "scan", BODY)
    await pass_most(platform, Deadlines().starting)
    assert platform.get().status == "starting"
    await pass_time(platform, 1)
    assert given(platform.get().reason).code == "start_timeout"


async def test_a_start_that_was_released_becomes_ready_after_all() -> None:
    platform, _ = await starting_in_quarantine()
    platform.prober.default = ProbeOutcome.OK
    await pass_most(platform, 3 * Deadlines().starting)
    assert platform.get().status == "starting"
    platform.ask("release_instance", "hedy", "scan", BODY)
    await pass_time(platform, 2)
    assert platform.get().status == "running"


async def test_a_start_that_died_in_quarantine_is_seen_at_once() -> None:
    platform, instance_id = await starting_in_quarantine()
    platform.machines.crash(instance_id)
    await pass_time(platform, 1)
    assert platform.get().status == "failed"
