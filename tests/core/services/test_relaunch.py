"""Spot as a choice, through the API and the watcher: where it is to be had, what it costs, what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from doubles.clusters import apply_cluster
from doubles.platforms import FakePlatform, given, socket_of
from doubles.spot_clusters import CLOUD, RUN, SPARE, spot_cluster
from nightingale.contract.schemas import HistoryOut, HoursIn, PolicyIn, ScheduleIn, SpotRateIn
from nightingale.contract.vocabulary import ReasonCode, Status, Weekday
from nightingale.domain.errors import RefusedError
from nightingale.domain.spot import MOST, WAITS
from nightingale.ports.prober import ProbeOutcome


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(cluster=spot_cluster(), more_places=(CLOUD, RUN))


async def run(platform: FakePlatform, **body: Any) -> str:
    """Launch on spare capacity, with relaunches, and bring it to running; return its id."""
    found = await platform.run(**{"place": CLOUD, "spot": True, "relaunch_when_interrupted": True, **body})
    return found.id


async def take_back(platform: FakePlatform, instance_id: str) -> None:
    """Let the cloud take its machine back, and the watcher see it."""
    generation = platform.get().generation
    platform.machines_at[CLOUD].lose(instance_id, generation, ReasonCode.INTERRUPTED)
    platform.prober.script(socket_of(instance_id), ProbeOutcome.REFUSED)
    await beat(platform)
    platform.prober.script(socket_of(instance_id), ProbeOutcome.OK)
    failed = platform.get()
    assert (failed.status, given(failed.reason).code) == (Status.FAILED, ReasonCode.INTERRUPTED)


async def beat(platform: FakePlatform) -> None:
    """Look as the watcher does: at every machine, then at every time."""
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    await platform.watch.beat_running()


def by_platform(platform: FakePlatform) -> list[str]:
    """Return the words of the platform's own retries, as the history has them."""
    answer = platform.handle("list_history", "ada", "scan", query={"limit": "200"})
    entries = msgspec.json.decode(answer.body, type=HistoryOut).entries
    return [given(one.reason).words for one in entries if (one.event, one.actor) == ("retry", "platform")]


# --- where it is to be had --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["local", RUN])
def test_a_place_that_has_no_spot_refuses_it_in_words(platform: FakePlatform, place: str) -> None:
    body = {"name": "scan", "place": place, "spot": True}
    error = platform.error(platform.handle("launch_instance", "grace", None, body))
    assert (error["code"], error["details"][0]["path"]) == ("invalid", "spot")
    assert "has no spot machines" in error["message"]
    assert CLOUD in error["next_step"]


def test_a_machine_type_that_is_never_spot_is_passed_over_or_refused(platform: FakePlatform) -> None:
    platform.launch(place=CLOUD, spot=True)
    (spec,) = platform.builder_at[CLOUD].running
    assert (spec.variables["spot"], spec.variables["machine_type"]) == (True, "m7i.large")
    body = {"name": "large", "place": CLOUD, "spot": True, "size": {"cpu": "m"}}
    error = platform.error(platform.handle("launch_instance", "grace", None, body))
    assert "no spot machine type" in error["message"]
    assert platform.launch("b", place=CLOUD, size={"cpu": "m"}).spot is False


def test_relaunches_without_spot_are_refused(platform: FakePlatform) -> None:
    body = {"name": "scan", "relaunch_when_interrupted": True}
    error = platform.error(platform.handle("launch_instance", "grace", None, body))
    assert (error["code"], error["details"][0]["path"]) == ("invalid", "relaunch_when_interrupted")


def test_the_best_place_is_one_that_has_spot(platform: FakePlatform) -> None:
    assert platform.launch(place="auto").place == "local"
    launched = platform.launch("spare", place="auto", spot=True)
    assert (launched.place, launched.spot) == (CLOUD, True)
    assert "no spot machines" in launched.place_why


def test_the_catalogue_says_where_it_is(platform: FakePlatform) -> None:
    places = platform.ask("get_catalog", "grace", None)["places"]
    assert {one["name"]: one["spot"] for one in places} == {
        "local": False,
        "attic": False,
        "aws": True,
        CLOUD: True,
        RUN: False,
    }


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_an_estimate_is_at_the_spot_rate_and_says_what_it_would_be_on_demand(platform: FakePlatform) -> None:
    told = platform.ask("create_estimate", "grace", None, {"place": CLOUD, "spot": True})
    assert (told["compute_per_hour"]["amount"], told["spot"]) == ("0.101", True)
    assert told["spot_words"] == "on demand it is 0.3055 EUR an hour"
    plain = platform.ask("create_estimate", "grace", None, {"place": CLOUD})
    assert (plain["compute_per_hour"]["amount"], plain["spot"], plain["spot_words"]) == ("0.305", False, "")


@pytest.mark.parametrize(
    ("spare", "amount", "words"),
    [
        (None, "0.305", "no spot rate for cpu, memory: charged as on demand"),
        (SpotRateIn(cpu={"s": Decimal("0.1")}), "0.105", "no spot rate for memory: charged as on demand; on demand it"),
    ],
)
def test_where_no_spot_rate_is_set_the_other_is_charged_and_said(
    spare: SpotRateIn | None, amount: str, words: str
) -> None:
    platform = FakePlatform(cluster=spot_cluster(spare), more_places=(CLOUD,))
    told = platform.ask("create_estimate", "grace", None, {"place": CLOUD, "spot": True})
    assert told["compute_per_hour"]["amount"] == amount
    assert told["spot_words"].startswith(words)


async def test_it_is_metered_at_the_spot_rate(platform: FakePlatform) -> None:
    await run(platform)
    assert platform.get().price_per_hour.amount == Decimal("0.1015")
    platform.clock.advance(3600)
    spent = platform.get()
    assert spent.cost.amount == Decimal("0.1015")
    platform.clock.advance(3600)
    assert platform.made.metering.run_once() > 0
    lines = platform.ask("list_usage_records", "ada", None)["records"]
    assert {one["price_per_hour"] for one in lines if one["kind"] == "compute"} == {"0.101"}


def test_a_cluster_file_with_spot_prices_where_there_is_no_spot_is_refused() -> None:
    cluster = spot_cluster()
    rates = (*cluster.rates[:-1], msgspec.structs.replace(cluster.rates[-1], spot=SPARE))
    platform = FakePlatform(cluster=cluster)
    with pytest.raises(RefusedError) as raised:
        apply_cluster(platform.store, msgspec.structs.replace(cluster, rates=rates))
    assert any("has no spot machines" in words for _, words in raised.value.details)
    unknown = msgspec.structs.replace(cluster.rates[-2], spot=SpotRateIn(cpu={"huge": Decimal(1)}))
    with pytest.raises(RefusedError) as raised:
        apply_cluster(platform.store, msgspec.structs.replace(cluster, rates=(*cluster.rates[:-2], unknown)))
    assert any(path.endswith("spot.cpu.huge") for path, _ in raised.value.details)


# --- what becomes of it -----------------------------------------------------------------------------------------------


async def test_taken_back_it_comes_up_again_by_itself_and_is_billed_for_what_it_ran(platform: FakePlatform) -> None:
    instance_id = await run(platform)
    platform.clock.advance(100)
    await beat(platform)
    platform.clock.advance(1)
    await take_back(platform, instance_id)
    shown = platform.get()
    assert shown.relaunch_at == shown.status_at + WAITS[0]
    assert "1 of 5 times in 24 hours" in shown.relaunch_why
    await beat(platform)
    assert by_platform(platform) == []
    platform.clock.advance(WAITS[0])
    await beat(platform)
    assert platform.get().status in {Status.REQUESTED, Status.PROVISIONING}
    (spec,) = platform.builder_at[CLOUD].running
    assert spec.variables["spot"] is True
    await platform.settle()
    again = platform.get()
    assert (again.status, again.relaunches, again.relaunch_why, again.generation) == (Status.RUNNING, 1, "", 2)
    assert len(by_platform(platform)) == 1
    assert again.usage_seconds == 100


async def test_two_watchers_launch_it_again_once(platform: FakePlatform) -> None:
    instance_id = await run(platform)
    await take_back(platform, instance_id)
    platform.clock.advance(WAITS[0])
    other = platform.another_watch()
    other.refresh()
    platform.watch.refresh()
    await platform.watch.beat_running()
    await other.beat_running()
    assert len(by_platform(platform)) == 1
    assert len(platform.builder_at[CLOUD].running) == 1


async def test_without_being_asked_it_stays_failed(platform: FakePlatform) -> None:
    instance_id = await run(platform, relaunch_when_interrupted=False)
    await take_back(platform, instance_id)
    platform.clock.advance(timedelta(hours=2))
    await beat(platform)
    failed = platform.get()
    assert (failed.status, failed.relaunch_at, failed.relaunch_why) == (Status.FAILED, None, "")


async def test_after_five_times_in_a_day_it_stays_failed_and_says_why(platform: FakePlatform) -> None:
    instance_id = await run(platform)
    for number in range(MOST):
        await take_back(platform, instance_id)
        platform.clock.advance(WAITS[number])
        await beat(platform)
        await platform.settle()
        assert platform.get().status is Status.RUNNING
    await take_back(platform, instance_id)
    platform.clock.advance(timedelta(hours=9))
    await beat(platform)
    failed = platform.get()
    assert (failed.status, failed.relaunch_at) == (Status.FAILED, None)
    assert "5 times within 24 hours" in failed.relaunch_why
    assert len(by_platform(platform)) == MOST
    platform.ask("retry_instance", "grace", "scan")
    await platform.settle()
    assert platform.get().status is Status.RUNNING


async def test_a_dataset_or_member_that_left_keeps_it_down(platform: FakePlatform) -> None:
    instance_id = await run(platform)
    await take_back(platform, instance_id)
    cluster = spot_cluster()
    brain, *others = cluster.projects
    gone = msgspec.structs.replace(brain, members=tuple(one for one in brain.members if one.person != "grace"))
    apply_cluster(platform.store, msgspec.structs.replace(cluster, projects=(gone, *others)))
    platform.clock.advance(WAITS[0])
    await beat(platform)
    assert by_platform(platform) == []
    assert (platform.get().relaunch_at, platform.get().relaunch_why) == (
        None,
        "It is not launched again: grace left brain.",
    )
    apply_cluster(platform.store, msgspec.structs.replace(cluster, images=cluster.images[1:]))
    await beat(platform)
    assert by_platform(platform) == []
    assert "there is no image default" in platform.get().relaunch_why
    apply_cluster(platform.store, cluster)
    await beat(platform)
    assert len(by_platform(platform)) == 1


async def test_the_longest_lifetime_is_not_begun_anew_by_a_relaunch() -> None:
    platform = FakePlatform(cluster=spot_cluster(policy=PolicyIn(max_lifetime=3600)), more_places=(CLOUD,))
    instance_id = await run(platform)
    begun = platform.clock.now()
    platform.clock.advance(3550)
    await take_back(platform, instance_id)
    platform.clock.advance(WAITS[0])
    await beat(platform)
    await platform.settle()
    up = platform.get()
    assert up.status is Status.RUNNING
    assert given(up.stops_at) <= begun + timedelta(hours=1)
    platform.clock.set(begun + timedelta(hours=1))
    await beat(platform)
    assert platform.get().status is Status.STOPPING


async def test_its_owner_stops_a_relaunch_that_waits(platform: FakePlatform) -> None:
    instance_id = await run(platform)
    await take_back(platform, instance_id)
    assert platform.get().relaunch_at is not None
    assert "stop" in platform.ask("get_instance", "grace", "scan")["allowed_actions"]
    assert platform.refusal("stop_instance", "mary", "scan") == "forbidden"
    platform.ask("stop_instance", "grace", "scan")
    assert platform.get().relaunch_at is None
    platform.clock.advance(WAITS[0])
    await platform.settle()
    assert platform.get().status == "stopped"
    assert by_platform(platform) == []


async def test_strict_hours_refuse_a_relaunch_as_they_refuse_a_start_and_say_so(platform: FakePlatform) -> None:
    instance_id = await run(platform)
    await take_back(platform, instance_id)
    now = platform.clock.now()
    closed = HoursIn(days=(list(Weekday)[(now + timedelta(days=2)).weekday()],), start_at="09:00", stop_at="10:00")
    schedule = ScheduleIn(time_zone="UTC", hours=(closed,), is_strict=True)
    apply_cluster(platform.store, msgspec.structs.replace(spot_cluster(), policy=PolicyIn(schedule=schedule)))
    told = platform.get()
    refused = platform.error(platform.handle("retry_instance", "grace", "scan"))
    assert told.relaunch_at is None
    assert refused["message"] in told.relaunch_why
    platform.clock.advance(WAITS[0])
    await beat(platform)
    assert by_platform(platform) == []
