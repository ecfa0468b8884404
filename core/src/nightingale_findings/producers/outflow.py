"""Derived from what the gateway carried out: a week far above what the project's others take, however slowly.

One's own days are no measure: who takes a little more each week would raise it. A week of which one day holds more
than half is no drip: rules over hours and days tell of that day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightingale_findings.producers.derived import tell

if TYPE_CHECKING:
    import duckdb

_FLOOR_BYTES = 2 << 30
_TIMES = 5
_WEEK = 7
_LOOK_BACK = 28

_KEEP = """
INSERT INTO nightingale_out_days
SELECT person, coalesce(project, ''), CAST("at" AS DATE), sum(bytes_out) FROM nightingale_gateway
WHERE batch > $after AND batch <= $batch AND person IS NOT NULL AND bytes_out > 0 GROUP BY ALL
ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes
"""

_WEEKLY = f"""
WITH fresh AS (
    SELECT person, coalesce(project, '') AS project, CAST("at" AS DATE) AS day, sum(bytes_out) AS came
    FROM nightingale_gateway
    WHERE batch > $after AND batch <= $batch AND person IS NOT NULL AND bytes_out > 0 GROUP BY ALL
), others AS (
    SELECT f.person, f.project, f.day, median(d.bytes) AS usual
    FROM fresh f JOIN nightingale_out_days d ON d.project = f.project AND d.person != f.person
         AND d.day < f.day AND d.day >= f.day - {_LOOK_BACK}
    GROUP BY ALL
), week AS (
    SELECT f.person, f.project, f.day, f.came, sum(d.bytes) AS bytes,
           coalesce(sum(d.bytes) FILTER (d.day < f.day), 0) AS earlier,
           coalesce(max(d.bytes) FILTER (d.day < f.day), 0) AS largest, greatest({_FLOOR_BYTES},
           {_TIMES * _WEEK} * coalesce(any_value(e.usual), 0)) AS most, any_value(e.usual) * {_WEEK} AS usual
    FROM fresh f JOIN nightingale_out_days d ON d.person = f.person AND d.project = f.project
         AND d.day <= f.day AND d.day > f.day - {_WEEK}
    LEFT JOIN others e ON e.person = f.person AND e.project = f.project AND e.day = f.day
    GROUP BY ALL
), running AS (
    SELECT g.event_id, g."at", g.person, g.instance, g.project, w.day, w.most, w.usual, w.earlier, w.largest,
           w.bytes - w.came
           + sum(g.bytes_out) OVER (PARTITION BY w.person, w.project, w.day ORDER BY g."at", g.event_id) AS so_far
    FROM week w JOIN nightingale_gateway g ON g.person = w.person AND coalesce(g.project, '') = w.project
         AND CAST(g."at" AS DATE) = w.day AND g.batch > $after AND g.batch <= $batch AND g.bytes_out > 0
    WHERE w.bytes > w.most
)
SELECT 'outflow_week/' || person || '/' || coalesce(project, '') || '/' || day AS event_id, min("at") AS "at", person,
       arg_min(instance, ("at", event_id)) AS instance, project, 'outflow_week' AS kind, any_value(most) AS value,
       any_value(usual) AS baseline, $batch AS batch
FROM running WHERE so_far > most AND 2 * greatest(largest, so_far - earlier) <= so_far GROUP BY person, project, day
"""  # noqa: S608 - names and numbers of ours


def produce(connection: duckdb.DuckDBPyConnection, after: int, batch: int) -> None:
    """Tell of people who took out more in seven days than the bound, of batches above `after`."""
    span: dict[str, object] = {"after": after, "batch": batch}
    connection.execute(_KEEP, span)
    tell(connection, _WEEKLY, span)
