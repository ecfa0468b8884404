"""What an instance does about itself by the token inside its sandbox: its own commands, and nobody else's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from doubles.platforms import FakePlatform, socket_of, team_cluster
from nightingale.app.dispatch import Request, Response
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.schemas import MemberIn, PolicyIn
from nightingale.contract.vocabulary import AuditTag, Permission, Role, Status
from nightingale.domain.history import Event, EventName
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.ports.prober import Activity

OWN = [operation for operation in OPERATIONS if operation.permission is Permission.INSTANCE_SELF]
ACTOR = "grace (from scan)"


@pytest.fixture
async def platform() -> FakePlatform:
    made = FakePlatform()
    await made.run()
    return made


def own(platform: FakePlatform, operation: str, body: Any = None, **path: str) -> Any:
    return platform.ask(operation, "instance", None, body, **path)


def instance_id(platform: FakePlatform) -> str:
    return platform.get().id


def last_fact(platform: FakePlatform) -> tuple[str, str]:
    fact = platform.audit.events(instance_id(platform))[-1]
    return fact.tag, fact.actor


def begin(platform: FakePlatform, name: str = "train") -> str:
    job_id: str = own(platform, "begin_job", {"name": name})["job_id"]
    return job_id


def shown(platform: FakePlatform) -> tuple[str, int | None]:
    job = platform.get().job
    assert job is not None
    return job.name, job.percent


# --- looking and commanding -------------------------------------------------------------------------------------------


async def test_it_is_told_of_itself_what_its_owner_is_told(platform: FakePlatform) -> None:
    said, seen = own(platform, "get_own_instance"), platform.ask("get_instance", "grace", "scan")
    assert said == seen
    assert said["why_up"]
    assert "stop" in said["allowed_actions"]


@pytest.mark.parametrize(
    ("operation", "body", "status", "tag"),
    [
        ("stop_own_instance", None, Status.STOPPING, AuditTag.INSTANCE_STOP),
        ("resize_own_instance", {"cpu": "m"}, Status.RESIZING, AuditTag.INSTANCE_RESIZE),
        ("extend_own_instance", {"seconds": 7200}, Status.RUNNING, AuditTag.INSTANCE_EXTEND),
        ("delete_own_instance", None, Status.TERMINATING, AuditTag.INSTANCE_DELETE),
    ],
)
async def test_a_command_from_inside_is_done_and_recorded_as_the_owners_from_there(
    platform: FakePlatform, operation: str, body: Any, status: Status, tag: AuditTag
) -> None:
    assert own(platform, operation, body)["status"] == status.value
    assert last_fact(platform) == (tag.value, ACTOR)
    history = platform.ask("list_history", "grace", "scan")["entries"]
    assert history[-1]["actor"] == ACTOR


async def test_who_left_the_project_commands_nothing_from_inside_and_is_still_recorded(platform: FakePlatform) -> None:
    token = platform.own_token("scan")
    cluster = team_cluster()
    brain = next(project for project in cluster.projects if project.name == "brain")
    members = tuple(member for member in brain.members if member.person != "grace")
    left = msgspec.structs.replace(brain, members=(*members, MemberIn(person="grace", role=Role.AUDITOR)))
    projects = tuple(left if project.name == "brain" else project for project in cluster.projects)
    body = {"cluster": msgspec.to_builtins(msgspec.structs.replace(cluster, projects=projects)), "base": 1}
    body = msgspec.json.decode(msgspec.json.encode(body))
    platform.ask("apply_cluster", "hedy", None, body)
    for operation, asked in (("stop_own_instance", None), ("extend_own_instance", {"seconds": 600})):
        assert platform.error(send(platform, operation, asked, token))["code"] == "forbidden"
    assert send(platform, "record_contents", contents(1), token).status == 200


async def test_in_quarantine_commands_from_inside_are_refused(platform: FakePlatform) -> None:
    platform.ask("quarantine_instance", "hedy", "scan", {"why": "a look"})
    assert platform.refusal("stop_own_instance", "instance") == "forbidden"
    assert platform.get().status is Status.RUNNING


# --- refusals ---------------------------------------------------------------------------------------------------------


def send(platform: FakePlatform, operation: str, body: Any, token: str, *, through: str = "", **path: str) -> Response:
    content = msgspec.json.encode(body if body is not None else {})
    request = Request(path=path, body=content, authorization=f"Bearer {token}", through=through)
    return platform.dispatcher.handle(operation, request)


@pytest.mark.parametrize("operation", OWN, ids=lambda one: one.name)
async def test_through_the_socket_of_another_instance_a_token_is_worth_nothing(
    platform: FakePlatform, operation: Any
) -> None:
    other = await platform.run("other", "mary")
    before = [platform.stored(instance_id(platform)), platform.stored(other.id)]
    answer = send(platform, operation.name, {}, platform.own_token("scan"), through=other.id, job="j-0000000001")
    assert platform.error(answer)["code"] == "forbidden"
    assert [platform.stored(instance_id(platform)), platform.stored(other.id)] == before
    assert platform.audit.events(PLATFORM_STREAM)[-1].detail["through"] == other.id


async def test_through_an_instances_socket_nobody_else_is_answered_not_even_its_owner(platform: FakePlatform) -> None:
    scan = instance_id(platform)
    shipper = platform.own_token("scan", is_shipper=True)
    for token in (platform.token("grace"), platform.token("hedy"), platform.token("operator"), shipper):
        for operation in ("get_own_instance", "list_instances", "get_me", "ship_reads"):
            answer = send(platform, operation, {"records": []}, token, through=scan, project="brain")
            assert answer.status == 403, (operation, answer.body)
    assert send(platform, "get_own_instance", None, platform.own_token("scan"), through=scan).status == 200


async def test_the_token_of_an_earlier_start_is_worth_nothing(platform: FakePlatform) -> None:
    before = platform.own_token("scan")
    platform.machines.own_tokens[instance_id(platform), False] = before[:-64] + "7a" * 32
    assert platform.error(send(platform, "get_own_instance", None, before))["code"] == "unauthenticated"


async def test_a_stopped_instance_has_nothing_to_say(platform: FakePlatform) -> None:
    token = platform.own_token("scan")
    own(platform, "stop_own_instance")
    await platform.settle()
    assert platform.get().status is Status.STOPPED
    assert platform.error(send(platform, "get_own_instance", None, token))["code"] == "unauthenticated"


@pytest.mark.parametrize(
    ("operation", "body"),
    [("begin_job", {"name": "train"}), ("notify_owner", {"message": "x"}), ("mark_checkpoint", {})],
)
async def test_what_an_instance_that_stops_still_tells_is_refused_and_not_recorded_as_accepted(
    platform: FakePlatform, operation: str, body: Any
) -> None:
    own(platform, "stop_own_instance")
    before = platform.audit.tags(instance_id(platform))
    assert platform.refusal(operation, "instance", None, body) == "not_allowed_now"
    assert platform.audit.tags(instance_id(platform)) == before


# --- jobs -------------------------------------------------------------------------------------------------------------


async def test_a_job_shows_with_its_progress_to_those_who_may_read_the_logs(platform: FakePlatform) -> None:
    begin(platform)
    own(platform, "report_progress", {"percent": 40, "note": "epoch 4 of 10"})
    job = platform.ask("get_instance", "grace", "scan")["job"]
    assert (job["name"], job["percent"], job["note"], job["is_running"]) == ("train", 40, "epoch 4 of 10", True)
    assert platform.ask("get_instance", "mary", "scan")["job"]["note"] == ""


async def test_a_job_that_is_not_renewed_runs_no_more(platform: FakePlatform) -> None:
    job = begin(platform)
    for _ in range(4):
        platform.clock.advance(40)
        own(platform, "renew_job", job=job)
    platform.clock.advance(61)
    assert platform.get().job is None
    assert platform.refusal("renew_job", "instance", job=job) == "not_found"


async def test_an_ended_job_is_forgotten_and_ending_it_twice_changes_nothing(platform: FakePlatform) -> None:
    job = begin(platform)
    own(platform, "end_job", {"exit_code": 0}, job=job)
    assert last_fact(platform) == (AuditTag.JOB_ENDED.value, ACTOR)
    before = platform.stored(instance_id(platform))
    own(platform, "end_job", {"exit_code": 1}, job=job)
    assert platform.stored(instance_id(platform)) == before
    assert platform.get().job is None


async def test_a_failed_job_becomes_a_notification_whose_last_lines_only_readers_of_logs_see(
    platform: FakePlatform,
) -> None:
    job = begin(platform)
    own(platform, "end_job", {"exit_code": 3, "last_lines": ["patient 4711", "KeyError"]}, job=job)
    [told] = platform.ask("get_instance", "grace", "scan")["notifications"]
    assert (told["text"], told["log_tail"]) == ("train ended with exit status 3", ["patient 4711", "KeyError"])
    assert platform.ask("get_instance", "mary", "scan")["notifications"] == []
    assert not any("4711" in str(fact) for fact in platform.audit.events())


async def test_of_two_jobs_the_one_begun_last_is_shown_and_its_end_shows_the_other(platform: FakePlatform) -> None:
    first = begin(platform, "first")
    platform.clock.advance(1)
    second = begin(platform, "second")
    own(platform, "report_progress", {"percent": 10, "job_id": first})
    assert shown(platform) == ("second", None)
    own(platform, "end_job", {"exit_code": 0}, job=second)
    assert shown(platform) == ("first", 10)


async def test_there_is_an_end_to_how_many_jobs_run(platform: FakePlatform) -> None:
    for _ in range(8):
        begin(platform)
    assert platform.refusal("begin_job", "instance", None, {"name": "train"}) == "not_allowed_now"


async def test_progress_outside_of_a_job_shows_until_one_begins_and_keeps_nothing_up(platform: FakePlatform) -> None:
    own(platform, "report_progress", {"percent": 70, "note": "by hand"})
    job = platform.ask("get_instance", "grace", "scan")["job"]
    assert (job["percent"], job["is_running"]) == (70, False)
    assert not platform.stored(instance_id(platform)).instance.work.runs(platform.clock.now())
    begin(platform)
    assert shown(platform) == ("train", None)


async def test_a_start_shows_nothing_of_the_one_before(platform: FakePlatform) -> None:
    own(platform, "report_progress", {"percent": 70})
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    assert platform.get().job is None
    platform.clock.advance(5)
    platform.ask("start_instance", "grace", "scan")
    await platform.settle()
    assert platform.get().job is None


IDLE = team_cluster(policy=PolicyIn(idle_stop_after=600))


async def look_after(platform: FakePlatform, seconds: int, used_at: datetime) -> Status:
    """Let so much time pass without use of a kernel, and the watcher look; return what became of it."""
    found = platform.get()
    platform.clock.advance(seconds)
    platform.prober.activities[socket_of(found.id)] = Activity(used_at, kernels=0, connections=0, is_busy=False)
    platform.watch.refresh()
    await platform.watch.beat_activity()
    return platform.get().status


async def test_a_running_job_keeps_an_instance_up_that_nobody_touches_and_its_end_does_not() -> None:
    platform = FakePlatform(cluster=IDLE)
    await platform.run()
    used_at = platform.clock.now()
    job = begin(platform)
    for _ in range(40):
        platform.clock.advance(20)
        own(platform, "renew_job", job=job)
    assert await look_after(platform, 1, used_at) is Status.RUNNING
    assert not platform.get().is_idle
    own(platform, "end_job", {"exit_code": 0}, job=job)
    assert await look_after(platform, 599, used_at) is Status.RUNNING
    assert await look_after(platform, 2, used_at) is Status.STOPPING


async def test_who_called_it_idle_before_a_job_began_does_not_stop_it() -> None:
    platform = FakePlatform(cluster=IDLE)
    running = await platform.run()
    platform.clock.advance(601)
    platform.watch.refresh()  # what the watcher knows has no job
    stale = platform.stored(running.id).instance
    begin(platform)
    assert stale.work.jobs == ()
    seen = Activity(running.created_at, is_busy=False, kernels=0, connections=0)
    platform.prober.activities[socket_of(running.id)] = seen
    await platform.watch.beat_activity()
    assert platform.get().status is Status.RUNNING


async def test_a_person_stops_it_whatever_runs(platform: FakePlatform) -> None:
    begin(platform)
    platform.ask("stop_instance", "grace", "scan")
    assert platform.get().status is Status.STOPPING


# --- words ------------------------------------------------------------------------------------------------------------


async def test_notifications_are_the_last_few_and_never_in_the_audit_log(platform: FakePlatform) -> None:
    for number in range(7):
        own(platform, "notify_owner", {"message": f"word {number}"})
    told = platform.ask("get_instance", "grace", "scan")["notifications"]
    assert [one["text"] for one in told] == [f"word {number}" for number in range(2, 7)]
    assert last_fact(platform) == (AuditTag.NOTIFICATION_SENT.value, ACTOR)
    assert not any("word 6" in str(fact) for fact in platform.audit.events())


async def test_words_from_inside_move_no_terminal(platform: FakePlatform) -> None:
    own(platform, "notify_owner", {"message": "a\x1b[2Jb\u202ec\nd"})
    own(platform, "report_progress", {"percent": 1, "note": "\x07"})
    own(platform, "mark_checkpoint", {"note": "\r"})
    seen = platform.ask("get_instance", "grace", "scan")
    assert seen["notifications"][0]["text"] == "a [2Jb c d"
    assert (seen["job"]["note"], seen["checkpoints"][0]["note"]) == (" ", " ")


async def test_whoever_tells_without_end_is_told_to_wait(platform: FakePlatform) -> None:
    codes = [platform.handle("notify_owner", "instance", None, {"message": "x"}).status for _ in range(130)]
    assert codes.count(201) == 120
    assert set(codes) == {201, 429}


async def test_a_checkpoint_lies_in_the_record_and_in_the_audit_log(platform: FakePlatform) -> None:
    own(platform, "mark_checkpoint", {"note": "best weights so far"})
    [mark] = platform.ask("get_instance", "grace", "scan")["checkpoints"]
    assert mark["note"] == "best weights so far"
    assert last_fact(platform) == (AuditTag.CHECKPOINT_MARKED.value, ACTOR)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("report_progress", {"percent": 101}),
        ("report_progress", {"percent": -1}),
        ("report_progress", {"percent": 1, "note": "x" * 201}),
        ("notify_owner", {"message": ""}),
        ("notify_owner", {"message": "x" * 501}),
        ("begin_job", {"name": "../x"}),
        ("begin_job", {"name": "a\n"}),
        ("end_job", {"exit_code": 256}),
        ("end_job", {"exit_code": 1, "last_lines": ["x"] * 11}),
        ("mark_checkpoint", {"note": "x" * 201}),
        ("record_contents", {"records": []}),
    ],
)
async def test_what_is_too_long_or_out_of_bounds_is_refused(platform: FakePlatform, operation: str, body: Any) -> None:
    assert platform.refusal(operation, "instance", None, body, job="j-0000000001") == "invalid"


# --- contents ---------------------------------------------------------------------------------------------------------


def contents(count: int, **changes: Any) -> dict[str, Any]:
    record = {
        "at": "2020-01-01T00:00:00+00:00",
        "kind": "download",
        "path": "result.csv",
        "bytes": 12,
        "is_allowed": True,
        "reason": "",
    }
    return {"records": [record | changes for _ in range(count)]}


async def test_records_of_contents_become_the_owners_facts_at_the_platforms_own_time(platform: FakePlatform) -> None:
    own(platform, "record_contents", contents(1))
    own(platform, "record_contents", contents(2, kind="export", is_allowed=False, reason="tier 2"))
    facts = platform.audit.events(instance_id(platform))[-3:]
    assert [fact.tag for fact in facts] == ["contents:download:allowed", *["contents:export:refused"] * 2]
    assert {fact.actor for fact in facts} == {"grace"}
    assert {fact.at for fact in facts} == {platform.clock.now()}
    assert facts[0].detail == {"at": "2020-01-01T00:00:00+00:00", "path": "result.csv", "bytes": "12", "reason": ""}


async def test_five_hundred_records_are_taken_at_once_and_one_more_is_refused(platform: FakePlatform) -> None:
    own(platform, "record_contents", contents(500))
    assert platform.refusal("record_contents", "instance", None, contents(501)) == "invalid"
    assert platform.refusal("record_contents", "instance", None, contents(1, path="x" * 1025)) == "invalid"


async def test_nothing_is_taken_that_cannot_be_kept(platform: FakePlatform) -> None:
    platform.audit.break_down()
    before = platform.stored(instance_id(platform))
    for operation, body in (
        ("record_contents", contents(1)),
        ("begin_job", {"name": "train"}),
        ("notify_owner", {"message": "x"}),
        ("stop_own_instance", None),
    ):
        assert platform.refusal(operation, "instance", None, body) == "unavailable"
    assert platform.stored(instance_id(platform)) == before


async def test_other_writers_lose_nothing_to_what_it_tells(platform: FakePlatform) -> None:
    found = instance_id(platform)
    begin(platform)
    platform.lifecycle.apply("brain", found, Event(EventName.WENT_UNREACHABLE, actor="platform"))
    own(platform, "report_progress", {"percent": 5})
    stored = platform.stored(found).instance
    assert stored.unreachable_since is not None
    assert stored.work.jobs[0].percent == 5
    assert stored.work.jobs[0].lease_until - stored.work.jobs[0].begun_at == timedelta(seconds=60)
