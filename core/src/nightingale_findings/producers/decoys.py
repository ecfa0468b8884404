"""Derived from a cloud's log: an access key that lies in a dataset as a decoy was used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightingale_findings.producers.derived import tell

if TYPE_CHECKING:
    import duckdb

_TABLE = "cloudtrail"

_USED = f"""
SELECT 'decoy_key_used/' || k.key || '/' || date_trunc('hour', c."at") AS event_id, min(c."at") AS "at",
       arg_min(c.person, c."at") AS person, 'decoy_key_used' AS kind, k.key AS subject,
       arg_min(json_extract_string(c.raw, '$.eventName'), c."at") AS note, CAST($batch AS BIGINT) AS batch
FROM {_TABLE} c JOIN nightingale_decoy_keys k ON contains(c.raw, k.key)
WHERE json_extract_string(c.raw, '$.userIdentity.accessKeyId') = k.key
GROUP BY k.key, date_trunc('hour', c."at")
"""  # noqa: S608 - a name of ours


def produce(connection: duckdb.DuckDBPyConnection, batch: int) -> None:
    """Tell of decoy keys in CloudTrail's table, where there is one; each hour of each key once."""
    known = connection.execute("SELECT count(*) FROM nightingale_decoy_keys WHERE key SIMILAR TO 'A.IA.*'").fetchone()
    tables = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [_TABLE]).fetchone()
    if known and known[0] and tables and tables[0]:
        tell(connection, _USED, {"batch": batch})
