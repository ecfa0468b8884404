"""Platforms under policies, over days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from doubles.clocks import FixedClock
from doubles.platforms import FakePlatform, team_cluster
from nightingale.contract.schemas import ClusterIn, HoursIn, PolicyIn, ScheduleIn
from nightingale.contract.vocabulary import Weekday

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = tuple(Weekday)


def with_policy(policy: PolicyIn | None, **changes: Any) -> ClusterIn:
    """Return the team's cluster with this policy for `brain`."""
    cluster = team_cluster(**changes)
    brain, *others = cluster.projects
    return msgspec.structs.replace(cluster, projects=(msgspec.structs.replace(brain, policy=policy), *others))


def day_hours(*, is_strict: bool = False) -> PolicyIn:
    """Return the policy of being up from seven to seven in Berlin, which is UTC+1 in November."""
    row = HoursIn(days=WEEK[:5], start_at="07:00", stop_at="19:00")
    return PolicyIn(schedule=ScheduleIn(time_zone="Europe/Berlin", hours=(row,), is_strict=is_strict))


class DaysPlatform(FakePlatform):
    """A platform whose people log in again when their token may have expired."""

    logged_in_at: datetime | None = None

    def token(self, who: str) -> str:
        now = self.clock.now()
        if self.logged_in_at is None or now - self.logged_in_at >= HOUR:
            self._tokens.clear()
            self.logged_in_at = now
        return super().token(who)


def platform_with(policy: PolicyIn | None, hour: float = 9) -> FakePlatform:
    """Return a platform on a Monday at this hour, UTC."""
    return DaysPlatform(cluster=with_policy(policy), clock=FixedClock(MONDAY + hour * HOUR))
