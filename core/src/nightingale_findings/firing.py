"""What a scan answers: one firing for each episode of a rule in one group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

MOST_EVENTS = 200
"""Ids of events that a firing carries; `event_count` counts them all."""


@dataclass(frozen=True)
class Firing:
    """A rule's hits that belong together: same group, no further apart than the rule's episode.

    The same events give the same firing, whether scanned at once or as they came.
    """

    rule: str
    """The rule's id."""
    person: str | None
    instance: str | None
    project: str | None
    first_seen: datetime
    last_seen: datetime
    event_count: int
    event_ids: tuple[str, ...]
    """The first and the last ones, in order of time, MOST_EVENTS at most."""
    group: Mapping[str, str] = field(default_factory=dict)
    """The correlation's group beyond person, instance and project: a bucket, an address."""
    value: float | None = None
    """The largest value seen of what the correlation counts, sums or averages."""
