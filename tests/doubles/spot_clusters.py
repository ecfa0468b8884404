"""A cluster with a place in AWS that has spare capacity and spot rates, and one, Cloud Run, that has none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from doubles.clusters import rate
from doubles.platforms import team_cluster
from nightingale.contract.schemas import ClusterIn, ImageIn, MachineIn, PlaceIn, SpotRateIn

CLOUD, RUN = "aws-fra", "gcp-run"
SPARE = SpotRateIn(cpu={"s": Decimal("0.1")}, memory={"s": Decimal("0.001")})


def spot_cluster(spare: SpotRateIn | None = SPARE, **changes: Any) -> ClusterIn:
    """Return the team's cluster with a place in AWS that has a machine type for spot, and Cloud Run."""
    cluster = team_cluster()
    machines = (
        MachineIn(type="never-spot", cores=1, gib=1, spot=False),
        MachineIn(type="m7i.large", cores=1, gib=1),
        MachineIn(type="m7i.xlarge", cores=2, gib=8, spot=False),
    )
    cloud = msgspec.structs.replace(rate("2026-01-01", place=CLOUD, cpu={"s": "0.3", "m": "0.6"}), spot=spare)
    return msgspec.structs.replace(
        cluster,
        places=(
            *cluster.places,
            PlaceIn(name=CLOUD, kind="aws", machines=machines),
            PlaceIn(name=RUN, kind="gcp", machines=machines),
        ),
        rates=(*cluster.rates, cloud, rate("2026-01-01", place=RUN, cpu={"s": "0.3"})),
        images=(ImageIn(name="default", local="default", sources={CLOUD: "ami-0f", RUN: "image"}), *cluster.images[1:]),
        **changes,
    )
