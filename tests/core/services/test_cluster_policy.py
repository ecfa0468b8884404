"""Policies in the cluster file: what is wrong with one, what one changes, and that the file comes back the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from doubles.audit import MemoryAuditLog
from doubles.clocks import FixedClock
from doubles.clusters import ADMIN, apply_cluster, small_cluster
from doubles.signatures import FakeSignatures
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.schemas import ClusterIn, ClusterPlanIn, HoursIn, PolicyIn, ScheduleIn
from nightingale.contract.vocabulary import Weekday
from nightingale.domain.errors import RefusedError
from nightingale.services.cluster import ClusterService

MON, TUE, *_ = Weekday


@pytest.fixture
def store() -> SqliteStore:
    found = SqliteStore(":memory:")
    apply_cluster(found)
    return found


@pytest.fixture
def service(store: SqliteStore) -> ClusterService:
    return ClusterService(store, FixedClock(), MemoryAuditLog(), FakeSignatures())


def of_brain(policy: PolicyIn | None) -> ClusterIn:
    brain, *others = small_cluster().projects
    return small_cluster(projects=(msgspec.structs.replace(brain, policy=policy), *others))


def changes(service: ClusterService, cluster: ClusterIn) -> list[tuple[str, str, str | None, str | None]]:
    planned = service.plan(ADMIN, ClusterPlanIn(cluster=cluster)).changes
    return [(one.verb, one.key, one.before, one.after) for one in planned]


def hours(start_at: str | None = "07:00", stop_at: str = "19:00", days: tuple[Weekday, ...] = (MON,)) -> HoursIn:
    return HoursIn(days=days, start_at=start_at, stop_at=stop_at)


def test_each_line_of_a_policy_is_a_change_of_its_own(store: SqliteStore, service: ClusterService) -> None:
    first = of_brain(PolicyIn(idle_stop_after=3600, max_lifetime=28_800))
    assert changes(service, first) == [
        ("add", "projects.brain.policy.idle_stop_after", None, "3600"),
        ("add", "projects.brain.policy.max_lifetime", None, "28800"),
    ]
    apply_cluster(store, first)
    assert changes(service, of_brain(PolicyIn(idle_stop_after=600))) == [
        ("change", "projects.brain.policy.idle_stop_after", "3600", "600"),
        ("remove", "projects.brain.policy.max_lifetime", "28800", None),
    ]


def test_the_cluster_s_own_policy_has_its_lines_too(store: SqliteStore, service: ClusterService) -> None:
    assert changes(service, small_cluster(policy=PolicyIn(idle_stop_after=3600))) == [
        ("add", "policy.idle_stop_after", None, "3600")
    ]
    apply_cluster(store, small_cluster(policy=PolicyIn(idle_stop_after=3600)))
    assert changes(service, small_cluster()) == [("remove", "policy.idle_stop_after", "3600", None)]
    apply_cluster(store, small_cluster())
    assert service.get(ADMIN).cluster.policy is None


def test_a_policy_that_says_nothing_is_none_and_order_is_no_change(store: SqliteStore, service: ClusterService) -> None:
    assert changes(service, of_brain(PolicyIn())) == []
    rows = (hours(days=(TUE, MON)), hours("20:00", "21:00"))
    apply_cluster(store, of_brain(PolicyIn(schedule=ScheduleIn(hours=rows))))
    turned = tuple(msgspec.structs.replace(row, days=tuple(reversed(row.days))) for row in reversed(rows))
    assert changes(service, of_brain(PolicyIn(schedule=ScheduleIn(hours=turned)))) == []


def test_the_file_that_comes_back_changes_nothing(store: SqliteStore, service: ClusterService) -> None:
    schedule = ScheduleIn(time_zone="Europe/Berlin", hours=(hours(),), is_strict=True)
    wanted = msgspec.structs.replace(of_brain(PolicyIn(schedule=schedule)), policy=PolicyIn(max_lifetime=0))
    apply_cluster(store, wanted)
    found = service.get(ADMIN).cluster
    assert (found.policy, found.projects[0].policy) == (PolicyIn(max_lifetime=0), PolicyIn(schedule=schedule))
    assert changes(service, found) == []


@pytest.mark.parametrize(
    ("policy", "path", "words"),
    [
        ({"idle_stop_after": 59}, "idle_stop_after", "at least 60 seconds"),
        ({"max_lifetime": 1}, "max_lifetime", "at least 60 seconds"),
        ({"schedule": ScheduleIn(time_zone="Mars/Olympus", hours=(hours(),))}, "schedule.time_zone", "Mars/Olympus"),
        ({"schedule": ScheduleIn(hours=(hours(), hours("18:00", "20:00")))}, "schedule.hours", "overlap"),
        ({"schedule": ScheduleIn(hours=(hours(days=(MON, MON)),))}, "schedule.hours[0].days", "each day once"),
        ({"schedule": ScheduleIn(hours=(hours(None),), is_strict=True)}, "schedule.is_strict", "start_at"),
    ],
)
def test_what_is_wrong_with_a_policy_is_named_by_its_path(
    service: ClusterService, policy: dict[str, Any], path: str, words: str
) -> None:
    for where, cluster in (
        ("projects[0].policy", of_brain(PolicyIn(**policy))),
        ("policy", small_cluster(policy=PolicyIn(**policy))),
    ):
        with pytest.raises(RefusedError) as caught:
            service.plan(ADMIN, ClusterPlanIn(cluster=cluster))
        assert words in dict(caught.value.details)[f"{where}.{path}"]
