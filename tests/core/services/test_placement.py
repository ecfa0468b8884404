"""Launches that choose their place, datasets that stay where they lie, and launches that go on elsewhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from doubles.clusters import apply_cluster, rate
from doubles.platforms import FakePlatform, team_cluster, with_dataset
from nightingale.contract.schemas import ClusterIn, DatasetIn, HistoryOut, ImageIn, MachineIn, PlaceIn
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale.domain.errors import RefusedError
from nightingale.ports.machines import SandboxSeen

FRA, DUB = "aws-fra", "aws-dub"
_MACHINES = (MachineIn(type="m7i.large", cores=2, gib=8),)
_IMAGE = ImageIn(name="default", local="default", sources={FRA: "ami-0f", DUB: "ami-0d"})


def world(*places: str, **changes: Any) -> ClusterIn:
    """Return the team's cluster with two places in AWS, where ct-demo lies too; brain may use `places`, in order."""
    cluster = team_cluster()
    brain, *others = cluster.projects
    return with_dataset(
        msgspec.structs.replace(
            cluster,
            projects=(msgspec.structs.replace(brain, places=places), *others),
            places=(
                *(place for place in cluster.places if place.kind == "local"),
                PlaceIn(name=FRA, kind="aws", region="eu-central-1", machines=_MACHINES),
                PlaceIn(name=DUB, kind="aws", region="eu-west-1", machines=_MACHINES),
            ),
            rates=(
                *(rate for rate in cluster.rates if rate.place != "aws"),
                rate("2026-01-01", place=FRA, cpu={"s": "0.3", "xl": "2"}),
                rate("2026-01-01", place=DUB, cpu={"s": "0.2"}),
            ),
            images=(_IMAGE, *cluster.images[1:]),
            **changes,
        ),
        DatasetIn(
            name="ct-demo", version="1", tier=0, sources={FRA: "s3:brain-ct/1", DUB: "ebs:snap-0123456789abcdef0"}
        ),
    )


def platform_of(cluster: ClusterIn) -> FakePlatform:
    return FakePlatform(cluster=cluster, more_places=(FRA, DUB))


def entries(platform: FakePlatform) -> list[tuple[str, str, str]]:
    """Return (event, status after, place) of each entry of the instance's history."""
    answer = platform.handle("list_history", "ada", "scan")
    found = msgspec.json.decode(answer.body, type=HistoryOut).entries
    return [(entry.event, entry.after.value, entry.place) for entry in found]


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_auto_takes_the_first_of_the_projects_places_and_says_why() -> None:
    platform = platform_of(world(FRA, DUB, "local"))
    launched = platform.launch(place="auto", datasets=["ct-demo"])
    assert launched.place == FRA
    assert launched.place_why.startswith("auto: the first of brain's places that can take it (0.3")
    assert "not local: dataset ct-demo does not lie in local" in launched.place_why
    assert launched.elsewhere == (DUB,)
    assert platform.get().place_why == launched.place_why
    (spec,) = platform.builder_at[FRA].running
    assert spec.place == "aws"
    assert spec.variables["machine_type"] == "m7i.large"
    assert spec.variables["image"] == "ami-0f"
    assert spec.variables["datasets"][0]["source"] == "s3:brain-ct/1"


def test_a_kind_takes_the_cheapest_of_its_places() -> None:
    platform = platform_of(world())
    launched = platform.launch(place="aws")
    assert (launched.place, launched.elsewhere) == (DUB, ())


def test_a_place_whose_sandbox_does_not_hold_the_tier_is_passed_over() -> None:
    mr = DatasetIn(name="mr-demo", version="2", tier=2, local="/data/mr", sources={FRA: "ebs:snap-0123456789abcdef1"})
    platform = platform_of(with_dataset(world("local", "aws"), mr))
    platform.machines.sandbox_seen = SandboxSeen(None, "no bubblewrap", is_trusted=False)
    platform.machines_at[FRA].sandbox_seen = SandboxSeen("machine", "", is_trusted=True)
    assert platform.launch(place="auto", datasets=["mr-demo"]).place == FRA
    assert platform.refusal("launch_instance", "grace", None, {"name": "b", "datasets": ["mr-demo"]}) == (
        "sandbox_unavailable"
    )


def test_an_estimate_prices_every_place_and_says_what_speaks_against_it() -> None:
    platform = platform_of(world("local", "aws"))
    told = platform.ask("create_estimate", "grace", None, {"place": "auto", "datasets": ["ct-demo"]})
    assert told["place"] == DUB
    assert told["place_why"].startswith("auto: the first of brain's places")
    prices = {offer["place"]: (offer["per_hour"], bool(offer["refusal"])) for offer in told["places"]}
    assert list(prices) == [DUB, FRA, "local"]
    assert prices[DUB][0]["amount"] == "0.2055"
    assert prices["local"] == ({"amount": "0.0155", "currency": "EUR"}, True)
    assert told["places"][0]["region"] == "eu-west-1"


def test_an_estimate_of_a_named_place_is_priced_there_also_where_it_cannot_be_launched() -> None:
    platform = platform_of(world())
    told = platform.ask("create_estimate", "grace", None, {"place": "local", "datasets": ["ct-demo"]})
    assert (told["place"], told["per_hour"]["amount"]) == ("local", "0.0155")
    (local,) = [offer for offer in told["places"] if offer["place"] == "local"]
    assert local["refusal"] == "dataset ct-demo does not lie in local"
    assert "aws-fra" in local["next_step"]


# --- residency --------------------------------------------------------------------------------------------------------


def test_a_dataset_is_mounted_only_where_it_lies() -> None:
    platform = platform_of(world())
    answer = platform.handle("launch_instance", "grace", None, {"name": "scan", "datasets": ["ct-demo"]})
    error = platform.error(answer)
    assert (answer.status, error["message"]) == (422, "dataset ct-demo does not lie in local")
    assert error["next_step"].startswith("It lies in: aws-dub, aws-fra.")


@pytest.mark.parametrize("change", ["dataset", "project"])
async def test_what_left_the_place_is_not_started_there_again(change: str) -> None:
    platform = platform_of(world())
    await platform.run(place=FRA, datasets=["ct-demo"])
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    moved = with_dataset(world(), DatasetIn(name="ct-demo", version="1", tier=0, sources={DUB: "s3:brain-ct/1"}))
    apply_cluster(platform.store, moved if change == "dataset" else world("local", DUB))
    answer = platform.handle("start_instance", "grace", "scan")
    words = {
        "dataset": "dataset ct-demo does not lie in aws-fra",
        "project": "brain may not run instances in aws-fra",
    }
    assert platform.error(answer)["message"] == words[change]
    assert platform.error(answer)["next_step"]
    assert platform.get().status == Status.STOPPED
    platform.ask("delete_instance", "grace", "scan")
    await platform.settle()
    assert entries_of_ended(platform) == Status.TERMINATED


def entries_of_ended(platform: FakePlatform) -> str:
    ended = platform.ask("list_instances", "ada", None, None, query={"all": "true"})["instances"]
    return str(ended[0]["status"])


def test_a_retry_of_what_left_the_place_is_refused() -> None:
    platform = platform_of(world())
    launched = platform.launch(place=FRA, datasets=["ct-demo"])
    builder = platform.builder_at[FRA]
    builder.fail(builder.running[0].build_id)
    stored = platform.stored(launched.id).instance
    platform.lifecycle.end_build(stored, builder.look(stored.build_id or ""))
    apply_cluster(platform.store, world(DUB))
    assert platform.refusal("retry_instance", "grace", "scan") == "invalid"
    assert platform.get().status == Status.FAILED


# --- no capacity ------------------------------------------------------------------------------------------------------


async def look(platform: FakePlatform) -> None:
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    platform.watch.refresh()


async def lack_capacity(platform: FakePlatform, place: str) -> None:
    builder = platform.builder_at[place]
    (spec,) = builder.running
    builder.fail(spec.build_id, ReasonCode.NO_CAPACITY, f"{place} has no m7i.large left", "Try again later.")
    await look(platform)


async def test_a_launch_without_capacity_leaves_nothing_and_goes_on_in_the_next_place() -> None:
    platform = platform_of(world(FRA, DUB))
    launched = platform.launch(place="auto")
    await lack_capacity(platform, FRA)
    (clearing,) = platform.builder_at[FRA].running
    assert clearing.desired_state == "absent"
    assert clearing.variables["desired_state"] == "absent"
    assert clearing.variables["image"] == "ami-0f"
    seen = platform.get()
    assert (seen.place, seen.status) == (FRA, Status.PROVISIONING)
    assert seen.place_why == "aws-fra has no capacity: what was made there is removed, then aws-dub is tried"
    platform.builder_at[FRA].finish(clearing.build_id)
    await look(platform)
    (spec,) = platform.builder_at[DUB].running
    assert (spec.desired_state, spec.variables["image"], spec.generation) == ("running", "ami-0d", 3)
    await platform.settle()
    running = platform.get()
    assert (running.id, running.place, running.status) == (launched.id, DUB, Status.RUNNING)
    assert running.place_why == "aws-fra had no capacity: the next of its places"
    assert (str(launched.price_per_hour.amount), str(running.price_per_hour.amount)) == ("0.3055", "0.2055")
    assert entries(platform) == [
        ("launch", "requested", FRA),
        ("build_started", "provisioning", FRA),
        ("moved_on", "requested", FRA),
        ("build_started", "provisioning", FRA),
        ("build_succeeded", "requested", DUB),
        ("build_started", "provisioning", DUB),
        ("build_succeeded", "starting", DUB),
        ("became_ready", "running", DUB),
    ]


async def test_each_place_is_tried_once_then_it_has_failed() -> None:
    platform = platform_of(world(FRA, DUB))
    platform.launch(place="auto")
    await lack_capacity(platform, FRA)
    platform.builder_at[FRA].finish(platform.builder_at[FRA].running[0].build_id)
    await look(platform)
    await lack_capacity(platform, DUB)
    failed = platform.get()
    assert (failed.status, failed.place) == (Status.FAILED, DUB)
    assert failed.reason is not None
    assert failed.reason.code == ReasonCode.NO_CAPACITY
    assert not platform.builder_at[FRA].running
    assert not platform.builder_at[DUB].running
    platform.ask("retry_instance", "grace", "scan")
    assert [spec.generation for spec in platform.builder_at[DUB].running] == [4]


@pytest.mark.parametrize(("code", "body"), [("no_capacity", {"place": FRA}), ("terraform_failed", {"place": "auto"})])
async def test_only_what_asked_for_it_and_lacked_capacity_goes_elsewhere(code: str, body: dict[str, Any]) -> None:
    platform = platform_of(world(FRA, DUB))
    platform.launch(**body)
    builder = platform.builder_at[FRA]
    builder.fail(builder.running[0].build_id, ReasonCode(code))
    await look(platform)
    failed = platform.get()
    assert (failed.status, failed.place) == (Status.FAILED, FRA)
    assert not platform.builder_at[DUB].specs


async def test_a_named_place_goes_elsewhere_when_asked() -> None:
    platform = platform_of(world(FRA, DUB))
    assert platform.launch(place=DUB, elsewhere=True).elsewhere == (FRA,)
    await lack_capacity(platform, DUB)
    assert platform.get().place == DUB
    assert platform.builder_at[DUB].running[0].desired_state == "absent"


async def test_what_cannot_be_cleared_away_has_failed_where_it_is_and_can_be_tried_again_or_deleted() -> None:
    platform = platform_of(world(FRA, DUB))
    platform.launch(place="auto")
    await lack_capacity(platform, FRA)
    builder = platform.builder_at[FRA]
    builder.fail(builder.running[0].build_id)
    await look(platform)
    assert (platform.get().status, platform.get().place) == (Status.FAILED, FRA)
    platform.ask("retry_instance", "grace", "scan")
    assert builder.running[0].desired_state == "absent"
    builder.finish(builder.running[0].build_id)
    await look(platform)
    assert platform.get().place == DUB


async def test_a_next_place_that_the_project_lost_meanwhile_is_a_failure_with_words() -> None:
    platform = platform_of(world(FRA, DUB))
    platform.launch(place="auto")
    await lack_capacity(platform, FRA)
    apply_cluster(platform.store, world(FRA))
    builder = platform.builder_at[FRA]
    builder.finish(builder.running[0].build_id)
    await look(platform)
    failed = platform.get()
    assert (failed.status, failed.place) == (Status.FAILED, FRA)
    assert failed.reason is not None
    assert failed.reason.words == "brain may not run instances in aws-dub"
    assert not platform.builder_at[DUB].specs
    platform.ask("delete_instance", "grace", "scan")
    assert builder.running[0].desired_state == "absent"


async def test_a_watcher_that_died_between_two_builds_is_made_good_by_the_next() -> None:
    platform = platform_of(world(FRA, DUB))
    launched = platform.launch(place="auto")
    builder = platform.builder_at[FRA]
    builder.fail(builder.running[0].build_id, ReasonCode.NO_CAPACITY, "none left", "")
    stored = platform.stored(launched.id).instance
    builder.refuse()
    platform.lifecycle.end_build(stored, builder.look(stored.build_id or ""))
    builder.accept()
    assert platform.stored(launched.id).instance.status is Status.REQUESTED
    platform.clock.advance(2)
    await look(platform)
    assert [spec.desired_state for spec in builder.running] == ["absent"]
    with pytest.raises(RefusedError, match="changed meanwhile"):
        platform.lifecycle.end_build(stored, builder.look(stored.build_id or ""))
    assert len(builder.running) == 1
