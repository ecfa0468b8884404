"""Rules to measure with, and for each the query that somebody would write by hand for the same answer."""

from __future__ import annotations

from dataclasses import dataclass

from nightingale_findings.logsource import FieldType, LogSource

READS = LogSource(
    name="reads",
    product="nightingale",
    service="reads",
    table="nightingale_reads",
    fields={
        "dataset": FieldType.TEXT,
        "path": FieldType.TEXT,
        "folder": FieldType.TEXT,
        "bytes": FieldType.WHOLE,
        "tier": FieldType.WHOLE,
        "is_honeypot": FieldType.FLAG,
        "program": FieldType.TEXT,
    },
)
TRAIL = LogSource(name="trail", product="aws", service="cloudtrail", table="trail", fields=None)

_HEAD = """
title: {name}
id: 6f9d{place:04}-0000-4000-8000-000000000000
name: {name}
status: test
level: high
"""
_READS = "logsource: {product: nightingale, service: reads}\n"
_EVERY = _HEAD.format(name="every_read", place=0) + _READS + "detection: {s: {tier|gte: 0}, condition: s}\n"

MOST_BYTES, MOST_FILES, DECOYS = (
    5_000_000_000,
    200,
    ("images/case1234/slice12345.dcm", "images/case1999/slice19990.dcm"),
)


def correlated(name: str, place: int, kind: str, span: str, condition: str) -> str:
    """Return a correlation over every read, by person."""
    return (
        _EVERY
        + "---"
        + _HEAD.format(name=name, place=place)
        + (
            f"correlation: {{type: {kind}, rules: [every_read], group-by: [person], timespan: {span}, "
            f"condition: {condition}}}\n"
        )
    )


SUM = correlated("bytes_in_an_hour", 1, "value_sum", "1h", f"{{gt: {MOST_BYTES}, field: bytes}}")
DISTINCT = correlated("files_in_five_minutes", 2, "value_count", "5m", f"{{gte: {MOST_FILES}, field: path}}")
HONEYPOT = (
    _HEAD.format(name="decoy", place=3)
    + _READS
    + (f"detection: {{s: {{path: [{', '.join(DECOYS)}]}}, condition: s}}\n")
)


def _by_hand(value: str, condition: str, span: str, size: int, nears: str) -> str:
    """Return the exact query, with its prefilter: events of windows that fire, as episodes with their ids."""
    return f"""
        WITH {nears},
        near AS (
            SELECT event_id, "at", person, path, bytes FROM nightingale_reads AS r
            SEMI JOIN candidates AS c ON r.person = c.person AND epoch_us(r."at") // {size} = c.bucket
        ),
        valued AS (
            SELECT *, {value} OVER (PARTITION BY person ORDER BY "at" RANGE BETWEEN INTERVAL {span} PRECEDING
                AND CURRENT ROW) AS value FROM near
        ),
        hit AS (
            SELECT *, bool_or({condition}) OVER (PARTITION BY person ORDER BY "at" RANGE BETWEEN CURRENT ROW
                AND INTERVAL {span} FOLLOWING) AS is_hit FROM valued
        ),
        stepped AS (
            SELECT *, "at" - lag("at") OVER (PARTITION BY person ORDER BY "at", event_id) > INTERVAL 1 HOUR AS is_new
            FROM hit WHERE is_hit
        ),
        episodes AS (
            SELECT *, count(*) FILTER (is_new) OVER (PARTITION BY person ORDER BY "at", event_id
                ROWS UNBOUNDED PRECEDING) AS episode FROM stepped
        )
        SELECT person, min("at"), max("at"), count(*), max(value) FILTER ({condition}),
            list(event_id ORDER BY "at", event_id)[:200]
        FROM episodes GROUP BY person, episode ORDER BY person, episode
    """  # noqa: S608 - written here


def _candidates(together: str, size: int, condition: str, source: str = "nightingale_reads") -> str:
    return f"""
        (SELECT person, bucket FROM (
            SELECT person, bucket, bool_or({condition}) OVER (PARTITION BY person ORDER BY bucket
                RANGE BETWEEN CURRENT ROW AND 1 FOLLOWING) AS is_near
            FROM (SELECT *, sum(each) OVER (PARTITION BY person ORDER BY bucket RANGE BETWEEN 1 PRECEDING
                AND CURRENT ROW) AS bound
                FROM (SELECT person, epoch_us("at") // {size} AS bucket, {together} AS each FROM {source}
                    GROUP BY ALL)))
        WHERE is_near)
    """  # noqa: S608 - written here


_HOUR, _FIVE = 3_600_000_000, 300_000_000

SUM_BY_HAND = _by_hand(
    "sum(bytes)",
    f"value > {MOST_BYTES}",
    "1 HOUR",
    _HOUR,
    f"candidates AS MATERIALIZED {_candidates('sum(bytes)', _HOUR, f'bound > {MOST_BYTES}')}",
)
DISTINCT_BY_HAND = _by_hand(
    "count(DISTINCT path)",
    f"value >= {MOST_FILES}",
    "5 MINUTE",
    _FIVE,
    f"candidates AS MATERIALIZED {_candidates('count(*)', _FIVE, f'bound >= {MOST_FILES}')}",
)
HONEYPOT_BY_HAND = f"""
    WITH hit AS (
        SELECT event_id, "at", person, instance, project FROM nightingale_reads
        WHERE lower(path) IN ({", ".join(f"'{path}'" for path in DECOYS)})
    ),
    stepped AS (
        SELECT *, "at" - lag("at") OVER (PARTITION BY person, instance, project ORDER BY "at", event_id)
            > INTERVAL 1 HOUR AS is_new FROM hit
    ),
    episodes AS (
        SELECT *, count(*) FILTER (is_new) OVER (PARTITION BY person, instance, project ORDER BY "at", event_id
            ROWS UNBOUNDED PRECEDING) AS episode FROM stepped
    )
    SELECT person, min("at"), max("at"), count(*), NULL, list(event_id ORDER BY "at", event_id)[:200]
    FROM episodes GROUP BY person, instance, project, episode ORDER BY person
"""  # noqa: S608 - written here


@dataclass(frozen=True)
class TrailRule:
    """One rule over CloudTrail: fields and what they equal, contain, or must not be."""

    name: str
    equals: dict[str, tuple[str, ...]]
    contains: dict[str, str]
    unless: dict[str, str]

    @property
    def fields(self) -> tuple[str, ...]:
        """Return every field it names."""
        return (*self.equals, *self.contains, *self.unless)

    def yaml(self, place: int) -> str:
        """Return it in Sigma's format."""
        found = [f"{field}: [{', '.join(values)}]" for field, values in self.equals.items()]
        found += [f"'{field}|contains': '{value}'" for field, value in self.contains.items()]
        filtered = ", ".join(f"{field}: '{value}'" for field, value in self.unless.items())
        text = _HEAD.format(name=self.name, place=place) + "logsource: {product: aws, service: cloudtrail}\n"
        if not filtered:
            return text + f"detection: {{s: {{{', '.join(found)}}}, condition: s}}\n"
        return text + f"detection: {{s: {{{', '.join(found)}}}, f: {{{filtered}}}, condition: s and not f}}\n"

    def by_hand(self) -> str:
        """Return the condition that somebody writes who knows how the events spell things."""
        parts = [
            f'"{field}" IN ({", ".join(_text(value) for value in values)})' for field, values in self.equals.items()
        ]
        parts += [f'contains("{field}", {_text(value)})' for field, value in self.contains.items()]
        parts += [f'"{field}" IS DISTINCT FROM {_text(value)}' for field, value in self.unless.items()]
        return " AND ".join(parts)


def _text(value: str) -> str:
    return f"'{value}'"


def trail_rules(count: int = 57) -> list[TrailRule]:
    """Return rules of the shapes that rules over CloudTrail have: a service and a call, some with a look inside."""
    services = ("iam", "s3", "ec2", "sts", "kms", "secretsmanager")
    inside = (
        "requestParameters.bucketName",
        "requestParameters.key",
        "requestParameters.Host",
        "userAgent",
    )
    outside = ("userIdentity.type", "errorCode", "userIdentity.sessionContext.attributes.mfaAuthenticated")
    rules = []
    for place in range(count):
        names = tuple(f"Operation{(place + more) % 60}" for more in range(1 + place % 3))
        rules.append(
            TrailRule(
                name=f"rule_{place:02}",
                equals={"eventSource": (f"{services[place % 6]}.amazonaws.com",), "eventName": names},
                contains={inside[place % 4]: "bu" if place % 4 == 0 else "a"} if place % 3 == 0 else {},
                unless={outside[place % 3]: ("Root", "AccessDenied", "true")[place % 3]} if place % 5 == 0 else {},
            )
        )
    return rules
