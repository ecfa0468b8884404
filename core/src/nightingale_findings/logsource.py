"""What a source of events looks like to rules and to SQL: a table's name, and the type of each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

STANDARD = ("event_id", "at", "person", "instance", "project")
"""Columns that every source's table begins with: what names the event, when it was (UTC), and whom it is about.

`event_id` is never null and names one event for good; `at` is a TIMESTAMP in UTC, null for none: such an event is set
aside before it gets here. The others are null where the source does not say.
"""


class FieldType(StrEnum):
    """How a field is kept in its column."""

    TEXT = "VARCHAR"
    WHOLE = "BIGINT"
    NUMBER = "DOUBLE"
    FLAG = "BOOLEAN"
    TEXTS = "VARCHAR[]"
    TIME = "TIMESTAMP"


@dataclass(frozen=True)
class LogSource:
    """One source, as Sigma names it and as its table is laid out.

    A wide source (`fields` is None) has, besides the standard columns, the event's own JSON in `raw`; each path that a
    rule names (`userIdentity.type`) becomes a column of that name, as text (VARCHAR, a list or object as its JSON).
    """

    name: str
    """`reads`, `cloudtrail`: also what a person types."""
    product: str
    service: str | None
    table: str
    """The table or view in DuckDB."""
    fields: Mapping[str, FieldType] | None = field(default_factory=dict)
    category: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names that rules written elsewhere use, to the field meant here: `gcp.audit.method_name` to
    `protoPayload.methodName`. A name stands for what lies below it too: `gcp.audit.request` to `protoPayload.request`
    also turns `gcp.audit.request.direction`; the longest one wins.
    """

    def path_of(self, field: str) -> str:
        """Return the field of this source that a rule means by `field`."""
        whole = field
        while True:
            if whole in self.aliases:
                return self.aliases[whole] + field[len(whole) :]
            whole, dot, _ = whole.rpartition(".")
            if not dot:
                return field

    @property
    def columns(self) -> dict[str, FieldType]:
        """Return every column of its table: the standard ones, then its fields, or `raw` of a wide source."""
        own = {"raw": FieldType.TEXT} if self.fields is None else self.fields
        return dict.fromkeys(STANDARD, FieldType.TEXT) | {"at": FieldType.TIME} | dict(own)

    @property
    def is_wide(self) -> bool:
        """Whether rules may name any path of the event."""
        return self.fields is None
