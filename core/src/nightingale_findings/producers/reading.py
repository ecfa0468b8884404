"""Derived from reads: a dataset's first use by a person, a day far above what is usual, reads without a grant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightingale_findings.producers.derived import tell

if TYPE_CHECKING:
    import duckdb

_BULK_FILES = 1000
_FLOOR_BYTES = 20 << 30
_TIMES = 3
_DEVIATIONS = 6 * 1.4826
"""Median absolute deviations, as standard deviations of what is normally distributed (times 1.4826)."""
_DAYS = 14
_FEWEST_DAYS = 5
"""Days with reads that a baseline needs; a person who has fewer is measured against the project's people."""

_FIRST_USE = """
SELECT 'first_use/' || person || '/' || dataset AS event_id, min("at") AS "at", person,
       arg_min(instance, ("at", event_id)) AS instance, arg_min(project, ("at", event_id)) AS project,
       'first_use' AS kind, dataset, arg_min(path, ("at", event_id)) AS subject, $batch AS batch
FROM nightingale_reads r
WHERE batch > $after AND batch <= $batch AND person IS NOT NULL AND dataset IS NOT NULL AND NOT EXISTS
      (SELECT 1 FROM nightingale_first_uses k WHERE k.person = r.person AND k.dataset = r.dataset)
GROUP BY person, dataset
"""

_KEEP_FIRST_USE = """
INSERT OR IGNORE INTO nightingale_first_uses SELECT person, dataset, min("at") FROM nightingale_reads
WHERE batch > $after AND batch <= $batch AND person IS NOT NULL AND dataset IS NOT NULL GROUP BY person, dataset
"""

_BULK = f"""
WITH first AS (
    SELECT person, dataset, at_ FROM nightingale_first_uses k WHERE at_ + INTERVAL 30 MINUTE >= (
        SELECT min("at") FROM nightingale_reads WHERE batch > $after AND batch <= $batch)
), files AS (
    SELECT r.person, r.dataset, r.file, min(r."at") AS "at", arg_min(r.instance, r."at") AS instance,
           arg_min(r.project, r."at") AS project
    FROM nightingale_reads r JOIN first f ON f.person = r.person AND f.dataset = r.dataset
         AND r."at" >= f.at_ AND r."at" <= f.at_ + INTERVAL 30 MINUTE
    WHERE r.batch <= $batch GROUP BY r.person, r.dataset, r.file
), counted AS (
    SELECT *, row_number() OVER (PARTITION BY person, dataset ORDER BY "at", file) AS number FROM files
)
SELECT 'bulk_first_use/' || person || '/' || dataset AS event_id, "at", person, instance, project,
       'bulk_first_use' AS kind, dataset, CAST({_BULK_FILES} AS DOUBLE) AS value, $batch AS batch
FROM counted WHERE number = {_BULK_FILES}
"""  # noqa: S608 - names and numbers of ours

_KEEP_DAYS = """
INSERT INTO nightingale_read_days
SELECT person, coalesce(project, ''), CAST("at" AS DATE), sum(bytes) FROM nightingale_reads
WHERE batch > $after AND batch <= $batch AND person IS NOT NULL GROUP BY ALL
ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes
"""

_BASELINE = f"""
WITH fresh AS (
    SELECT person, coalesce(project, '') AS project, CAST("at" AS DATE) AS day, sum(bytes) AS came
    FROM nightingale_reads WHERE batch > $after AND batch <= $batch AND person IS NOT NULL GROUP BY ALL
), own AS (
    SELECT f.person, f.project, f.day, count(*) AS days, median(d.bytes) AS usual, mad(d.bytes) AS spread
    FROM fresh f JOIN nightingale_read_days d ON d.person = f.person AND d.project = f.project
         AND d.day < f.day AND d.day >= f.day - {_DAYS}
    GROUP BY ALL
), everyone AS (
    SELECT f.project, f.day, count(*) AS days, median(d.bytes) AS usual, mad(d.bytes) AS spread
    FROM (SELECT DISTINCT project, day FROM fresh) f JOIN nightingale_read_days d ON d.project = f.project
         AND d.day < f.day AND d.day >= f.day - {_DAYS}
    GROUP BY ALL
), usual AS (
    SELECT f.*, t.bytes - f.came AS before, t.bytes,
           CASE WHEN o.days >= {_FEWEST_DAYS} THEN o.usual WHEN e.days >= {_FEWEST_DAYS} THEN e.usual END AS usual,
           CASE WHEN o.days >= {_FEWEST_DAYS} THEN o.spread WHEN e.days >= {_FEWEST_DAYS} THEN e.spread END AS spread
    FROM fresh f JOIN nightingale_read_days t ON t.person = f.person AND t.project = f.project AND t.day = f.day
    LEFT JOIN own o ON o.person = f.person AND o.project = f.project AND o.day = f.day
    LEFT JOIN everyone e ON e.project = f.project AND e.day = f.day
), bound AS (
    SELECT *, greatest({_FLOOR_BYTES}, usual + {_DEVIATIONS} * spread, {_TIMES} * usual) AS most
    FROM usual WHERE usual IS NOT NULL
), running AS (
    SELECT r.event_id, r."at", r.person, r.instance, r.project, r.dataset, b.day, b.usual, b.most,
           b.before + sum(r.bytes) OVER (PARTITION BY b.person, b.project, b.day ORDER BY r."at", r.event_id) AS so_far
    FROM bound b JOIN nightingale_reads r ON r.person = b.person AND coalesce(r.project, '') = b.project
         AND CAST(r."at" AS DATE) = b.day AND r.batch > $after AND r.batch <= $batch
    WHERE b.bytes > b.most
)
SELECT 'read_volume/' || person || '/' || coalesce(project, '') || '/' || day AS event_id, min("at") AS "at", person,
       arg_min(instance, ("at", event_id)) AS instance, project, 'read_volume' AS kind,
       arg_min(dataset, ("at", event_id)) AS dataset, any_value(most) AS value, any_value(usual) AS baseline,
       $batch AS batch
FROM running WHERE so_far > most GROUP BY person, project, day
"""  # noqa: S608 - names and numbers of ours

_UNGRANTED = """
WITH fresh AS (
    SELECT * FROM nightingale_reads r WHERE batch > $after AND batch <= $batch AND person IS NOT NULL
    AND EXISTS (SELECT 1 FROM nightingale_grants g WHERE g.project = r.project)
    AND NOT EXISTS (SELECT 1 FROM nightingale_grants g WHERE g.project = r.project AND g.dataset = r.dataset
        AND r."at" >= g.since AND (g.until IS NULL OR r."at" < g.until + INTERVAL 5 MINUTE))
)
SELECT 'grant_ended/' || person || '/' || instance || '/' || dataset || '/' || CAST("at" AS DATE) AS event_id,
       min("at") AS "at", person, instance, arg_min(project, ("at", event_id)) AS project, 'grant_ended' AS kind,
       dataset, arg_min(path, ("at", event_id)) AS subject, $batch AS batch
FROM fresh GROUP BY person, instance, dataset, CAST("at" AS DATE)
"""


def produce(connection: duckdb.DuckDBPyConnection, after: int, batch: int) -> None:
    """Tell of first uses, days above the baseline, and reads without a grant, of batches above `after`."""
    span: dict[str, object] = {"after": after, "batch": batch}
    tell(connection, _FIRST_USE, span)
    connection.execute(_KEEP_FIRST_USE, span)
    tell(connection, _BULK, span)
    connection.execute(_KEEP_DAYS, span)
    tell(connection, _BASELINE, span)
    tell(connection, _UNGRANTED, span)
