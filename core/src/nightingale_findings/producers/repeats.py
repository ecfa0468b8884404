"""Derived from whole hours of reads: one file opened far more often than the others that were read beside it.

Training opens every file of a dataset about equally often. An hour is looked at once, when the newest event is ten
minutes past its end; what comes later still is not counted here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightingale_findings.producers.derived import tell

if TYPE_CHECKING:
    import duckdb

_FEWEST = 300
_TIMES = 20

_CLOSED = """
SELECT hour FROM (SELECT DISTINCT date_trunc('hour', "at") AS hour FROM nightingale_reads) h
WHERE hour + INTERVAL 70 MINUTE <= (SELECT max("at") FROM nightingale_reads)
  AND hour > coalesce((SELECT max(hour) FROM nightingale_closed_hours), TIMESTAMP '1970-01-01')
"""

_REPEATED = f"""
WITH files AS (
    SELECT person, instance, any_value(project) AS project, dataset, date_trunc('hour', "at") AS hour, file,
           min(path) AS path, count(*) AS times
    FROM nightingale_reads r JOIN own_closed c ON date_trunc('hour', r."at") = c.hour
    WHERE person IS NOT NULL GROUP BY person, instance, dataset, date_trunc('hour', "at"), file
), compared AS (
    SELECT *, median(times) OVER (PARTITION BY person, instance, dataset, hour) AS usual FROM files
)
SELECT 'repeated_reads/' || person || '/' || coalesce(instance, '') || '/' || dataset || '/'
       || strftime(hour, '%Y-%m-%dT%H') AS event_id, hour + INTERVAL 1 HOUR AS "at", person, instance,
       any_value(project) AS project, 'repeated_reads' AS kind, dataset, arg_max(path, (times, file)) AS subject,
       max(times) AS value, any_value(usual) AS baseline, $batch AS batch
FROM compared WHERE times >= {_FEWEST} AND times >= {_TIMES} * usual
GROUP BY person, instance, dataset, hour
"""  # noqa: S608 - names and numbers of ours


def produce(connection: duckdb.DuckDBPyConnection, after: int, batch: int) -> None:
    """Tell of files that were read again and again in the hours that are over by now."""
    del after  # hours are counted by their own list
    connection.execute(f"CREATE OR REPLACE TEMP TABLE own_closed AS {_CLOSED}")
    tell(connection, _REPEATED, {"batch": batch})
    connection.execute("INSERT INTO nightingale_closed_hours SELECT hour FROM own_closed")
