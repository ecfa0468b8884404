"""Watching: what is seen of builds, machines and servers becomes an event, once, and to the right second."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from doubles.clocks import START
from doubles.platforms import FakePlatform, given
from doubles.stores import FailingStore, LaggingStore
from nightingale.contract.vocabulary import BuildState, ReasonCode, Status
from nightingale.domain.instance import Deadlines
from nightingale.ports.machines import MachineSeen, MachineState
from nightingale.ports.prober import Activity, ProbeOutcome
from nightingale.ports.store import Item, Store
from nightingale.services import records
from nightingale.services.watch import Watch

DEADLINES = Deadlines()


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def socket_of(instance_id: str) -> str:
    return f"unix:/instances/{instance_id}/run/jupyter.sock"


async def pass_time(platform: FakePlatform, seconds: int, watch: Watch | None = None) -> None:
    """Let seconds pass as the scheduler does: both beats each second."""
    watcher = watch or platform.watch
    for _ in range(seconds):
        platform.clock.advance(1)
        watcher.refresh()
        await watcher.beat_in_flight()
        await watcher.beat_running()


def writes_of(store: Store, instance_id: str) -> int:
    item = store.get(records.instance_key("brain", instance_id))
    assert item is not None
    return item.version


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


# --- crashes ----------------------------------------------------------------------------------------------------------


async def test_a_crash_is_billed_to_the_last_good_probe(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 20)
    good = platform.clock.now()
    platform.clock.advance(2)
    platform.machines.crash(running.id)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    failed = platform.get()
    assert (failed.status, given(failed.reason).code) == ("failed", "jupyter_killed")
    assert given(failed.reason).log_tail == ("the last line",)
    last = platform.ask("list_history", "ada", "scan")["entries"][-1]
    assert (datetime.fromisoformat(last["billed_until"]), last["event"]) == (good, "crashed")
    assert failed.usage_seconds == 20


async def test_a_crash_right_after_the_start_is_not_billed_before_it(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.watch.save_last_good()
    platform.clock.advance(100)
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    platform.clock.advance(100)
    platform.ask("start_instance", "grace", "scan")
    await platform.settle()
    since = platform.get().running_since
    platform.machines.crash(running.id, platform.get().generation)
    platform.prober.default = ProbeOutcome.REFUSED
    fresh = platform.another_watch()
    fresh.load_last_good()
    fresh.refresh()
    platform.clock.advance(1)
    await fresh.beat_running()
    last = platform.ask("list_history", "ada", "scan")["entries"][-1]
    assert datetime.fromisoformat(last["billed_until"]) == since


async def test_a_restarted_watcher_takes_up_the_last_good_vector(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 30)
    good = platform.clock.now()
    platform.watch.save_last_good()
    platform.machines.lose(running.id)
    platform.clock.advance(3600)
    fresh = platform.another_watch()
    fresh.load_last_good()
    fresh.refresh()
    platform.prober.default = ProbeOutcome.REFUSED
    await fresh.beat_running()
    assert given(platform.get().reason).code == "machine_rebooted"
    last = platform.ask("list_history", "ada", "scan")["entries"][-1]
    assert datetime.fromisoformat(last["billed_until"]) == good


async def test_a_server_that_dies_while_it_starts_fails_with_its_last_lines(platform: FakePlatform) -> None:
    launched = platform.launch()
    platform.builder.finish(given(launched.build_id))
    platform.machines.crash(launched.id, words="no module named notebook", last_lines=("Traceback",))
    await platform.settle()
    failed = platform.get()
    assert (failed.status, given(failed.reason).log_tail) == ("failed", ("Traceback",))
    assert failed.usage_seconds == 0


async def test_a_crash_seen_by_two_watchers_is_one_entry(platform: FakePlatform) -> None:
    running = await platform.run()
    other = platform.another_watch()
    other.refresh()
    platform.machines.crash(running.id)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    await other.beat_running()
    events = [entry["event"] for entry in platform.ask("list_history", "ada", "scan")["entries"]]
    assert events.count("crashed") == 1


async def test_a_person_s_stop_beats_the_crash_that_it_looks_like(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.ask("stop_instance", "grace", "scan")
    platform.machines.stop(running.id, 2)
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()  # still believes that it runs
    assert platform.get().status == "stopping"
    await platform.settle()
    assert platform.get().status == "stopped"


# --- silence ----------------------------------------------------------------------------------------------------------


async def test_silence_becomes_unreachable_and_an_answer_ends_it(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 3)
    good = platform.clock.now()
    platform.prober.script(socket_of(running.id), ProbeOutcome.SILENT)
    await pass_time(platform, 4)
    assert platform.get().unreachable_since is None
    await pass_time(platform, 1)
    assert platform.get().unreachable_since == good
    assert platform.get().status == "running"
    platform.prober.script(socket_of(running.id), ProbeOutcome.OK)
    await pass_time(platform, 1)
    assert platform.get().unreachable_since is None


async def test_silence_past_its_deadline_is_a_failure_billed_to_the_last_answer(platform: FakePlatform) -> None:
    running = await platform.run()
    await pass_time(platform, 10)
    platform.prober.script(socket_of(running.id), ProbeOutcome.SILENT)
    await pass_time(platform, 31)
    failed = platform.get()
    assert (failed.status, given(failed.reason).code, failed.usage_seconds) == ("failed", "unreachable", 10)


async def test_most_servers_silent_at_once_change_nothing(platform: FakePlatform) -> None:
    names = [f"scan-{number}" for number in range(5)]
    found = [await platform.run(name) for name in names]
    for one in found[:3]:
        platform.prober.script(socket_of(one.id), ProbeOutcome.SILENT)
    await pass_time(platform, 60)
    assert [platform.get(name).unreachable_since for name in names] == [None] * 5
    assert [platform.get(name).status for name in names] == ["running"] * 5
    platform.prober.script(socket_of(found[0].id), ProbeOutcome.OK)
    await pass_time(platform, 1)
    assert [platform.get(name).unreachable_since is None for name in names] == [True, False, False, True, True]


async def test_a_place_that_cannot_be_asked_ends_nobody_and_holds_no_deadline_up(platform: FakePlatform) -> None:
    running = await platform.run()
    waiting = platform.launch("other")
    platform.prober.script(socket_of(waiting.id), ProbeOutcome.REFUSED)
    platform.builder.finish(given(waiting.build_id))
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    platform.prober.script(socket_of(running.id), ProbeOutcome.REFUSED)
    platform.machines.break_down()
    await pass_time(platform, 6)
    assert platform.get("scan").status == "running"
    platform.clock.advance(DEADLINES.starting)
    await platform.watch.beat_in_flight()
    assert given(platform.get("other").reason).code == "start_timeout"


# --- times ------------------------------------------------------------------------------------------------------------


async def test_it_stops_by_itself_when_nothing_else_moves(platform: FakePlatform) -> None:
    running = await platform.run(stop_after_seconds=600)
    platform.clock.set(given(running.stops_at) - timedelta(seconds=1))
    await platform.watch.beat_running()
    assert platform.get().status == "running"
    assert not platform.watch.has_in_flight
    platform.clock.advance(1)
    await platform.watch.beat_running()
    stopping = platform.get()
    assert (stopping.status, given(stopping.reason).code) == ("stopping", "lifetime_reached")
    await platform.settle()
    assert platform.get().status == "stopped"
    assert platform.get().stops_at is None


async def test_an_extension_at_the_last_moment_is_not_overrun(platform: FakePlatform) -> None:
    running = await platform.run(stop_after_seconds=600)
    platform.clock.set(given(running.stops_at))
    platform.ask("extend_instance", "grace", "scan", {"seconds": 3600})
    await platform.watch.beat_running()  # still believes in the time before
    assert platform.get().status == "running"
    await platform.watch.beat_running()
    assert platform.get().status == "running"


# --- activity ---------------------------------------------------------------------------------------------------------


def active(at: datetime, *, is_busy: bool = False) -> Activity:
    return Activity(last_activity_at=at, is_busy=is_busy, kernels=1, connections=1)


async def test_idle_is_an_edge_and_is_written_once(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(platform.clock.now())
    before = writes_of(platform.store, running.id)
    for _ in range(120):
        platform.clock.advance(10)
        await platform.watch.beat_activity()
    assert platform.get().is_idle
    assert writes_of(platform.store, running.id) == before + 1
    platform.prober.activities[socket_of(running.id)] = active(platform.clock.now())
    await platform.watch.beat_activity()
    assert not platform.get().is_idle


async def test_a_busy_kernel_is_active_however_old_its_last_word(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(START, is_busy=True)
    platform.clock.advance(3600)
    await platform.watch.beat_activity()
    found = platform.get()
    assert (found.is_idle, found.last_activity_at) == (False, platform.clock.now())


async def test_activity_before_this_start_does_not_make_it_idle(platform: FakePlatform) -> None:
    running = await platform.run()
    platform.prober.activities[socket_of(running.id)] = active(START - timedelta(days=9))
    await platform.watch.beat_activity()
    assert not platform.get().is_idle


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
                for known in tuple(watch._known.values()):
                    watch._known.pop(known.id, None)
                    watch._remember(known)
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
