"""The jobs as Lambda invokes them, through Chalice's test client, on a platform in memory and a clock that we move."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from chalice.test import Client

import app as lambda_app
from backend_lambda.invoking import Invoking, in_shard
from chalicelib import container
from doubles.loops import run_apart
from doubles.platforms import FakePlatform
from doubles.spot_clusters import CLOUD, spot_cluster
from doubles.stores import FailingStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.app.watching import SECONDS
from nightingale.contract.schemas import InstanceOut
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale.domain.deadlines import Deadlines
from nightingale.hosting.wired import NotWiredError
from nightingale.ports.builder import BuilderUnavailableError
from nightingale.ports.prober import ProbeOutcome
from nightingale.ports.store import StoreUnavailableError
from nightingale.services import records
from nightingale.services.leases import lease_key
from nightingale.services.metering import read_mark

JOBS = {"watch_first", "watch_second", "close_hours", "end_orphans", "build_ended"}


@pytest.fixture
def lambdas() -> Iterator[Invoking]:
    made = Invoking(FakePlatform())
    yield made
    container.use_nothing()


def run(lambdas: Invoking, name: str = "scan") -> InstanceOut:
    """Bring an instance to running by the platform's own watcher."""
    return run_apart(lambdas.platform.run(name))


# --- registration -----------------------------------------------------------------------------------------------------


def test_every_job_stands_in_app_under_the_name_that_lambda_calls() -> None:
    sources = lambda_app.app.event_sources
    assert {source.name for source in sources} == JOBS
    for source in sources:
        module, _, name = source.handler_string.partition(".")
        assert module == "app"
        assert callable(getattr(lambda_app, name))
        assert lambda_app.app.handler_map[source.name] is getattr(lambda_app, name)


def test_jobs_come_every_minute_and_builds_when_they_end() -> None:
    sources = {source.name: source for source in lambda_app.app.event_sources}
    for name in JOBS - {"build_ended"}:
        assert sources[name].schedule_expression.to_string() == "rate(1 minute)"
    pattern = sources["build_ended"].event_pattern
    assert set(pattern["detail"]["build-status"]) == {"SUCCEEDED", "FAILED", "FAULT", "STOPPED", "TIMED_OUT"}
    assert pattern["source"] == ["aws.codebuild"]


def test_a_job_without_a_platform_fails_and_says_which_settings_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    container.use_nothing()
    monkeypatch.delenv("NIGHTINGALE_TABLE", raising=False)
    with Client(lambda_app.app) as client, pytest.raises(NotWiredError, match="NIGHTINGALE_TABLE"):
        client.lambda_.invoke("close_hours", client.events.generate_cw_event("aws.events", "Scheduled Event", {}, []))


# --- watching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watcher", ["watch_first", "watch_second"])
def test_one_watcher_alone_brings_every_launch_to_running(lambdas: Invoking, watcher: str) -> None:
    lambdas.platform.builder.finishes_at_once = True
    names = [f"scan-{number}" for number in range(10)]
    for name in names:
        lambdas.platform.launch(name)
    assert lambdas.invoke(watcher) == {"beats": SECONDS}
    assert {lambdas.platform.get(name).status for name in names} == {Status.RUNNING}


def test_a_running_server_is_probed_once_a_second_for_the_whole_minute(lambdas: Invoking) -> None:
    run(lambdas)
    lambdas.platform.prober.probed.clear()
    lambdas.invoke("watch_first")
    assert SECONDS - 3 <= len(lambdas.platform.prober.probed) <= SECONDS


def test_a_starting_server_is_looked_at_every_fifty_milliseconds(lambdas: Invoking) -> None:
    instance = in_shard(lambdas.platform, 0)
    address = lambdas.platform.machines.address(instance.id)
    lambdas.platform.prober.script(address, *[ProbeOutcome.REFUSED] * 60, ProbeOutcome.OK)
    began = lambdas.platform.clock.now()
    lambdas.pace.at(1, lambda: lambdas.platform.builder.finish(lambdas.platform.builder.running[0].build_id))
    lambdas.invoke("watch_first", wait_for=lambda: lambdas.platform.get(instance.name).status == Status.RUNNING)
    running_since = lambdas.platform.stored(instance.id).instance.running_since
    assert running_since is not None
    assert timedelta(seconds=3) <= running_since - began <= timedelta(seconds=6)  # 60 looks of 50 ms


def test_a_crash_is_found_within_two_seconds_with_its_reason(lambdas: Invoking) -> None:
    instance = run(lambdas)
    machines, prober = lambdas.platform.machines, lambdas.platform.prober
    crashed_at = lambdas.platform.clock.now() + timedelta(seconds=20)

    def crash() -> None:
        machines.crash(instance.id)
        prober.script(machines.address(instance.id), ProbeOutcome.REFUSED)

    lambdas.pace.at(20, crash)
    lambdas.invoke("watch_first")
    stored = lambdas.platform.stored(instance.id).instance
    assert stored.status is Status.FAILED
    assert stored.reason is not None
    assert stored.reason.code is ReasonCode.JUPYTER_KILLED
    assert timedelta(0) <= stored.status_at - crashed_at <= timedelta(seconds=2)


def test_a_watcher_takes_up_what_the_one_before_saw(lambdas: Invoking) -> None:
    """A server that dies between two invocations is billed up to its last good probe, not to when that is found."""
    instance = run(lambdas)
    lambdas.invoke("watch_first")
    last = lambdas.platform.clock.now()
    lambdas.platform.machines.crash(instance.id)
    lambdas.platform.prober.default = ProbeOutcome.REFUSED
    lambdas.platform.clock.advance(30)
    lambdas.invoke("watch_first")
    page = lambdas.platform.store.query(records.history_partition(instance.id), prefix="HISTORY#", is_reversed=True)
    billed_until = page.items[0].document["billed_until"]
    assert billed_until is not None
    assert abs((last - type(last).fromisoformat(billed_until)).total_seconds()) <= 2


def test_a_probe_that_hangs_holds_up_no_other_server_and_no_lease(lambdas: Invoking) -> None:
    hanging, well = in_shard(lambdas.platform, 0, "hangs"), in_shard(lambdas.platform, 1, "well")
    run_apart(lambdas.platform.settle())
    lambdas.hang(lambdas.platform.machines.address(hanging.id))
    lambdas.invoke("watch_first")
    probed = lambdas.platform.prober.probed
    assert probed.count(lambdas.platform.machines.address(hanging.id)) <= 2
    assert probed.count(lambdas.platform.machines.address(well.id)) >= SECONDS - 5


def test_a_store_that_is_away_for_a_while_ends_no_watch() -> None:
    store = FailingStore(SqliteStore(":memory:"))
    lambdas = Invoking(FakePlatform(store=store))
    lambdas.platform.builder.finishes_at_once = True
    lambdas.platform.launch()

    def away(*, is_away: bool) -> None:
        store.is_away = is_away

    away(is_away=True)
    lambdas.pace.at(20, lambda: away(is_away=False))
    assert lambdas.invoke("watch_first") == {"beats": SECONDS}
    assert lambdas.platform.get().status == Status.RUNNING
    container.use_nothing()


def test_a_host_without_machines_takes_no_shard_and_fails_nobody(lambdas: Invoking) -> None:
    platform = lambdas.platform
    launched = platform.launch()
    platform.clock.advance(Deadlines().provisioning + timedelta(seconds=1))
    standby = FakePlatform(store=platform.store, clock=platform.clock, more_places=())
    standby.machines_at.clear()
    standing_by = Invoking(standby)
    assert standing_by.invoke("watch_first") == {"beats": 0}
    assert all(platform.store.get(lease_key(shard)) is None for shard in range(records.SHARDS))
    assert platform.get().status == Status.PROVISIONING
    assert platform.stored(launched.id).instance.build_id not in standby.builder.cancelled


def test_what_another_host_runs_is_not_failed_by_this_ones_deadlines() -> None:
    platform = FakePlatform(more_places=("attic",))
    lambdas = Invoking(platform)
    platform.launch(place="attic")
    platform.machines_at.pop("attic")
    platform.clock.advance(Deadlines().provisioning + timedelta(seconds=1))
    lambdas.invoke("watch_first")
    assert platform.get().status == Status.PROVISIONING
    container.use_nothing()


def test_watching_twice_at_once_or_again_changes_nothing(lambdas: Invoking) -> None:
    instance = run(lambdas)
    before = lambdas.platform.stored(instance.id).instance
    for watcher in ("watch_first", "watch_first", "watch_second"):
        lambdas.invoke(watcher)
    after = lambdas.platform.stored(instance.id).instance
    assert (after.status, after.seq) == (before.status, before.seq)


def test_the_prober_is_closed_at_the_end(lambdas: Invoking) -> None:
    lambdas.invoke("watch_first")
    assert lambdas.platform.prober.is_closed


def test_what_the_cloud_took_back_is_launched_again_by_the_watch_once() -> None:
    platform = FakePlatform(cluster=spot_cluster(), more_places=(CLOUD,))
    lambdas = Invoking(platform)
    instance = run_apart(platform.run(place=CLOUD, spot=True, relaunch_when_interrupted=True))
    machines, address = platform.machines_at[CLOUD], platform.machines_at[CLOUD].address(instance.id)
    platform.builder_at[CLOUD].finishes_at_once = True
    machines.lose(instance.id, 1, ReasonCode.INTERRUPTED)
    platform.prober.script(address, ProbeOutcome.REFUSED)
    lambdas.pace.at(10, lambda: platform.prober.script(address, ProbeOutcome.OK))
    lambdas.invoke("watch_first", wait_for=lambda: platform.get().status == Status.RUNNING)
    lambdas.invoke("watch_second")
    after = platform.get()
    assert (after.status, after.generation, after.relaunches) == (Status.RUNNING, 2, 1)
    container.use_nothing()


# --- metering and reconciling -----------------------------------------------------------------------------------------


def test_hours_are_closed_once_however_often_the_job_runs(lambdas: Invoking) -> None:
    instance = run(lambdas)
    lambdas.platform.clock.advance(3 * 3600 + 60)
    first = lambdas.invoke("close_hours")
    assert first["written"] >= 3
    assert lambdas.invoke("close_hours") == {"written": 0}
    mark, _ = read_mark(lambdas.platform.store, lambdas.platform.stored(instance.id).instance)
    assert lambdas.platform.clock.now() - mark.closed_until < timedelta(hours=1, minutes=1)


def test_a_metering_that_fails_fails_the_function_so_that_it_is_seen() -> None:
    store = FailingStore(SqliteStore(":memory:"))
    lambdas = Invoking(FakePlatform(store=store))
    store.is_away = True
    with pytest.raises(StoreUnavailableError):
        lambdas.invoke("close_hours")
    container.use_nothing()


def test_machines_that_nobody_owns_are_ended(lambdas: Invoking) -> None:
    lambdas.platform.machines.bring_up("i-0000009999")
    assert lambdas.invoke("end_orphans") == {"ended": 1}
    assert lambdas.invoke("end_orphans") == {"ended": 0}
    assert lambdas.platform.machines.ended_orphans == ["i-0000009999"]


# --- the end of a build -----------------------------------------------------------------------------------------------


def ended(lambdas: Invoking, build_id: str, instance_id: str, generation: str = "1") -> str:
    """Invoke the job with CodeBuild's event; return what it did."""
    variables = {
        "NIGHTINGALE_BUILD_ID": build_id,
        "NIGHTINGALE_INSTANCE_ID": instance_id,
        "NIGHTINGALE_GENERATION": generation,
    }
    detail: dict[str, Any] = {
        "build-status": "SUCCEEDED",
        "project-name": "builds",
        "build-id": "arn:aws:codebuild:eu-central-1:123456789012:build/builds:1",
        "additional-information": {
            "environment": {
                "environment-variables": [
                    {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()
                ]
            }
        },
    }
    answer = lambdas.invoke("build_ended", source="aws.codebuild", kind="CodeBuild Build State Change", detail=detail)
    return str(answer["instance"])


def test_the_end_of_a_build_moves_its_instance_at_once_and_only_once(lambdas: Invoking) -> None:
    instance = lambdas.platform.launch()
    (spec,) = lambdas.platform.builder.running
    assert ended(lambdas, spec.build_id, instance.id) == "not ended"
    lambdas.platform.builder.finish(spec.build_id)
    assert ended(lambdas, spec.build_id, instance.id) == "starting"
    assert ended(lambdas, spec.build_id, instance.id) == "known"
    assert lambdas.platform.get().status == Status.STARTING


def test_what_the_builder_says_counts_and_not_the_event(lambdas: Invoking) -> None:
    instance = lambdas.platform.launch()
    (spec,) = lambdas.platform.builder.running
    lambdas.platform.builder.fail(spec.build_id, ReasonCode.STATE_LOCKED)
    assert ended(lambdas, spec.build_id, instance.id) == "failed"
    reason = lambdas.platform.stored(instance.id).instance.reason
    assert reason is not None
    assert reason.code is ReasonCode.STATE_LOCKED


def test_an_event_about_a_build_of_the_past_changes_nothing(lambdas: Invoking) -> None:
    instance = run(lambdas)
    (first,) = lambdas.platform.builder.specs.values()
    lambdas.platform.ask("stop_instance", "grace", "scan")
    assert ended(lambdas, first.build_id, instance.id) == "past"
    assert lambdas.platform.get().status == Status.STOPPING
    assert ended(lambdas, first.build_id, instance.id, "2") == "past"
    assert ended(lambdas, "b-0000009999", "i-0000009999") == "past"


@pytest.mark.parametrize("generation", ["", "x"])
def test_a_build_of_someone_else_s_project_is_none_of_ours(lambdas: Invoking, generation: str) -> None:
    assert ended(lambdas, "b-0000000001", "i-0000000001", generation) == "not ours"


def test_an_end_whose_start_nobody_recorded_is_taken_up(lambdas: Invoking) -> None:
    builder = lambdas.platform.builder
    builder.refuse()
    instance = lambdas.platform.launch()
    builder.accept()
    queued = lambdas.platform.lifecycle.find_build(lambdas.platform.stored(instance.id).instance)
    assert queued is not None
    lambdas.start_behind_its_back(queued[0], instance.id)
    builder.finish(queued[0].id)
    assert ended(lambdas, queued[0].id, instance.id) == "starting"


def test_a_builder_that_does_not_answer_fails_the_function_so_that_lambda_tries_again(lambdas: Invoking) -> None:
    instance = lambdas.platform.launch()
    (spec,) = lambdas.platform.builder.running
    lambdas.break_builder("throttled")
    with pytest.raises(BuilderUnavailableError):
        ended(lambdas, spec.build_id, instance.id)
