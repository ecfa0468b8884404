"""The app's jobs, called as the worker calls them: by the clock, and with the messages of the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from azurelib import container
from backend_lambda.invoking import in_shard
from doubles.loops import apart, run_apart
from doubles.pace import FakePace
from doubles.platforms import FakePlatform
from nightingale.adapters.system_clock import SystemClock
from nightingale.contract.schemas import InstanceOut
from nightingale.contract.vocabulary import Status
from nightingale.hosting.wired import NotWiredError, Wired
from nightingale.ports.builder import BuilderUnavailableError, BuildSeen
from nightingale.services.leases import lease_key
from nightingale.services.metering import read_mark
from nightingale_functions_local.exchange import hand_over, tick
from nightingale_functions_local.host import declared_by_app
from nightingale_functions_local.queues import MessagesHere
from nightingale_functions_local.running import MOST_TIMES, Running


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    made = FakePlatform()
    container.use_wired(Wired(made.made, lambda: made.prober, FakePace(made.clock)))
    yield made
    container.use_nothing()


def by_clock(name: str, platform: FakePlatform) -> None:
    (timer,) = (one for one in declared_by_app().timers if one.name == name)
    apart(lambda: tick(timer, platform.clock.now(), is_late=False))


def message_of(instance: InstanceOut, build_id: str, generation: str = "1") -> dict[str, Any]:
    told = {
        "NIGHTINGALE_BUILD_ID": build_id,
        "NIGHTINGALE_INSTANCE_ID": instance.id,
        "NIGHTINGALE_GENERATION": generation,
    }
    variables = [{"name": name, "value": value, "type": "PLAINTEXT"} for name, value in told.items()]
    detail = {
        "build-status": "SUCCEEDED",
        "additional-information": {"environment": {"environment-variables": variables}},
    }
    return {"source": "aws.codebuild", "detail-type": "CodeBuild Build State Change", "detail": detail}


def hear(body: object, count: int = 1) -> None:
    (queue,) = declared_by_app().queues
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    hand_over(queue, text, "m-1", count)


@pytest.mark.parametrize("watcher", ["watch_first", "watch_second"])
def test_a_watcher_brings_a_launch_to_running(platform: FakePlatform, watcher: str) -> None:
    platform.builder.finishes_at_once = True
    platform.launch()
    by_clock(watcher, platform)
    assert platform.get().status is Status.RUNNING


def test_the_two_hosts_watchers_share_the_leases(platform: FakePlatform) -> None:
    instance = in_shard(platform, 1)
    platform.builder.finishes_at_once = True
    by_clock("watch_second", platform)
    held = {item.document["holder"] for shard in range(2) if (item := platform.store.get(lease_key(shard))) is not None}
    assert held  # the very items that the other backend's watchers keep and take
    assert platform.get(instance.name).status is not Status.FAILED


def test_hours_are_closed_by_the_clock(platform: FakePlatform) -> None:
    instance = run_apart(platform.run())
    platform.clock.advance(7200)
    by_clock("close_hours", platform)
    mark, _ = read_mark(platform.store, platform.stored(instance.id).instance)
    assert platform.clock.now() - mark.closed_until < timedelta(hours=1, minutes=1)


def test_machines_that_nobody_owns_are_ended_by_the_clock(platform: FakePlatform) -> None:
    platform.machines.bring_up("i-0000009999")
    by_clock("end_orphans", platform)
    by_clock("end_orphans", platform)
    assert platform.machines.ended_orphans == ["i-0000009999"]


def test_a_job_without_a_platform_raises_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    container.use_nothing()
    monkeypatch.delenv("NIGHTINGALE_TABLE", raising=False)
    (timer,) = (one for one in declared_by_app().timers if one.name == "close_hours")
    with pytest.raises(NotWiredError, match="NIGHTINGALE_TABLE"):
        tick(timer, SystemClock().now(), is_late=False)


# --- the queue --------------------------------------------------------------------------------------------------------


def building(platform: FakePlatform) -> tuple[InstanceOut, str]:
    """Launch, and let the build succeed without anybody having looked."""
    instance = platform.launch()
    spec = platform.builder.running[0]
    platform.builder.finish(spec.build_id)
    return instance, spec.build_id


@pytest.mark.parametrize("is_relayed", [False, True])
def test_a_message_moves_the_instance_at_once_and_only_once(platform: FakePlatform, *, is_relayed: bool) -> None:
    instance, build_id = building(platform)
    event = message_of(instance, build_id)
    body = {"id": "1", "type": "codebuild", "data": event} if is_relayed else event
    hear(body)
    assert platform.get().status is Status.STARTING
    version = platform.stored(instance.id).version
    hear(body, count=2)
    assert platform.stored(instance.id).version == version


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xc3\xa9", {"detail": {}}, {"source": "aws.ec2", "detail": {}}])
def test_a_message_that_is_no_event_is_dropped_and_not_tried_again(platform: FakePlatform, body: object) -> None:
    platform.launch()
    hear(body)
    assert platform.get().status is Status.PROVISIONING


class SilentBuilder:
    def look(self, build_id: str) -> BuildSeen:
        raise BuilderUnavailableError(f"{build_id}: CodeBuild is down")


def running_of(messages: MessagesHere, aside: MessagesHere) -> tuple[Running, Any]:
    declared = declared_by_app()
    (queue,) = declared.queues
    return Running(declared, SystemClock(), {queue.name: messages}, {queue.name: aside}), queue


def test_a_message_whose_work_cannot_be_done_is_handed_out_again_then_put_aside(platform: FakePlatform) -> None:
    instance, build_id = building(platform)
    builders: Any = platform.builder_at
    builders["local"] = SilentBuilder()
    messages, aside = MessagesHere(), MessagesHere()
    running, queue = running_of(messages, aside)
    body = json.dumps(message_of(instance, build_id)).encode()
    messages.put(body)
    for _ in range(MOST_TIMES):
        assert running.read_once(queue, messages)
        assert aside.take(1) is None
    assert running.read_once(queue, messages)
    assert not running.read_once(queue, messages)
    put_aside = aside.take(1)
    assert put_aside is not None
    assert put_aside.body == body


def test_a_message_whose_work_is_done_is_gone(platform: FakePlatform) -> None:
    instance, build_id = building(platform)
    messages = MessagesHere()
    running, queue = running_of(messages, MessagesHere())
    messages.put(json.dumps(message_of(instance, build_id)).encode())
    assert running.read_once(queue, messages)
    assert not running.read_once(queue, messages)
    assert platform.get().status is Status.STARTING
