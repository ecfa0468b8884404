"""What follows from a cluster: prices by day, mounts, tiers, machine types; and refusals that name what there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from doubles.clusters import small_cluster
from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import DatasetIn, ImageIn, MachineIn, PlaceIn, Size
from nightingale.domain.catalog import Cluster, Sizes, tier_of
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Mount

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


@pytest.fixture
def cluster() -> Cluster:
    given = small_cluster()
    return Cluster(
        revision=1,
        version=1,
        currency=given.currency,
        projects={entry.name: entry for entry in given.projects},
        sizes=Sizes.of(given.sizes.cpu, given.sizes.memory, given.sizes.gpu, given.sizes.disk),
        images={entry.name: entry for entry in given.images},
        datasets={entry.name: entry for entry in given.datasets},
        places={entry.name: entry for entry in given.places},
        rates=given.rates,
    )


def test_a_price_is_the_sum_of_its_resources_and_of_each_gib_of_disk(cluster):
    price = cluster.price("local", Size(cpu="m", memory="m", gpu="s", disk="m"), NOW)
    assert (price.compute, price.disk, price.total) == (
        Decimal("0.4533333333"),
        Decimal("0.002"),
        Decimal("0.4553333333"),
    )
    assert price.disk_per_gib == Decimal("0.0001")


@pytest.mark.parametrize(
    ("at", "compute"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "0.015"),
        (datetime(2026, 11, 2, 23, 59, 59, tzinfo=UTC), "0.015"),
        (datetime(2026, 11, 3, tzinfo=UTC), "0.025"),
        (datetime(2026, 11, 3, 0, 30, tzinfo=timezone(timedelta(hours=1))), "0.015"),
        (datetime(2027, 1, 1, tzinfo=UTC), "0.025"),
    ],
)
def test_the_rate_in_force_is_the_latest_up_to_the_day_in_utc(cluster, at, compute):
    assert cluster.price("local", Size(), at).compute == Decimal(compute)


@pytest.mark.parametrize(
    ("place", "size", "at", "path", "words"),
    [
        ("moon", Size(), NOW, "place", "there is: local, aws"),
        ("local", Size(), datetime(2025, 12, 31, tzinfo=UTC), "place", "no prices on 2025-12-31"),
        ("local", Size(cpu="huge"), NOW, "size.cpu", "there is no cpu size huge; there is: s, m, xl"),
        ("local", Size(cpu="xl"), NOW, "size.cpu", "local cannot supply cpu size xl; there is: s, m"),
        ("local", Size(gpu="l"), NOW, "size.gpu", "there is no gpu size l; there is: none, s"),
        ("local", Size(disk="l"), NOW, "size.disk", "there is no disk size l; there is: s, m"),
    ],
)
def test_what_has_no_price_is_refused_with_what_there_is(cluster, *, place, size, at, path, words):
    with pytest.raises(RefusedError) as caught:
        cluster.price(place, size, at)
    assert caught.value.code is ErrorCode.INVALID
    assert words in caught.value.message
    assert [detail[0] for detail in caught.value.details] == [path]


def test_mounts_are_the_datasets_in_the_order_asked_for(cluster):
    assert cluster.mounts("brain", ["mr-demo", "ct-demo"]) == (
        Mount("mr-demo", "2", 2),
        Mount("ct-demo", "1", 0),
    )


@pytest.mark.parametrize("name", ["ecg-demo", "no-such"])
def test_a_dataset_not_granted_is_refused_like_one_that_is_not_there(cluster, name):
    with pytest.raises(RefusedError) as caught:
        cluster.mounts("brain", ["ct-demo", name])
    assert caught.value.message == f"brain has no dataset {name}; there is: ct-demo, mr-demo"
    assert caught.value.details == (("datasets[1]", f"brain has no dataset {name}"),)


def test_a_dataset_asked_for_twice_is_refused(cluster):
    with pytest.raises(RefusedError, match="twice"):
        cluster.mounts("brain", ["ct-demo", "ct-demo"])


def test_the_strictest_tier_wins_and_nothing_mounted_is_open():
    assert tier_of(()) == 0
    assert tier_of((Mount("a", "1", 1), Mount("b", "1", 3), Mount("c", "1", 0))) == 3


def test_a_local_machine_type_says_cores_memory_and_gpus(cluster):
    assert cluster.machine("local", Size(cpu="m", memory="m", gpu="s")) == "c2-m4096-g1"
    assert cluster.machine("local", Size()) == "c1-m1024-g0"
    assert cluster.disk_gib(Size(disk="m")) == 20


def test_a_cloud_takes_the_first_of_its_machine_types_that_holds_the_size(cluster):
    machines = (
        MachineIn(type="tiny", cores=1, gib=1),
        MachineIn(type="gpu", cores=8, gib=32, gpu="s"),
        MachineIn(type="large", cores=4, gib=8),
        MachineIn(type="larger", cores=16, gib=64),
    )
    place = PlaceIn(name="aws", kind="aws", machines=machines)
    cluster = replace(cluster, places={**cluster.places, "aws": place})
    assert cluster.machine("aws", Size()) == "tiny"
    assert cluster.machine("aws", Size(cpu="m")) == "large"
    assert cluster.machine("aws", Size(cpu="xl", memory="m")) == "larger"
    assert cluster.machine("aws", Size(gpu="s")) == "gpu"
    with pytest.raises(RefusedError, match="no machine type of aws holds 16 cores, 1 GiB and gpu s"):
        cluster.machine("aws", Size(cpu="xl", gpu="s"))


def test_a_container_is_taken_on_one_machine_only_and_where_the_image_names_one(cluster):
    reference = "localhost/nightingale-notebook:cpu"
    named = ImageIn(name="notebook", local="default", container=reference)
    cluster = replace(cluster, images={**cluster.images, "notebook": named})
    assert cluster.image("notebook", "local") == "default"
    assert cluster.container("notebook", "local") == reference
    assert cluster.container("notebook", "aws") is None
    assert cluster.container("default", "local") is None


def test_images_and_datasets_are_found_where_they_lie(cluster):
    assert cluster.image("default", "local") == "default"
    assert cluster.dataset_source("ct-demo", "local") == "/data/ct"
    for look in (
        lambda: cluster.image("cloud-only", "local"),
        lambda: cluster.image("default", "aws"),
        lambda: cluster.image("none", "local"),
        lambda: cluster.dataset_source("ecg-demo", "local"),
        lambda: cluster.dataset_source("ct-demo", "aws"),
        lambda: cluster.dataset_source("none", "local"),
    ):
        with pytest.raises(RefusedError) as caught:
            look()
        assert caught.value.code is ErrorCode.INVALID


def test_what_a_place_is_told_of_comes_before_the_folder_of_every_local_one(cluster):
    dataset = DatasetIn(name="ct-demo", version="1", local="/data/ct", sources={"local": "/other", "aws": "s3:ct/1"})
    image = ImageIn(name="default", local="default", sources={"aws": "ami-0123456789abcdef0"})
    cluster = replace(cluster, datasets={"ct-demo": dataset}, images={"default": image})
    assert cluster.dataset_source("ct-demo", "local") == "/other"
    assert cluster.dataset_source("ct-demo", "aws") == "s3:ct/1"
    assert cluster.dataset_places("ct-demo") == ("local", "aws")
    assert cluster.image("default", "aws") == "ami-0123456789abcdef0"
    assert cluster.image_places("default") == ("local", "aws")


def test_a_dataset_that_lies_elsewhere_says_where(cluster):
    with pytest.raises(RefusedError) as caught:
        cluster.dataset_source("ct-demo", "aws")
    assert caught.value.message == "dataset ct-demo does not lie in aws"
    assert "It lies in: local." in caught.value.next_step


def test_an_unknown_project_is_not_found(cluster):
    assert cluster.project("brain").name == "brain"
    with pytest.raises(RefusedError) as caught:
        cluster.project("liver")
    assert caught.value.code is ErrorCode.NOT_FOUND
