"""From staged audit records to the rows of our own tables, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

DETAILS = (
    "project", "tier", "owner", "dataset", "version", "path", "sha256", "size", "bytes", "exactness", "is_inherited",
    "program", "target", "client", "key", "fingerprint", "why", "what", "sent", "received", "seconds", "reason",
    "operation", "tag", "through", "door", "note", "decoy",
)  # fmt: skip
"""Names in a record's `detail` that some field is made of."""

STAGED = (
    'CREATE OR REPLACE TEMP TABLE own_staged (stream VARCHAR, seq BIGINT, "at" TIMESTAMP, tag VARCHAR, actor VARCHAR, '
    "subject VARCHAR, detail STRUCT(" + ", ".join(f'"{name}" VARCHAR' for name in DETAILS) + "))"
)

_WHO = r"nullif(regexp_replace(actor, ' \(from [^()]*\)$', ''), '')"
_NOBODY = "('unknown', 'platform', 'gateway', 'index', '')"
_OF_INSTANCE = r"'i-[a-z0-9]{10}'"
_DECOY = (
    "(coalesce(detail.key, detail.fingerprint) IN (SELECT key FROM nightingale_decoy_keys) OR detail.decoy = 'true')"
)

_INSTANCES = """
INSERT INTO nightingale_instances
SELECT subject, arg_max(detail.project, seq), arg_max(actor, seq) FILTER (tag = 'instance:launch:accepted'),
       try_cast(arg_max(detail.tier, seq) AS BIGINT)
FROM own_staged
WHERE tag LIKE 'instance:%:accepted' AND subject = stream AND detail.project IS NOT NULL
GROUP BY subject
ON CONFLICT (instance) DO UPDATE SET project = excluded.project, owner = coalesce(excluded.owner, owner),
       tier = coalesce(excluded.tier, tier)
"""

_READS = """
INSERT INTO nightingale_reads BY NAME
SELECT s.stream || '/' || s.seq AS event_id, s."at", s.actor AS person, s.subject AS instance,
       coalesce(s.detail.project, i.project) AS project,
       s.detail.dataset, s.detail.version, s.detail.path,
       left(s.detail.path, greatest(0, length(s.detail.path) - length(split_part(s.detail.path, '/', -1)) - 1))
           AS folder,
       coalesce(s.detail.sha256, s.detail.dataset || '/' || s.detail.path) AS file,
       coalesce(try_cast(s.detail.bytes AS BIGINT), 0) AS bytes, coalesce(try_cast(s.detail.size AS BIGINT), 0) AS size,
       coalesce(starts_with(s.detail.exactness, 'whole file')
                OR try_cast(s.detail.bytes AS BIGINT) >= try_cast(s.detail.size AS BIGINT), false) AS is_whole_file,
       s.detail.sha256, s.detail.program, split_part(s.detail.program, '/', -1) AS program_name,
       coalesce(s.detail.is_inherited = 'true', false) AS is_inherited, i.tier,
       EXISTS (SELECT 1 FROM nightingale_honeypots h WHERE h.dataset = s.detail.dataset AND h.path = s.detail.path)
       OR EXISTS (SELECT 1 FROM nightingale_honeypots h
                  WHERE h.dataset = s.detail.dataset AND starts_with(s.detail.path, h.path || '/')) AS is_honeypot,
       $batch AS batch
FROM own_staged s LEFT JOIN nightingale_instances i ON i.instance = s.subject
WHERE s.tag = 'dataset:read:recorded'
"""

_GATEWAY = f"""
INSERT INTO nightingale_gateway BY NAME
WITH facts AS (
    SELECT *, regexp_extract(tag, '^channel:([a-z]+):([a-z]+)$', ['verb', 'outcome']) AS said,
           regexp_full_match(subject, 'c-[a-z0-9]+') AS is_channel,
           try_cast(detail.sent AS BIGINT) AS total_in, try_cast(detail.received AS BIGINT) AS total_out
    FROM own_staged WHERE tag LIKE 'channel:%'
), counted AS (
    SELECT *, greatest(0, max(total_in) OVER before) AS in_before, greatest(0, max(total_out) OVER before) AS out_before
    FROM facts
    WINDOW before AS (PARTITION BY subject ORDER BY stream, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT f.stream || '/' || f.seq AS event_id, f."at", CASE WHEN f.actor NOT IN {_NOBODY} THEN f.actor END AS person,
       CASE WHEN regexp_full_match(f.stream, {_OF_INSTANCE}) THEN f.stream END AS instance, i.project,
       CASE WHEN f.said.verb = 'open' AND f.said.outcome = 'refused' THEN 'refuse'
            WHEN f.said.verb = 'renew' THEN 'revoke' ELSE f.said.verb END AS action,
       f.said.outcome AS outcome, CASE WHEN f.is_channel THEN f.subject END AS channel,
       greatest(0, coalesce(f.total_in, 0) - greatest(coalesce(f.in_before, 0), coalesce(k.bytes_in, 0))) AS bytes_in,
       greatest(0, coalesce(f.total_out, 0) - greatest(coalesce(f.out_before, 0), coalesce(k.bytes_out, 0)))
           AS bytes_out,
       f.total_in, f.total_out, try_cast(f.detail.seconds AS BIGINT) AS seconds, f.detail.client,
       coalesce(f.detail.key, f.detail.fingerprint) AS key,
       coalesce(f.detail.target, CASE WHEN NOT f.is_channel THEN f.subject END) AS target,
       coalesce(f.detail.why, f.detail.what) AS reason, coalesce({_DECOY}, false) AS is_decoy_key, $batch AS batch
FROM counted f LEFT JOIN nightingale_instances i ON i.instance = f.stream
LEFT JOIN nightingale_channels k ON k.channel = f.subject
"""  # noqa: S608 - names and numbers of ours

_CHANNELS = """
INSERT INTO nightingale_channels
SELECT subject, max(try_cast(detail.sent AS BIGINT)), max(try_cast(detail.received AS BIGINT)) FROM own_staged
WHERE tag LIKE 'channel:%' AND regexp_full_match(subject, 'c-[a-z0-9]+') AND detail.received IS NOT NULL
GROUP BY subject
ON CONFLICT (channel) DO UPDATE SET bytes_in = greatest(bytes_in, excluded.bytes_in),
       bytes_out = greatest(bytes_out, excluded.bytes_out)
"""

_JUPYTER = f"""
INSERT INTO nightingale_jupyter BY NAME
SELECT s.stream || '/' || s.seq AS event_id, s."at", {_WHO.replace("actor", "s.actor")} AS person,
       s.stream AS instance, i.project,
       CASE WHEN s.tag = 'jupyter:open:accepted' THEN 'open' ELSE split_part(s.tag, ':', 2) END AS action,
       CASE WHEN s.tag = 'jupyter:open:accepted' THEN 'allowed' ELSE split_part(s.tag, ':', 3) END AS outcome,
       s.detail.path, split_part(s.detail.path, '/', -1) AS file_name,
       coalesce(try_cast(s.detail.bytes AS BIGINT), 0) AS bytes, s.detail.reason, i.tier, $batch AS batch
FROM own_staged s LEFT JOIN nightingale_instances i ON i.instance = s.stream
WHERE s.tag LIKE 'contents:%' OR s.tag = 'jupyter:open:accepted'
"""  # noqa: S608 - names and numbers of ours

_API = f"""
INSERT INTO nightingale_api BY NAME
WITH facts AS (
    SELECT *, {_WHO} AS who, CASE WHEN regexp_full_match(subject, {_OF_INSTANCE}) THEN subject
        WHEN regexp_full_match(stream, {_OF_INSTANCE}) THEN stream
        WHEN regexp_full_match(actor, {_OF_INSTANCE}) THEN actor END AS of
    FROM own_staged
    WHERE tag != 'dataset:read:recorded' AND tag != 'jupyter:open:accepted'
      AND NOT starts_with(tag, 'channel:') AND NOT starts_with(tag, 'contents:')
)
SELECT f.stream || '/' || f.seq AS event_id, f."at",
       CASE WHEN regexp_full_match(f.who, {_OF_INSTANCE}) THEN coalesce(f.detail.owner, i.owner)
            WHEN f.who NOT IN {_NOBODY} THEN f.who END AS person,
       f.of AS instance, coalesce(nullif(f.detail.project, ''), i.project) AS project,
       coalesce(f.detail.operation, split_part(f.tag, ':', 2) || '_' || split_part(f.tag, ':', 1)) AS operation,
       split_part(f.tag, ':', 3) AS outcome, f.actor, f.subject, f.tag,
       coalesce(f.detail.why, f.detail.reason, f.detail.note) AS reason, f.detail.client,
       coalesce(f.detail.fingerprint, f.detail.key) AS key, coalesce(f.detail.door, f.detail.through) AS door,
       coalesce({_DECOY}, false) AS is_decoy_key, $batch AS batch
FROM facts f LEFT JOIN nightingale_instances i ON i.instance = f.of
"""  # noqa: S608 - names and numbers of ours


def insert_rows(connection: duckdb.DuckDBPyConnection, batch: int) -> None:
    """Bring what is staged into the tables, once; who an instance belongs to is learned first."""
    others = connection.execute("SELECT count(*) FROM own_staged WHERE tag != 'dataset:read:recorded'").fetchone()
    if others and others[0]:  # most blocks hold reads and nothing else
        connection.execute(_INSTANCES)
        for insert in (_GATEWAY, _JUPYTER, _API):
            connection.execute(insert, {"batch": batch})
        connection.execute(_CHANNELS)
    connection.execute(_READS, {"batch": batch})
