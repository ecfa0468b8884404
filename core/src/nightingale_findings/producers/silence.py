"""Derived from what is missing: an instance is at work, and its observer has not said that it watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightingale_findings.producers.derived import tell

if TYPE_CHECKING:
    import duckdb

_WATCHED_FROM = 1
"""The tier from which there must be an observer."""

_KEEP_STARTS = """
INSERT OR IGNORE INTO nightingale_starts
SELECT a.instance, a."at", any_value(i.tier) FROM nightingale_api a JOIN nightingale_instances i USING (instance)
WHERE a.batch > $after AND a.batch <= $batch AND a.tag IN ('instance:launch:accepted', 'instance:start:accepted',
      'instance:retry:accepted', 'instance:resize:accepted')
GROUP BY a.instance, a."at"
"""

_KEEP_SIGNS = """
INSERT INTO nightingale_signs
SELECT instance, date_trunc('hour', "at"), min("at") FROM (
    SELECT instance, "at" FROM nightingale_api
    WHERE batch > $after AND batch <= $batch AND starts_with(tag, 'observer:')
    UNION ALL SELECT instance, "at" FROM nightingale_reads WHERE batch > $after AND batch <= $batch
) WHERE instance IS NOT NULL GROUP BY ALL
ON CONFLICT DO UPDATE SET at_ = least(at_, excluded.at_)
"""

_SILENT = f"""
WITH busy AS (
    SELECT instance, person, project, "at", event_id FROM nightingale_gateway
    WHERE batch > $after AND batch <= $batch AND (outcome = 'accepted' OR bytes_out > 0)
    UNION ALL SELECT instance, person, project, "at", event_id FROM nightingale_jupyter
    WHERE batch > $after AND batch <= $batch
    UNION ALL SELECT instance, person, project, "at", event_id FROM nightingale_api
    WHERE batch > $after AND batch <= $batch AND tag = 'job:begin:accepted'
), since AS (
    SELECT b.*, s.at_ AS started FROM busy b ASOF JOIN nightingale_starts s
    ON b.instance = s.instance AND b."at" >= s.at_
    WHERE s.tier >= {_WATCHED_FROM} AND b."at" >= s.at_ + INTERVAL 10 MINUTE
), silent AS (
    SELECT * FROM since x WHERE NOT EXISTS (SELECT 1 FROM nightingale_signs n
        WHERE n.instance = x.instance AND n.at_ <= x."at"
        AND (n.at_ >= x.started OR n.hour = date_trunc('hour', x.started)))
)
SELECT 'observer_silent/' || instance || '/' || started AS event_id, min("at") AS "at",
       arg_min(person, ("at", event_id)) AS person, instance, arg_min(project, ("at", event_id)) AS project,
       'observer_silent' AS kind, instance AS subject, date_diff('second', started, min("at")) AS value,
       $batch AS batch
FROM silent GROUP BY instance, started
"""  # noqa: S608 - names and numbers of ours


def produce(connection: duckdb.DuckDBPyConnection, after: int, batch: int) -> None:
    """Tell of instances that are busy ten minutes after a start of which no observer spoke."""
    span: dict[str, object] = {"after": after, "batch": batch}
    connection.execute(_KEEP_STARTS, span)
    connection.execute(_KEEP_SIGNS, span)
    tell(connection, _SILENT, span)
