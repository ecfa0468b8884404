"""Cluster files for tests: a small, whole one, and the way to apply it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from doubles.audit import MemoryAuditLog
from doubles.clocks import FixedClock
from doubles.signatures import FakeSignatures
from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Plan, Role
from nightingale.domain.access import Principal
from nightingale.ports.store import Store
from nightingale.services.cluster import ClusterService

ADMIN = Principal("operator", is_admin=True)


def small_cluster(**changes: Any) -> s.ClusterIn:
    """Return a file with two projects, three people, one place, prices that divide badly; `changes` replace parts."""
    keys = FakeSignatures()
    cluster = s.ClusterIn(
        version=1,
        currency="EUR",
        people=(
            s.PersonIn(name="ada", full_name="Ada L", keys=(keys.key("ada"),)),
            s.PersonIn(name="grace", keys=(keys.key("grace"),), uid=20_000),
            s.PersonIn(name="hedy", keys=(keys.key("hedy"),), is_admin=True),
        ),
        projects=(
            s.ProjectIn(
                name="brain",
                plan=Plan.PRIVATE,
                members=(
                    s.MemberIn(person="ada", role=Role.LEAD),
                    s.MemberIn(person="grace", role=Role.RESEARCHER),
                ),
                datasets=("ct-demo", "mr-demo"),
            ),
            s.ProjectIn(name="heart", members=(s.MemberIn(person="grace", role=Role.LEAD),), datasets=("ecg-demo",)),
        ),
        sizes=s.SizesIn(
            cpu=(s.CpuIn(name="s", cores=1), s.CpuIn(name="m", cores=2), s.CpuIn(name="xl", cores=16)),
            memory=(s.GibIn(name="s", gib=1), s.GibIn(name="m", gib=4)),
            disk=(s.GibIn(name="s", gib=5), s.GibIn(name="m", gib=20)),
            gpu=(s.GpuIn(name="s", count=1, model="T4"),),
        ),
        images=(s.ImageIn(name="default", local="default"), s.ImageIn(name="cloud-only")),
        places=(s.PlaceIn(name="local", kind="local"), s.PlaceIn(name="aws", kind="aws")),
        rates=(
            rate("2026-01-01", cpu={"s": "0.01", "m": "0.0333333333"}),
            rate("2026-11-03", cpu={"s": "0.02", "m": "0.07"}),
            rate("2026-01-01", place="aws", cpu={"s": "0.05", "xl": "1.7"}),
        ),
        datasets=(
            s.DatasetIn(name="ct-demo", version="1", tier=0, local="/data/ct"),
            s.DatasetIn(name="mr-demo", version="2", tier=2, local="/data/mr"),
            s.DatasetIn(name="ecg-demo", version="1", tier=1),
        ),
    )
    return msgspec.structs.replace(cluster, **changes)


def rate(effective: str, *, cpu: dict[str, str], place: str = "local", disk_gib: str = "0.0001") -> s.RateIn:
    """Return the rate of a place from a day on."""
    return s.RateIn(
        effective=date.fromisoformat(effective),
        place=place,
        cpu={name: Decimal(amount) for name, amount in cpu.items()},
        memory={"s": Decimal("0.005"), "m": Decimal("0.02")},
        gpu={"s": Decimal("0.4")},
        disk_gib=Decimal(disk_gib),
    )


def apply_cluster(store: Store, cluster: s.ClusterIn | None = None) -> s.ClusterApplyOut:
    """Apply a file to whatever the store holds now."""
    service = ClusterService(store, FixedClock(), MemoryAuditLog(), FakeSignatures())
    cluster = cluster or small_cluster()
    base = service.plan(ADMIN, s.ClusterPlanIn(cluster=cluster)).base
    return service.apply(ADMIN, s.ClusterApplyIn(cluster=cluster, base=base))
