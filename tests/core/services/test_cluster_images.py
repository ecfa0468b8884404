"""Images in the cluster file that name a container: what is wrong with one, and what a build is told of it."""

from __future__ import annotations

import msgspec
import pytest

from doubles.audit import MemoryAuditLog
from doubles.clocks import FixedClock
from doubles.clusters import ADMIN, small_cluster
from doubles.platforms import FakePlatform, team_cluster
from doubles.signatures import FakeSignatures
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.schemas import ClusterIn, ClusterPlanIn, ImageIn
from nightingale.domain.errors import RefusedError
from nightingale.services.cluster import ClusterService

REFERENCE = "localhost/nightingale-notebook:cpu"


def test_a_container_without_an_environment_is_refused_with_its_line() -> None:
    service = ClusterService(SqliteStore(":memory:"), FixedClock(), MemoryAuditLog(), FakeSignatures())
    wrong = small_cluster(images=(ImageIn(name="default", local="default"), ImageIn(name="boxed", container=REFERENCE)))
    with pytest.raises(RefusedError) as caught:
        service.plan(ADMIN, ClusterPlanIn(cluster=wrong))
    assert caught.value.details == (
        ("images[1].local", "it is needed beside a container: for where there is no podman"),
    )


@pytest.mark.parametrize("reference", ["--privileged", "a b", "", "Local/x", "x\n"])
def test_what_podman_could_take_for_something_else_is_no_container(reference: str) -> None:
    image = {"name": "boxed", "local": "default", "container": reference}
    with pytest.raises(msgspec.ValidationError, match="container"):
        msgspec.convert(image, ImageIn)


def test_a_build_is_told_of_the_container_that_its_image_names_and_of_none_else() -> None:
    given = team_cluster()
    boxed = ImageIn(name="boxed", local="default", container=REFERENCE)
    cluster: ClusterIn = msgspec.structs.replace(given, images=(*given.images, boxed))
    platform = FakePlatform(cluster=cluster)
    platform.launch(name="first", image="boxed")
    platform.launch(name="second")
    first, second = (spec.variables["network"] for spec in platform.builder.running)
    assert first == {**second, "container": REFERENCE}
    assert "container" not in second
