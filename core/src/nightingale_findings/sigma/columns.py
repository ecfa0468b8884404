"""Which column a rule's field means, of what type: the standard columns, then the source's own."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from nightingale_findings.logsource import STANDARD, FieldType, LogSource
from nightingale_findings.sigma.refusal import Refusal

RAW = "raw"
"""The column that holds an event of a wide source whole."""


@dataclass(frozen=True)
class Column:
    """A column that a rule names."""

    name: str
    type: FieldType
    is_json: bool = False
    """The text is what was found at a path of a JSON event: one that begins with a bracket may be a list."""


def column_of(source: LogSource, field: str) -> Column:
    """Return the column that `field` means in the source. Raises Refusal, with the names that are near."""
    field = source.path_of(field)
    if field in STANDARD:
        return Column(field, FieldType.TIME if field == "at" else FieldType.TEXT)
    if source.fields is None:
        if field.lower() in (*STANDARD, RAW):
            raise Refusal(
                f"the field {field!r} has the name of one of Nightingale's own columns",
                f"the columns that every source has are {', '.join(STANDARD)}",
            )
        return Column(field, FieldType.TEXT, is_json=True)
    if field in source.fields:
        return Column(field, source.fields[field])
    known = (*STANDARD, *source.fields)
    near = difflib.get_close_matches(field, known, n=1)
    raise Refusal(
        f"{source.name} has no field {field!r}",
        f"did you mean {near[0]!r}?" if near else f"its fields are {', '.join(known)}",
    )
