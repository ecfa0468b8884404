"""Derived from when people do things: work that begins at an hour at which this person never works.

An hour is one of the project's time zone, where the caller says which (`nightingale_projects`), else of UTC. A run that
goes on is not a beginning, nor does it make the night an hour of work: what a person does counts, and where a series of
reads begins. Hours beside those of work count as hours of work.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nightingale_findings.producers.derived import tell

if TYPE_CHECKING:
    import duckdb

_LOOK_BACK = timedelta(days=28)
_FEWEST_DAYS = 5
_SELDOM = 0.05
"""An hour at which someone works on so few of their days is no hour of work."""
_HOUR = timedelta(hours=1)
_UTC = ZoneInfo("UTC")

_FRESH = """
SELECT person, date_trunc('hour', "at") AS hour, min("at") AS first_at, min("at") FILTER (is_person) AS acted_at,
       arg_min(project, "at") AS project, arg_min(instance, "at") AS instance
FROM (
    SELECT person, project, instance, "at", false AS is_person FROM nightingale_reads
    WHERE batch > $after AND batch <= $batch
    UNION ALL SELECT person, project, instance, "at", true FROM nightingale_gateway
    WHERE batch > $after AND batch <= $batch AND action = 'open' AND outcome = 'accepted'
    UNION ALL SELECT person, project, instance, "at", true FROM nightingale_jupyter
    WHERE batch > $after AND batch <= $batch
    UNION ALL SELECT person, project, instance, "at", true FROM nightingale_api
    WHERE batch > $after AND batch <= $batch AND outcome IN ('accepted', 'succeeded') AND actor = person
)
WHERE person IS NOT NULL GROUP BY ALL ORDER BY hour, person
"""


def produce(connection: duckdb.DuckDBPyConnection, after: int, batch: int) -> None:
    """Tell of work that begins at an unusual hour, of batches above `after`."""
    span: dict[str, object] = {"after": after, "batch": batch}
    zones = {name: ZoneInfo(zone) for name, zone in connection.execute("FROM nightingale_projects").fetchall()}
    known: dict[str, dict[datetime, bool]] = {}
    rows: list[tuple[object, ...]] = []
    for person, hour, first_at, acted_at, project, instance in connection.execute(_FRESH, span).fetchall():
        if person not in known:
            known[person] = _known(connection, person, hour - _LOOK_BACK)
        hours = known[person]
        was_at_work = hours.get(hour, False)
        is_beginning = hour - _HOUR not in hours
        hours[hour] = was_at_work or acted_at is not None or (is_beginning and hour not in hours)
        connection.execute("INSERT OR REPLACE INTO nightingale_hours VALUES (?, ?, ?)", [person, hour, hours[hour]])
        goes_on = hours.get(hour - _HOUR, False)
        if hours[hour] and not was_at_work and not goes_on:
            days, share = _share(hours, hour, zones.get(project, _UTC))
            if days >= _FEWEST_DAYS and share < _SELDOM:
                when = first_at if is_beginning else acted_at
                rows.append((f"unusual_hour/{person}/{hour:%Y-%m-%dT%H}", when, person, instance, project, share))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE own_hours (event_id VARCHAR, first_at TIMESTAMP, person VARCHAR, "
        "instance VARCHAR, project VARCHAR, share DOUBLE)"
    )
    if rows:
        connection.executemany("INSERT INTO own_hours VALUES (?, ?, ?, ?, ?, ?)", rows)
    tell(
        connection,
        "SELECT event_id, first_at AS \"at\", person, instance, project, 'unusual_hour' AS kind, share AS value, "
        "CAST($batch AS BIGINT) AS batch FROM own_hours",
        {"batch": batch},
    )


def _known(connection: duckdb.DuckDBPyConnection, person: str, since: datetime) -> dict[datetime, bool]:
    rows = connection.execute(
        "SELECT hour, is_at_work FROM nightingale_hours WHERE person = ? AND hour >= ?", [person, since]
    )
    return dict(rows.fetchall())


def _share(hours: dict[datetime, bool], hour: datetime, zone: ZoneInfo) -> tuple[int, float]:
    """Return on how many days the person worked before this one, and on which share of them about this hour."""
    here = _local(hour, zone)
    days: set[date] = set()
    about: set[date] = set()
    for other, is_at_work in hours.items():
        there = _local(other, zone)
        if not is_at_work or there.date() >= here.date() or hour - other > _LOOK_BACK:
            continue
        days.add(there.date())
        if min((there.hour - here.hour) % 24, (here.hour - there.hour) % 24) <= 1:
            about.add(there.date())
    return len(days), len(about) / len(days) if days else 0.0


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    return at.replace(tzinfo=_UTC).astimezone(zone)
