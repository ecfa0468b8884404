"""Places in the cluster file: what can be wrong with them, and what a change of them shows as."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from doubles.audit import MemoryAuditLog
from doubles.clocks import FixedClock
from doubles.clusters import ADMIN, apply_cluster, rate, small_cluster
from doubles.signatures import FakeSignatures
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.schemas import (
    ClusterIn,
    ClusterPlanIn,
    ClusterPlanOut,
    DatasetIn,
    ImageIn,
    MachineIn,
    PlaceIn,
)
from nightingale.domain.errors import RefusedError
from nightingale.services.cluster import ClusterService


def service_of(store: SqliteStore) -> ClusterService:
    return ClusterService(store, FixedClock(), MemoryAuditLog(), FakeSignatures())


def plan(cluster: ClusterIn, store: SqliteStore | None = None) -> ClusterPlanOut:
    return service_of(store or SqliteStore(":memory:")).plan(ADMIN, ClusterPlanIn(cluster=cluster))


def with_places(*places: PlaceIn) -> ClusterIn:
    cluster = small_cluster()
    more = tuple(rate("2026-01-01", place=place.name, cpu={"s": "0.1"}) for place in places)
    return msgspec.structs.replace(cluster, places=(*cluster.places, *places), rates=(*cluster.rates, *more))


def with_project_places(*names: str) -> ClusterIn:
    cluster = small_cluster()
    brain, *others = cluster.projects
    return msgspec.structs.replace(cluster, projects=(msgspec.structs.replace(brain, places=names), *others))


def with_source(tier: int = 0, **sources: str) -> ClusterIn:
    cluster = small_cluster()
    dataset = DatasetIn(name="ct-demo", version="1", tier=tier, sources=sources)
    return msgspec.structs.replace(cluster, datasets=(dataset, *cluster.datasets[1:]))


@pytest.mark.parametrize(
    ("cluster", "path", "words"),
    [
        (with_places(PlaceIn(name="auto", kind="aws")), "places[2].name", "take another name"),
        (with_places(PlaceIn(name="gcp", kind="aws")), "places[2].name", "this one is of kind aws"),
        (
            with_places(PlaceIn(name="b", kind="local", machines=(MachineIn(type="x", cores=1, gib=1),))),
            "places[2].machines",
            "no machine types",
        ),
        (
            with_places(PlaceIn(name="b", kind="aws", machines=(MachineIn(type="x", cores=1, gib=1, gpu="l"),))),
            "places[2].machines[0].gpu",
            "no gpu size l",
        ),
        (with_project_places("local", "moon"), "projects[0].places[1]", "no place moon"),
        (with_project_places("azure"), "projects[0].places[0]", "none of that kind"),
        (with_project_places("local", "aws", "local"), "projects[0].places[2]", "there already"),
        (with_source(moon="s3:brain-ct/1"), "datasets[0].sources.moon", "no place moon"),
        (with_source(aws="/data/ct"), "datasets[0].sources.aws", "ebs:snap-"),
        (with_source(aws="s3:UPPER/1"), "datasets[0].sources.aws", "ebs:snap-"),
        (with_source(aws="s3:brain-ct/a b"), "datasets[0].sources.aws", "plain characters"),
        (with_source(aws="s3:brain-ct/../x"), "datasets[0].sources.aws", "plain characters"),
        (with_source(1, aws="s3:brain-ct/1"), "datasets[0].sources.aws", "one of tier 1 is ebs:snap-"),
        (with_source(3, aws="efs:fs-0123456789abcdef0:/ct"), "datasets[0].sources.aws", "one of tier 3 is ebs:snap-"),
        (with_source(local="data/ct"), "datasets[0].sources.local", "absolute path"),
        (with_source(local="/data/../etc"), "datasets[0].sources.local", "absolute path"),
        (
            small_cluster(images=(ImageIn(name="default", local="default", sources={"moon": "ami-1"}),)),
            "images[0].sources.moon",
            "no place moon",
        ),
    ],
)
def test_what_is_wrong_with_a_place_is_named_with_its_path(cluster: ClusterIn, path: str, words: str) -> None:
    with pytest.raises(RefusedError) as caught:
        plan(cluster)
    assert [(found, words in said) for found, said in caught.value.details] == [(path, True)]


@pytest.mark.parametrize(
    "source", ["s3:brain-ct", "s3:brain-ct/1/raw", "ebs:snap-0123456789abcdef0", "efs:fs-0123456789abcdef0:/ct/1"]
)
def test_each_way_in_which_a_dataset_lies_in_aws_is_taken(source: str) -> None:
    assert plan(with_source(aws=source)).changes
    assert plan(with_source(2, aws="ebs:snap-0123456789abcdef0")).changes


SNAPSHOT = (
    "snapshot:/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/data"
    "/providers/Microsoft.Compute/snapshots/ct"
)


def in_azure(source: str, tier: int) -> ClusterIn:
    cluster = with_places(PlaceIn(name="azure", kind="azure"))
    dataset = DatasetIn(name="ct-demo", version="1", tier=tier, sources={"azure": source})
    return msgspec.structs.replace(cluster, datasets=(dataset, *cluster.datasets[1:]))


@pytest.mark.parametrize("tier", [0, 3])
def test_a_dataset_in_azure_is_a_snapshot_whatever_its_tier(tier: int) -> None:
    assert plan(in_azure(SNAPSHOT, tier)).changes
    for source in ("ebs:snap-0123456789abcdef0", SNAPSHOT.replace("snapshots", "disks"), f"{SNAPSHOT}/../x"):
        with pytest.raises(RefusedError) as caught:
            plan(in_azure(source, tier))
        assert (
            "in azure a dataset is snapshot:/subscriptions/" in dict(caught.value.details)["datasets[0].sources.azure"]
        )


@pytest.mark.parametrize("machine_type", ["m7i.large", "Standard_NC4as_T4_v3", "cpu=4,memory=16Gi", "n2-standard-4"])
def test_what_clouds_call_their_machines_is_taken(machine_type: str) -> None:
    told: dict[str, Any] = {"type": machine_type, "cores": 1, "gib": 1}
    assert msgspec.convert(told, MachineIn).type == machine_type


@pytest.mark.parametrize("machine_type", ["", "-x", "a b", "a\n", "$(x)", '"'])
def test_what_is_no_machine_type_is_refused(machine_type: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": machine_type, "cores": 1, "gib": 1}, MachineIn)


def test_a_projects_places_show_as_one_change_and_their_order_matters() -> None:
    store = SqliteStore(":memory:")
    apply_cluster(store)
    assert [(one.verb, one.key) for one in plan(with_project_places("local", "aws"), store).changes] == [
        ("add", "projects.brain.places")
    ]
    apply_cluster(store, with_project_places("local", "aws"))
    (change,) = plan(with_project_places("aws", "local"), store).changes
    assert (change.verb, change.before, change.after) == ("change", '["local","aws"]', '["aws","local"]')
    assert plan(with_project_places("local", "aws"), store).changes == ()


def test_a_running_cluster_gives_the_file_with_its_places_back() -> None:
    store = SqliteStore(":memory:")
    wanted = with_source(aws="s3:brain-ct/1", local="/data/ct")
    apply_cluster(store, wanted)
    given = service_of(store).get(ADMIN).cluster
    assert next(one for one in given.datasets if one.name == "ct-demo").sources == wanted.datasets[0].sources
    assert plan(given, store).changes == ()


def test_a_place_in_which_nothing_ever_launches_is_taken_and_told_in_words() -> None:
    planned = plan(with_places(PlaceIn(name="paris", kind="gcp", region="europe-west9")))
    (note,) = planned.notes
    assert "nothing launches in paris" in note
    assert "gcp" in note
    assert planned.changes
    assert plan(small_cluster()).notes == ()
