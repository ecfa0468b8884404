"""Correlations and episodes the slow way: every window by itself, in Python, without a line of the engine's."""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nightingale_findings.compiled import Correlation

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Event:
    id: str
    at: datetime
    fields: Mapping[str, Any]
    rules: tuple[int, ...] = (0,)
    """Which of the correlation's rules it matches, by their place."""


@dataclass(frozen=True)
class Episode:
    group: tuple[str, ...]
    ids: tuple[str, ...]
    value: float | None


class BruteForce:
    """Answers which episodes a correlation makes of events."""

    def __init__(self, correlation: Correlation, episode_s: int) -> None:
        self.correlation, self.span = correlation, timedelta(seconds=correlation.span_s)
        self.reach = timedelta(seconds=max(episode_s, correlation.span_s))

    def episodes(self, events: Iterable[Event]) -> list[Episode]:
        groups: dict[tuple[str, ...], list[Event]] = defaultdict(list)
        for event in events:
            key = tuple(event.fields[name] for name in self.correlation.group_by)
            if None not in key:
                groups[key].append(event)
        return [episode for key in sorted(groups) for episode in self._of_group(key, groups[key])]

    def _of_group(self, key: tuple[str, ...], events: Sequence[Event]) -> list[Episode]:
        hits: dict[str, Event] = {}
        values: dict[str, float] = {}
        for last in events:
            window = [event for event in events if last.at - self.span <= event.at <= last.at]
            value = self.value(window)
            if value is not None and self.is_met(value):
                values[last.id] = value
                hits |= {event.id: event for event in window}
        found: list[list[Event]] = []
        for event in sorted(hits.values(), key=lambda event: (event.at, event.id)):
            if found and event.at - found[-1][-1].at <= self.reach:
                found[-1].append(event)
            else:
                found.append([event])
        return [
            Episode(key, tuple(e.id for e in part), max(values[e.id] for e in part if e.id in values)) for part in found
        ]

    def is_met(self, value: float) -> bool:
        if not self.correlation.conditions:
            return value >= len(self.correlation.rules)
        return all(OPERATORS[comparison](value, than) for comparison, than in self.correlation.conditions)

    def value(self, window: Sequence[Event]) -> float | None:
        kind = self.correlation.kind
        if kind == "event_count":
            return len(window)
        if kind == "temporal":
            return len({rule for event in window for rule in event.rules})
        if kind == "temporal_ordered":
            return self._in_order(window)
        values = [tuple(event.fields[name] for name in self.correlation.field) for event in window]
        whole = [value for value in values if None not in value]
        if kind == "value_count":
            return len(set(whole))
        return self._of_numbers(sorted(float(value[0]) for value in whole))

    def _of_numbers(self, numbers: Sequence[float]) -> float | None:
        if not numbers:
            return None
        if self.correlation.kind == "value_sum":
            return math.fsum(numbers)
        if self.correlation.kind == "value_avg":
            return math.fsum(numbers) / len(numbers)
        percentile = 50.0 if self.correlation.kind == "value_median" else self.correlation.percentile or 0.0
        place = (len(numbers) - 1) * percentile / 100
        low, high = numbers[math.floor(place)], numbers[math.ceil(place)]
        return low + (high - low) * (place - math.floor(place))

    def _in_order(self, window: Sequence[Event]) -> float:
        """Return how many of the rules, from the first on, happened one after the other, or at the same time."""
        reached = [event.at for event in window if 0 in event.rules]
        done = 0
        while reached:
            done += 1
            earliest = min(reached)
            reached = [event.at for event in window if done in event.rules and event.at >= earliest]
        return done
