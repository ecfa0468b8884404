"""Commands of people: what may be launched, resized, opened, by whom, and what is recorded of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from doubles.platforms import FakePlatform, given
from nightingale.contract.vocabulary import AuditTag, Permission
from nightingale.ports.machines import SandboxSeen
from nightingale.services import records


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


# --- launch -----------------------------------------------------------------------------------------------------------


def test_a_launch_is_saved_started_and_recorded(platform: FakePlatform) -> None:
    launched = platform.launch(datasets=["ct-demo"], stop_after_seconds=3600)
    assert (launched.owner, launched.status, launched.tier) == ("grace", "provisioning", 0)
    assert launched.stops_at == platform.clock.now() + timedelta(hours=1)
    (spec,) = platform.builder.running
    assert spec.build_id == launched.build_id
    assert spec.variables["datasets"] == [{"dataset": "ct-demo", "version": "1", "tier": 0, "source": "/data/ct"}]
    assert spec.variables["network"] == {"data_dir": "/data", "owner_uid": 20_000}
    assert platform.audit.tags(launched.id) == [AuditTag.INSTANCE_LAUNCH.value]


def test_the_same_request_id_twice_is_one_instance(platform: FakePlatform) -> None:
    first = platform.launch(request_id="r1")
    platform.clock.advance(5)
    assert platform.launch(request_id="r1").id == first.id
    assert len(platform.builder.specs) == 1
    assert platform.audit.tags(first.id) == [AuditTag.INSTANCE_LAUNCH.value]


@pytest.mark.parametrize(("who", "request_id"), [("mary", "r1"), ("grace", "r2"), ("grace", "")])
def test_a_name_is_taken_for_another_person_or_another_request(
    platform: FakePlatform, who: str, request_id: str
) -> None:
    platform.launch(request_id="r1")
    body = {"name": "scan", "request_id": request_id}
    assert platform.refusal("launch_instance", who, None, body) == "name_taken"
    assert len(platform.builder.specs) == 1


def test_two_projects_may_use_one_name(platform: FakePlatform) -> None:
    platform.launch()
    assert platform.ask("launch_instance", "grace", None, {"name": "scan"}, project="heart")["project"] == "heart"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"place": "moon"}, "place"),
        ({"place": "attic"}, "place"),
        ({"place": "aws"}, None),
        ({"image": "nothing"}, "image"),
        ({"image": "cloud-only"}, "image"),
        ({"size": {"cpu": "huge"}}, "size.cpu"),
        ({"size": {"cpu": "xl"}}, "size.cpu"),
        ({"size": {"disk": "huge"}}, "size.disk"),
        ({"datasets": ["nothing"]}, "datasets[0]"),
        ({"datasets": ["ecg-demo"]}, "datasets[0]"),
        ({"datasets": ["ct-demo", "ct-demo"]}, "datasets[1]"),
    ],
)
def test_what_the_catalogue_does_not_have_is_refused_and_nothing_is_kept(
    platform: FakePlatform, body: Any, path: str | None
) -> None:
    answer = platform.handle("launch_instance", "grace", None, {"name": "scan", **body})
    assert answer.status == 422, answer.body
    error = platform.error(answer)
    assert error["code"] == "invalid"
    assert path is None or error["details"][0]["path"] == path
    assert platform.ask("list_instances", "ada")["instances"] == []
    assert AuditTag.INSTANCE_LAUNCH.value not in platform.audit.tags()
    assert platform.store.get(records.name_key("brain", "scan")) is None


@pytest.mark.parametrize(
    ("seen", "datasets", "code"),
    [
        (SandboxSeen(None, "no bubblewrap", is_trusted=False), [], None),
        (SandboxSeen(None, "no bubblewrap", is_trusted=False), ["ct-demo"], None),
        (SandboxSeen(None, "no bubblewrap", is_trusted=False), ["mr-demo"], "sandbox_unavailable"),
        (SandboxSeen("bubblewrap", "", is_trusted=False), ["mr-demo"], "sandbox_unavailable"),
        (SandboxSeen("bubblewrap", "", is_trusted=True), ["mr-demo"], None),
    ],
)
def test_above_tier_0_nothing_runs_without_a_sandbox_that_holds(
    platform: FakePlatform, seen: SandboxSeen, datasets: list[str], code: str | None
) -> None:
    platform.machines.sandbox_seen = seen
    answer = platform.handle("launch_instance", "grace", None, {"name": "scan", "datasets": datasets})
    assert (platform.error(answer)["code"] if answer.status >= 400 else None) == code


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    ["stop_instance", "start_instance", "retry_instance", "delete_instance", "resize_instance", "extend_instance"],
)
def test_while_something_is_under_way_every_command_is_busy(platform: FakePlatform, operation: str) -> None:
    platform.launch()
    body = {"resize_instance": {"cpu": "s"}, "extend_instance": {"seconds": 600}}.get(operation)
    assert platform.refusal(operation, "grace", "scan", body) == "busy"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"cpu": "huge"}, "there is no cpu size huge"),
        ({"disk": "s"}, "cannot shrink"),
        ({"cpu": "s", "disk": "m"}, "has this size already"),
        ({}, "has this size already"),
        ({"gpu": "s", "cpu": "xl"}, "cannot supply"),
    ],
)
async def test_a_resize_that_cannot_be_is_refused_with_words(platform: FakePlatform, body: Any, words: str) -> None:
    await platform.run(size={"disk": "m"})
    answer = platform.handle("resize_instance", "grace", "scan", body)
    assert answer.status == 422
    assert words in platform.error(answer)["message"]
    assert platform.get().status == "running"


async def test_a_resize_keeps_what_it_does_not_name_and_restarts(platform: FakePlatform) -> None:
    await platform.run(size={"disk": "m"})
    resized = platform.ask("resize_instance", "grace", "scan", {"gpu": "s"})
    assert resized["size"] == {"cpu": "s", "memory": "s", "gpu": "s", "disk": "m"}
    assert (resized["status"], resized["generation"]) == ("resizing", 2)
    await platform.settle()
    assert platform.get().status == "running"


@pytest.mark.parametrize("seconds", [0, 59, -1, 60 * 60 * 24 * 30 + 1, "3h", None, 60.5])
async def test_an_extension_has_bounds(platform: FakePlatform, seconds: Any) -> None:
    await platform.run()
    assert platform.refusal("extend_instance", "grace", "scan", {"seconds": seconds}) == "invalid"


async def test_extend_moves_the_time_and_builds_nothing(platform: FakePlatform) -> None:
    running = await platform.run()
    extended = platform.ask("extend_instance", "grace", "scan", {"seconds": 7200})
    assert extended["generation"] == running.generation
    assert given(platform.get().stops_at) == platform.clock.now() + timedelta(hours=2)
    assert len(platform.builder.specs) == 1


async def test_a_researcher_learns_nothing_of_what_another_may_do(platform: FakePlatform) -> None:
    await platform.run(size={"disk": "m"})
    assert platform.refusal("resize_instance", "mary", "scan", {"disk": "s"}) == "forbidden"
    assert platform.get().status == "running"


async def test_a_lead_controls_what_others_own_and_cannot_open_it(platform: FakePlatform) -> None:
    await platform.run()
    assert platform.refusal("open_jupyter", "ada", "scan") == "forbidden"
    assert "open" not in platform.get().allowed_actions
    assert platform.ask("stop_instance", "ada", "scan")["status"] == "stopping"
    assert platform.ask("list_history", "ada", "scan")["entries"][-1]["actor"] == "ada"


# --- quarantine -------------------------------------------------------------------------------------------------------


async def test_in_quarantine_the_owner_s_every_way_is_closed(platform: FakePlatform) -> None:
    await platform.run()
    platform.ask("quarantine_instance", "hedy", "scan", {"why": "a look"})
    for operation in ("stop_instance", "delete_instance", "open_jupyter"):
        assert platform.refusal(operation, "grace", "scan") == "forbidden"
    assert platform.machines.admitted == []
    assert platform.ask("get_instance", "grace", "scan")["allowed_actions"] == []
    assert platform.ask("stop_instance", "hedy", "scan")["status"] == "stopping"


# --- Jupyter ----------------------------------------------------------------------------------------------------------


async def test_opening_gives_a_code_once_and_never_in_a_repr(platform: FakePlatform) -> None:
    running = await platform.run()
    access = platform.access("grace", Permission.INSTANCE_OPEN)
    out = platform.services.instances.open_jupyter(access, "scan")
    ((instance_id, code_hash, expires_at),) = platform.machines.admitted
    assert (instance_id, code_hash) == (running.id, records.hashed(out.code))
    assert expires_at == out.code_expires_at == platform.clock.now() + timedelta(seconds=60)
    assert out.code not in repr(out)
    assert out.token not in repr(out)
    assert "token" not in out.path
    assert AuditTag.JUPYTER_OPENED.value in platform.audit.tags(running.id)
    assert not any(out.code in str(event) or out.token in str(event) for event in platform.audit.events())


def test_there_is_nothing_to_open_before_it_runs(platform: FakePlatform) -> None:
    platform.launch()
    assert platform.refusal("open_jupyter", "grace", "scan") == "not_allowed_now"


async def test_a_machine_that_cannot_be_asked_now_is_unavailable_and_not_our_error(platform: FakePlatform) -> None:
    await platform.run()
    platform.machines.break_down()
    assert platform.refusal("open_jupyter", "grace", "scan") == "unavailable"


# --- the record -------------------------------------------------------------------------------------------------------


async def test_without_an_audit_log_nothing_is_changed(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.audit.break_down()
    for operation, body in (("stop_instance", None), ("delete_instance", None), ("resize_instance", {"cpu": "m"})):
        assert platform.refusal(operation, "grace", "scan", body) == "unavailable"
    assert platform.refusal("launch_instance", "grace", None, {"name": "other"}) == "unavailable"
    assert platform.refusal("open_jupyter", "grace", "scan") == "unavailable"
    platform.audit.mend()
    assert platform.get().status == "running"
    assert platform.stored(running.id).instance.seq == 4
    assert [one["name"] for one in platform.ask("list_instances", "ada")["instances"]] == ["scan"]


async def test_every_command_is_recorded_with_its_person(platform: FakePlatform) -> None:
    running = await platform.run()
    for operation, body in (
        ("extend_instance", {"seconds": 600}),
        ("resize_instance", {"cpu": "m"}),
        ("stop_instance", None),
        ("start_instance", None),
        ("delete_instance", None),
    ):
        platform.ask(operation, "grace", "scan", body)
        await platform.settle()
    facts = [(event.tag, event.actor) for event in platform.audit.events(running.id)]
    words = ("launch", "extend", "resize", "stop", "start", "delete")
    assert facts == [(f"instance:{word}:accepted", "grace") for word in words]


def test_a_refused_command_leaves_no_accepted_fact(platform: FakePlatform) -> None:
    launched = platform.launch()
    platform.refusal("stop_instance", "grace", "scan")
    assert platform.audit.tags(launched.id) == [AuditTag.INSTANCE_LAUNCH.value]
