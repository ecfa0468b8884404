"""Save first, act second: whatever is lost on the way, no build starts twice and no instance is lost."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from doubles.clusters import apply_cluster
from doubles.platforms import FakePlatform, given, with_dataset, without_dataset
from doubles.stores import FailingStore
from nightingale.contract.schemas import DatasetIn
from nightingale.contract.vocabulary import BuildState, Status
from nightingale.domain.deadlines import Deadlines
from nightingale.domain.history import Event, EventName
from nightingale.ports.store import Put, StoreUnavailableError
from nightingale.services import records
from nightingale.services.activity import with_activity


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def event(name: EventName, build_id: str | None = None) -> Event:
    return Event(name, actor="ada", build_id=build_id)


def at_once(platform: FakePlatform, *operations: str, name: str = "scan") -> list[str]:
    """Send the operations at the same moment, each from a thread of its own; return `ok` or the refusal's code."""
    platform.token("ada")
    barrier = threading.Barrier(len(operations))
    results: list[str] = []

    def send(operation: str) -> None:
        barrier.wait()
        body = {"cpu": "m"} if operation == "resize_instance" else None
        answer = platform.handle(operation, "ada", name, body)
        results.append("ok" if answer.status < 400 else msgspec.json.decode(answer.body)["code"])

    threads = [threading.Thread(target=send, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize(
    "operations",
    [
        ("stop_instance",) * 4,
        ("stop_instance", "delete_instance", "resize_instance"),
        ("resize_instance", "resize_instance"),
    ],
)
async def test_of_commands_at_once_exactly_one_wins_and_starts_one_build(
    platform: FakePlatform, operations: tuple[str, ...]
) -> None:
    running = await platform.run()
    results = at_once(platform, *operations)
    assert results.count("ok") == 1
    assert set(results) <= {"ok", "busy", "not_allowed_now"}
    assert len(platform.builder.specs) == 2
    assert platform.stored(running.id).instance.generation == 2


def test_a_launch_whose_answer_was_lost_is_there_once_and_starts_once() -> None:
    store = FailingStore(FakePlatform().store)
    platform = FakePlatform(store=store)
    platform.token("grace")
    store.fail_writes(1, is_written=True)
    body = {"name": "scan", "request_id": "r1"}
    assert platform.refusal("launch_instance", "grace", None, body) == "unavailable"
    assert not platform.builder.starts
    again = platform.ask("launch_instance", "grace", None, body)
    assert again["status"] == "requested"
    platform.clock.advance(1)
    platform.watch.refresh()
    assert platform.watch.has_in_flight


async def test_a_saved_launch_that_was_not_started_is_started_by_the_watcher_once() -> None:
    store = FailingStore(FakePlatform().store)
    platform = FakePlatform(store=store)
    platform.token("grace")
    store.fail_writes(1, is_written=True)
    platform.handle("launch_instance", "grace", None, {"name": "scan"})
    platform.clock.advance(2)
    for _ in range(3):
        platform.watch.refresh()
        await platform.watch.beat_in_flight()
        platform.clock.advance(1)
    assert len(platform.builder.starts) == 1
    assert platform.get().status == "provisioning"


@pytest.mark.parametrize("is_written", [True, False])
@pytest.mark.parametrize("losing", [1, 2, 3])
async def test_lost_answers_on_the_way_to_deletion_leave_nothing_behind(*, is_written: bool, losing: int) -> None:
    store = FailingStore(FakePlatform().store)
    platform = FakePlatform(store=store)
    running = await platform.run()
    store.fail_writes(losing, is_written=is_written)
    platform.clock.advance(5)
    for _ in range(12):
        platform.handle("delete_instance", "ada", "scan")
        for spec in platform.builder.running:
            platform.builder.finish(spec.build_id)
        try:
            platform.watch.refresh()
            await platform.watch.beat_in_flight()
        except StoreUnavailableError:
            pass
        platform.clock.advance(2)
    assert platform.stored(running.id).instance.status is Status.TERMINATED
    assert platform.store.get(records.name_key("brain", "scan")) is None
    assert platform.store.get(records.instance_key("brain", running.id)) is None
    assert len(platform.builder.specs) == 2
    history = platform.ask("list_history", "ada", running.id)["entries"]
    assert [entry["seq"] for entry in history] == list(range(1, len(history) + 1))


async def test_a_terminated_instance_frees_its_name_and_stays_readable_by_id(platform: FakePlatform) -> None:
    first = await platform.run()
    platform.ask("delete_instance", "grace", "scan")
    await platform.settle()
    assert platform.refusal("get_instance", "ada", "scan") == "not_found"
    assert platform.ask("get_instance", "ada", first.id)["status"] == "terminated"
    second = platform.launch()
    assert second.id != first.id
    assert platform.refusal("start_instance", "grace", first.id) == "not_allowed_now"


def test_a_build_has_the_time_that_its_own_status_gives_it(platform: FakePlatform) -> None:
    platform.launch()
    (spec,) = platform.builder.running
    assert spec.timeout_seconds == int(Deadlines().provisioning.total_seconds())


async def test_a_stale_watcher_cannot_start_a_build_of_a_launch_that_is_over(platform: FakePlatform) -> None:
    platform.builder.refuse()
    launched = platform.launch()
    stale = platform.stored(launched.id).instance
    platform.clock.advance(Deadlines().requested)
    await platform.settle()
    assert platform.get().status == "failed"
    platform.builder.accept()
    platform.lifecycle.start_build(stale)
    assert platform.builder.specs == {}
    platform.ask("delete_instance", "grace", "scan")
    platform.lifecycle.start_build(stale)
    assert [spec.desired_state for spec in platform.builder.specs.values()] == ["absent"]


async def test_an_event_about_an_instance_that_has_changed_since_changes_nothing(platform: FakePlatform) -> None:
    running = await platform.run(stop_after_seconds=600)
    seen = platform.stored(running.id).instance
    platform.ask("extend_instance", "grace", "scan", {"seconds": 7200})
    with pytest.raises(Exception, match="changed"):
        platform.lifecycle.apply("brain", running.id, event(EventName.STOP, "b-9"), seen=seen)
    assert platform.get().status == "running"


async def test_a_build_that_ended_before_its_start_was_recorded_is_not_lost(platform: FakePlatform) -> None:
    launched = platform.launch()
    stored = platform.stored(launched.id)
    # As if the platform died between the builder's start and its record: requested again, its build queued.
    requested = replace(stored.instance, status=Status.REQUESTED, seq=1)
    build, version = given(platform.lifecycle.find_build(requested))
    queued = replace(build, state=BuildState.QUEUED, started_at=None)
    history = platform.store.query(records.history_partition(launched.id), prefix="HISTORY#0000000").items
    platform.store.delete(history[1].key, history[1].version)
    platform.store.transact(
        [Put(records.instance_item(requested, stored.version)), Put(records.build_item(queued, version))]
    )
    assert platform.get().status == "requested"
    platform.builder.finish(build.id)
    await platform.settle()
    assert platform.get().status == "running"


async def test_touch_writes_properties_of_a_running_instance_only(platform: FakePlatform) -> None:
    running = await platform.run()
    instance = platform.stored(running.id).instance
    later = platform.clock.advance(60)
    changed = platform.lifecycle.touch(instance, lambda one: with_activity(one, later, is_idle=True))
    assert changed.is_idle
    with pytest.raises(ValueError, match="properties only"):
        platform.lifecycle.touch(instance, lambda one: replace(one, status=Status.STOPPED))
    platform.ask("stop_instance", "grace", "scan")
    after = platform.lifecycle.touch(instance, lambda one: with_activity(one, later, is_idle=False))
    assert after.status is Status.STOPPING


@pytest.mark.parametrize("failed", ["stop_instance", "delete_instance", "resize_instance"])
async def test_retry_continues_the_action_that_failed(platform: FakePlatform, failed: str) -> None:
    await platform.run()
    body = {"cpu": "m"} if failed == "resize_instance" else None
    platform.ask(failed, "grace", "scan", body)
    (spec,) = platform.builder.running
    platform.builder.fail(spec.build_id)
    await platform.settle()
    broken = platform.get()
    assert broken.status == "failed"
    assert given(broken.reason).action == failed.removesuffix("_instance")
    assert set(broken.allowed_actions) == {"retry", "delete"}
    platform.ask("retry_instance", "grace", "scan")
    (again,) = platform.builder.running
    assert (again.action, again.desired_state) == (spec.action, spec.desired_state)
    await platform.settle()
    if failed == "delete_instance":
        assert platform.refusal("get_instance", "ada", "scan") == "not_found"
    else:
        assert platform.get().status == ("stopped" if failed == "stop_instance" else "running")


async def test_retry_of_a_resize_of_a_stopped_one_leaves_it_stopped(platform: FakePlatform) -> None:
    await platform.run()
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    platform.ask("resize_instance", "grace", "scan", {"cpu": "m"})
    (spec,) = platform.builder.running
    assert spec.desired_state == "stopped"
    platform.builder.fail(spec.build_id)
    await platform.settle()
    platform.ask("retry_instance", "grace", "scan")
    assert platform.get().status == "resizing"
    await platform.settle()
    found = platform.get()
    assert (found.status, found.size.cpu) == ("stopped", "m")


@pytest.mark.parametrize("new", [None, {"version": "2"}, {"tier": 2}])
async def test_what_left_the_catalogue_stops_a_start_and_never_a_delete(
    platform: FakePlatform, new: dict[str, Any] | None
) -> None:
    await platform.run(datasets=["ct-demo"])
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    changed = without_dataset(platform.cluster, "ct-demo")
    if new is not None:
        fields = {"name": "ct-demo", "version": "1", "tier": 0, "local": "/data/ct", **new}
        changed = with_dataset(platform.cluster, DatasetIn(**fields))
    apply_cluster(platform.store, changed)
    answer = platform.handle("start_instance", "grace", "scan")
    assert answer.status == 422
    assert b"ct-demo" in answer.body
    assert platform.get().status == "stopped"
    platform.ask("delete_instance", "grace", "scan")
    await platform.settle()
    assert platform.refusal("get_instance", "ada", "scan") == "not_found"


async def test_a_running_one_can_be_stopped_after_its_dataset_left(platform: FakePlatform) -> None:
    await platform.run(datasets=["ct-demo"])
    apply_cluster(platform.store, without_dataset(platform.cluster, "ct-demo"))
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    assert platform.get().status == "stopped"


async def test_a_dataset_no_longer_granted_to_the_project_is_not_mounted_again(platform: FakePlatform) -> None:
    await platform.run(datasets=["ct-demo"])
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    without = without_dataset(platform.cluster, "ct-demo").projects
    changed = msgspec.structs.replace(platform.cluster, projects=without)
    apply_cluster(platform.store, changed)
    assert platform.refusal("start_instance", "grace", "scan") == "invalid"
