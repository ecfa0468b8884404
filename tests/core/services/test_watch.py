"""Watching: what is seen of builds, machines and servers becomes an event, once, and to the right second."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from doubles.platforms import FakePlatform, given, pass_time, socket_of
from doubles.stores import FailingStore, LaggingStore
from nightingale.contract.vocabulary import BuildState, ReasonCode, Status
from nightingale.domain.deadlines import Deadlines
from nightingale.ports.builder import BuilderUnavailableError, BuildSeen
from nightingale.ports.machines import MachineSeen, MachineState
from nightingale.ports.prober import ProbeOutcome
from nightingale.ports.store import Item
from nightingale.services import records

DEADLINES = Deadlines()


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


async def test_an_instance_runs_as_soon_as_its_server_answers(platform: FakePlatform) -> None:
    launched = platform.launch()
    platform.builder.finish(platform.builder.running[0].build_id)
    platform.prober.script(socket_of(launched.id), ProbeOutcome.REFUSED, ProbeOutcome.OK)
    platform.watch.refresh()
    statuses = []
    for _ in range(3):
        await platform.watch.beat_in_flight()
        statuses.append(platform.get().status)
    assert statuses == ["starting", "running", "running"]
    assert platform.get().sandbox == "bubblewrap"


async def test_a_builder_that_is_away_gets_the_build_later_once(platform: FakePlatform) -> None:
    platform.builder.refuse()
    launched = platform.launch()
    assert launched.status == "requested"
    await pass_time(platform, 5)
    assert platform.get().status == "requested"
    assert len(platform.builder.starts) <= 6
    platform.builder.accept()
    await pass_time(platform, 3)
    assert len(platform.builder.specs) == 1
    assert platform.get().status == "provisioning"


async def test_a_builder_that_is_full_is_waited_for_longer_than_one_that_is_away(platform: FakePlatform) -> None:
    platform.builder.fill()
    assert platform.launch().status == "requested"
    platform.clock.advance(DEADLINES.requested + timedelta(minutes=5))
    platform.watch.refresh()
    await platform.watch.beat_running()  # the first thing that this watcher does: it has not asked the builder yet
    assert platform.get().status == "requested"
    platform.builder.accept()
    await pass_time(platform, 2)
    assert platform.get().status == "provisioning"
    assert platform.builder.cancelled == []


async def test_a_builder_that_stays_full_is_the_reason_in_the_end(platform: FakePlatform) -> None:
    platform.builder.fill()
    platform.launch()
    platform.clock.advance(DEADLINES.queued - timedelta(seconds=1))
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    assert platform.get().status == "requested"
    platform.clock.advance(1)
    await platform.watch.beat_in_flight()
    failed = platform.get()
    assert (failed.status, given(failed.reason).code) == ("failed", ReasonCode.BUILD_NOT_STARTED)
    assert "others in front for 900 seconds" in given(failed.reason).words


async def test_a_builder_that_is_back_at_the_last_moment_gets_the_build(platform: FakePlatform) -> None:
    platform.builder.fill()
    platform.launch()
    platform.builder.accept()
    platform.clock.advance(DEADLINES.queued)
    platform.watch.refresh()
    await platform.watch.beat_running()
    assert platform.get().status == "provisioning"
    assert platform.builder.cancelled == []


@pytest.mark.parametrize("action", ["launch", "stop", "delete"])
async def test_a_build_that_died_before_it_began_is_started_again(platform: FakePlatform, action: str) -> None:
    """It was recorded as started, and the process that was to run it was killed before it wrote anything down."""
    launched = platform.launch() if action == "launch" else await platform.run()
    if action != "launch":
        platform.ask(f"{action}_instance", "grace", "scan")
    build_id = platform.get().build_id
    assert build_id is not None
    platform.builder.forget(build_id)
    await pass_time(platform, 3)
    assert [spec.build_id for spec in platform.builder.running] == [build_id]
    platform.builder.finish(build_id)
    await pass_time(platform, 2)
    assert platform.get(launched.id).status == {"launch": "running", "stop": "stopped", "delete": "terminated"}[action]


async def test_a_builder_that_will_not_say_holds_up_nobody_else(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, other = platform.launch("silent"), platform.launch("other")
    look = platform.builder.look

    def throttled(build_id: str) -> BuildSeen:
        if build_id == silent.build_id:
            raise BuilderUnavailableError("too many requests")
        return look(build_id)

    monkeypatch.setattr(platform.builder, "look", throttled)
    platform.builder.finish(given(other.build_id))
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    assert (platform.get("silent").status, platform.get("other").status) == ("provisioning", "running")


IN_FLIGHT = [
    (None, "requested", ReasonCode.BUILD_NOT_STARTED, "launch"),
    ("launch", "provisioning", ReasonCode.BUILD_TIMEOUT, "launch"),
    ("built", "starting", ReasonCode.START_TIMEOUT, "launch"),
    ("stop_instance", "stopping", ReasonCode.STOP_TIMEOUT, "stop"),
    ("resize_instance", "resizing", ReasonCode.RESIZE_TIMEOUT, "resize"),
    ("delete_instance", "terminating", ReasonCode.TERMINATE_TIMEOUT, "delete"),
]


@pytest.mark.parametrize("way", IN_FLIGHT)
@pytest.mark.parametrize("way_out", ["retry_instance", "delete_instance"])
async def test_every_status_in_flight_ends_at_its_deadline_and_leads_on(
    platform: FakePlatform, way: tuple[str | None, str, ReasonCode, str], way_out: str
) -> None:
    reached_by, status, code, action = way
    if reached_by in {None, "launch", "built"}:
        if reached_by is None:
            platform.builder.refuse()
        launched = platform.launch()
        if reached_by == "built":
            platform.prober.default = ProbeOutcome.REFUSED
            platform.builder.finish(given(launched.build_id))
            platform.watch.refresh()
            await platform.watch.beat_in_flight()
    else:
        await platform.run()
        platform.ask(reached_by, "grace", "scan", {"cpu": "m"} if reached_by == "resize_instance" else None)
    before = platform.get()
    assert before.status == status
    platform.clock.advance(DEADLINES.of(Status(status)) - timedelta(seconds=1))
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    assert platform.get().status == status
    platform.clock.advance(1)
    await platform.watch.beat_in_flight()
    failed = platform.get()
    assert (failed.status, given(failed.reason).code, given(failed.reason).action) == ("failed", code, action)
    assert given(failed.reason).words
    assert given(failed.reason).next_step
    (latest, *_) = platform.ask("list_builds", "ada", "scan")["builds"]
    assert latest["state"] == ("succeeded" if status == "starting" else "failed")
    assert latest["finished_at"]
    if status not in {"requested", "starting"}:
        assert platform.builder.cancelled == [before.build_id]
    platform.builder.accept()
    platform.prober.default = ProbeOutcome.OK
    platform.ask(way_out, "grace", "scan")
    await platform.settle()
    if "delete_instance" in {way_out, reached_by}:
        assert platform.refusal("get_instance", "ada", "scan") == "not_found"
    else:
        assert platform.get().status == ("stopped" if status == "stopping" else "running")


async def test_a_build_that_fails_says_why(platform: FakePlatform) -> None:
    platform.launch()
    platform.builder.fail(platform.builder.running[0].build_id, ReasonCode.DISK_FULL, "no space left")
    await platform.settle()
    failed = platform.get()
    assert (failed.status, given(failed.reason).code, given(failed.reason).words) == (
        "failed",
        "disk_full",
        "no space left",
    )


# --- stores and threads -----------------------------------------------------------------------------------------------


async def test_an_index_that_lags_hides_nothing_for_good_and_revives_nobody() -> None:
    inner = FakePlatform().store
    store = LaggingStore(inner)
    platform = FakePlatform(store=store)
    launched = platform.launch()
    platform.watch.refresh()
    assert not platform.watch.has_in_flight
    store.catch_up()
    await platform.settle()
    assert platform.get().status == "running"
    platform.ask("delete_instance", "grace", "scan")
    store.catch_up()
    await platform.settle()
    assert platform.stored(launched.id).instance.status is Status.TERMINATED
    await platform.settle()  # the index still shows it as terminating
    assert len(platform.builder.specs) == 2
    assert platform.stored(launched.id).instance.status is Status.TERMINATED


async def test_a_store_that_is_away_for_a_while_loses_nothing() -> None:
    store = FailingStore(FakePlatform().store)
    platform = FakePlatform(store=store)
    launched = platform.launch()
    platform.builder.finish(given(launched.build_id))
    platform.watch.refresh()
    store.fail_writes(1, is_written=True)
    with pytest.raises(Exception, match="did not answer"):
        await platform.watch.beat_in_flight()
    await platform.settle()
    assert platform.get().status == "running"


async def test_an_instance_of_a_place_that_is_not_run_here_holds_nobody_up(platform: FakePlatform) -> None:
    launched = platform.launch()
    item = platform.store.get(records.instance_key("brain", launched.id))
    assert item is not None
    strange = {**item.document, "id": "i-zzzzzzzzzz", "name": "far", "place": "attic"}
    key = records.instance_key("brain", "i-zzzzzzzzzz")
    shard = records.shard_of("i-zzzzzzzzzz")
    platform.store.put(Item(key, strange, {records.INDEX1: type(key)(f"SHARD#{shard}", "i-zzzzzzzzzz")}))
    await platform.settle()
    assert platform.get("scan").status == "running"


async def test_beats_and_refreshes_at_the_same_time_do_not_trip_over_each_other(platform: FakePlatform) -> None:
    for number in range(6):
        await platform.run(f"scan-{number}")
    stop = threading.Event()
    errors: list[BaseException] = []

    def churn() -> None:
        watch = platform.watch
        while not stop.is_set():
            try:
                for known in watch._known.all():
                    watch._known.remember(replace(known, status=Status.TERMINATED))
                    watch._known.remember(known)
            except BaseException as error:  # noqa: BLE001 - the test reports it
                errors.append(error)
                return

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            assert platform.watch.has_in_flight in {True, False}
            platform.watch._in({Status.RUNNING})
            platform.watch.save_last_good()
    finally:
        stop.set()
        thread.join()
    assert errors == []


async def test_a_machine_up_without_its_launcher_s_word_is_not_ready(platform: FakePlatform) -> None:
    launched = platform.launch()
    platform.builder.finish(given(launched.build_id))
    platform.machines._seen[launched.id, 1] = MachineSeen(MachineState.UP)
    await platform.settle()
    assert platform.get().status == "starting"


async def test_a_lost_build_is_a_failure_with_a_reason(platform: FakePlatform) -> None:
    launched = platform.launch()
    platform.builder.lose(given(launched.build_id))
    await platform.settle()
    assert given(platform.get().reason).code == "build_lost"
    build, _ = given(platform.lifecycle.find_build(platform.stored(launched.id).instance))
    assert build.state is BuildState.FAILED


async def test_each_start_tells_the_image_that_it_was_made_from(platform: FakePlatform) -> None:
    await platform.run("scan")
    first = platform.machines.image_digest
    assert platform.ask("get_instance", "ada", "scan")["image_digest"] == first
    platform.ask("stop_instance", "ada", "scan")
    await platform.settle()
    platform.machines.image_digest = "sha256:" + "2" * 64
    platform.ask("start_instance", "ada", "scan")
    await platform.settle()
    history = platform.ask("list_history", "ada", "scan")["entries"]
    digests = [entry["image_digest"] for entry in history if entry["event"] == "became_ready"]
    assert digests == [first, platform.machines.image_digest]
    assert platform.ask("get_instance", "ada", "scan")["image_digest"] == platform.machines.image_digest
    assert {entry["image_digest"] for entry in history if entry["event"] != "became_ready"} == {None}
