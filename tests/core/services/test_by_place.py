"""A host's builders, machines and the rest are found whatever the cluster file calls a place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from doubles import FixedClock
from doubles.builder import FakeBuilder
from doubles.clusters import ADMIN, apply_cluster, rate
from doubles.machines import FakeMachines
from doubles.platforms import FakePlatform, team_cluster
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.schemas import ClusterIn, ClusterPlanIn, ImageIn, MachineIn, PlaceIn
from nightingale.domain.errors import RefusedError
from nightingale.services.build_variables import CatalogBuildVariables
from nightingale.services.by_place import ByPlace
from nightingale.services.catalog import CatalogService

FRA, OTHER, DUB = "clinic-fra", "clinic-b", "aws-dub"
HERE, THERE = "aws/eu-central-1", "aws/eu-west-1"
NETWORK = {"region": "eu-central-1", "kms_key": "arn:aws:kms:eu-central-1:123456789012:key/homes"}


def cluster_of(*places: PlaceIn) -> ClusterIn:
    """Return the team's cluster with these places in AWS, beside its own and one that has what no other has."""
    cluster = team_cluster()
    machines = (MachineIn(type="m7i.large", cores=2, gib=8),)
    own = [place for place in cluster.places if place.name == "local"]
    return msgspec.structs.replace(
        cluster,
        places=(
            *own,
            PlaceIn(name="far", kind="azure"),
            *(msgspec.structs.replace(one, machines=machines) for one in places),
        ),
        rates=(
            *(one for one in cluster.rates if one.place == "local"),
            rate("2026-01-01", place="far", cpu={"xl": "3"}),
            *(rate("2026-01-01", place=one.name, cpu={"s": "0.3"}) for one in places),
        ),
        images=(ImageIn(name="default", local="default", sources={one.name: "default" for one in places}),),
    )


def aws(name: str, region: str = "eu-central-1") -> PlaceIn:
    return PlaceIn(name=name, kind="aws", region=region)


@dataclass
class InAws(FakePlatform):
    """A platform whose host runs AWS in Frankfurt."""

    cluster: ClusterIn = field(default_factory=lambda: cluster_of(aws(FRA), aws(OTHER), aws(DUB, "eu-west-1")))
    more_places: tuple[str, ...] = (HERE,)


@dataclass
class Held:
    """A catalogue, and what one host has by its own words."""

    catalog: CatalogService
    found: ByPlace[str]
    store: SqliteStore


def held(*places: PlaceIn, made: tuple[str, ...] = (HERE,)) -> Held:
    store = SqliteStore(":memory:")
    apply_cluster(store, cluster_of(*places))
    catalog = CatalogService(store, {}, FixedClock())
    return Held(catalog, ByPlace({one: f"of {one}" for one in made}, lambda: catalog), store)


def test_any_name_of_a_place_in_the_hosts_region_finds_what_it_has() -> None:
    found = held(aws(FRA), aws(OTHER), aws(DUB, "eu-west-1")).found
    assert found[FRA] == found[OTHER] == f"of {HERE}"
    assert DUB not in found
    assert "nowhere" not in found
    assert "local" not in found


def test_a_place_without_a_region_is_the_hosts_own_one_also_where_it_has_several() -> None:
    assert held(aws("clinic", "")).found["clinic"] == f"of {HERE}"
    found = held(aws("clinic", ""), aws(DUB, "eu-west-1"), made=(HERE, THERE)).found
    assert found["clinic"] == found["aws"] == f"of {HERE}"
    assert found[DUB] == f"of {THERE}"


def test_each_that_the_host_has_is_gone_over_once_by_a_name_of_the_file() -> None:
    found = held(aws(FRA), aws(OTHER), made=(HERE, THERE)).found
    assert dict(found) == {OTHER: f"of {HERE}", THERE: f"of {THERE}"}
    assert len(found) == 2
    assert not held(made=()).found


def test_a_host_that_names_its_places_is_taken_at_its_word() -> None:
    found = held(aws(FRA), made=("local", FRA)).found
    assert (found["local"], found[FRA]) == ("of local", f"of {FRA}")


def test_a_kind_is_a_name_that_the_file_need_not_have() -> None:
    assert held().found["aws"] == f"of {HERE}"
    assert "azure" not in held().found


def test_a_place_that_is_new_is_found_without_being_asked_for_again() -> None:
    made = held(aws(FRA))
    assert OTHER not in made.found
    apply_cluster(made.store, cluster_of(aws(FRA), aws(OTHER)))
    assert made.found[OTHER] == f"of {HERE}"


# --- a platform -------------------------------------------------------------------------------------------------------


async def test_an_instance_lives_in_a_place_of_any_name() -> None:
    platform = InAws()
    builder: Any = platform.builder_at[HERE]
    assert isinstance(builder, FakeBuilder)
    launched = platform.launch(place=FRA)
    (spec,) = builder.running
    assert (spec.place, spec.variables["machine_type"]) == ("aws", "m7i.large")
    builder.finish(spec.build_id)
    await platform.settle()
    assert platform.get().status == "running"
    assert isinstance(platform.machines_at[HERE], FakeMachines)
    assert launched.id in platform.machines_at[HERE].find_all()
    assert platform.made.reconcile().end_orphans() == 0


def test_a_place_in_another_region_of_the_same_kind_is_refused_with_what_there_is() -> None:
    answer = InAws().handle("launch_instance", "grace", None, {"name": "scan", "place": DUB})
    told = msgspec.json.decode(answer.body)
    words = f"this platform runs no instances in {DUB}: it has no network in eu-west-1 of aws"
    assert (answer.status, told["message"]) == (422, words)
    assert told["next_step"].startswith(f"Places to use: {OTHER}, {FRA}, local. A network there is for the admin")


def test_a_launch_in_each_region_is_built_for_that_regions_network() -> None:
    platform = InAws(more_places=(HERE, THERE))
    networks = {HERE: NETWORK, THERE: {"region": "eu-west-1", "kms_key": "arn:aws:kms:eu-west-1:123456789012:key/h"}}
    images = {HERE: "ami-0f", THERE: "ami-0d"}
    catalog = platform.services.catalog
    variables = CatalogBuildVariables(catalog, ByPlace(networks, lambda: catalog), ByPlace(images, lambda: catalog))
    for place, key in ((FRA, HERE), (DUB, THERE)):
        instance = platform.stored(platform.launch(place, place=place).id).instance
        told = variables.of(instance, previous=None)
        assert (told["network"]["region"], told["image"]) == (networks[key]["region"], images[key])
        assert told["kms_key"] == networks[key]["kms_key"]
        assert launched_at(platform, key) == [instance.id]


def launched_at(platform: InAws, key: str) -> list[str]:
    builder: Any = platform.builder_at[key]
    return [spec.instance_id for spec in builder.running]


def test_the_key_of_a_places_disks_is_a_variable_of_its_own() -> None:
    platform = InAws()
    instance = platform.stored(platform.launch(place=FRA).id).instance
    variables = CatalogBuildVariables(
        platform.services.catalog, {FRA: NETWORK, "local": {"data_dir": "/data"}}, {FRA: "ami-0f"}
    ).of(instance, previous=None)
    assert variables["kms_key"] == NETWORK["kms_key"]
    assert variables["network"] == {"region": "eu-central-1", "owner_uid": 20_000}
    assert variables["image"] == "ami-0f"
    here = platform.stored(platform.launch("other").id).instance
    plain = platform.lifecycle.variables.of(here, previous=None)
    assert plain["kms_key"] is None


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (aws(FRA, "eu-west-1"), "stays of kind aws in eu-central-1"),
        (PlaceIn(name=FRA, kind="azure", region="eu-central-1"), "stays of kind aws in eu-central-1"),
    ],
)
def test_a_place_does_not_move_while_instances_live_there(now: PlaceIn, words: str) -> None:
    platform = InAws()
    moved = cluster_of(now, aws(OTHER))
    asked = ClusterPlanIn(cluster=moved)
    assert platform.services.cluster.plan(ADMIN, asked).changes
    platform.launch(place=FRA)
    with pytest.raises(RefusedError, match=words):
        platform.services.cluster.plan(ADMIN, asked)
