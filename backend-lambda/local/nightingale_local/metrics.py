"""What the platform counts and measures, as OpenMetrics text. No label names a person, a project or an instance."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histograms' buckets, seconds."""


class Histogram(msgspec.Struct, kw_only=True):
    """How often something took how long: by bucket (the last one is all above), and seconds in all."""

    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def note(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class Counts(msgspec.Struct, kw_only=True):
    """What the scheduler counted since it began; `run/scheduler-counts.json` carries it to the API's process."""

    probes: dict[str, int] = {}
    builds: dict[str, int] = {}
    beats: dict[str, Histogram] = {}
    failed_beats: dict[str, int] = {}


class Tally:
    """What the API's process counted since it began. Threads may share it."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._turn = threading.Lock()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, Histogram] = {}

    def note(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        with self._turn:
            self._answers[operation, status] += 1
            self._seconds.setdefault(operation, Histogram()).note(seconds)

    def families(self) -> Iterable[str]:
        """Yield the lines of what was counted."""
        with self._turn:
            answers = sorted(self._answers.items())
            seconds = {
                name: Histogram(buckets=list(one.buckets), seconds=one.seconds) for name, one in self._seconds.items()
            }
        yield from family("nightingale_requests", "counter", "Answers of the API, by operation and HTTP status.")
        for (operation, status), count in answers:
            yield sample("nightingale_requests_total", count, operation=operation, status=str(status))
        yield from histograms("nightingale_request_seconds", "Time from request to answer.", "operation", seconds)


def family(name: str, kind: str, words: str) -> Iterable[str]:
    """Yield the lines that stand before a family's samples."""
    yield f"# TYPE {name} {kind}"
    if name.endswith("_seconds"):
        yield f"# UNIT {name} seconds"
    yield f"# HELP {name} {words}"


def sample(name: str, value: float, **labels: str) -> str:
    """Return one line. Labels are words of ours, which need no escapes."""
    inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def gauge(name: str, words: str, label: str, values: Mapping[str, float]) -> Iterable[str]:
    """Yield a family with one label."""
    yield from family(name, "gauge", words)
    for text, value in values.items():
        yield sample(name, value, **{label: text})


def counter(name: str, words: str, label: str, values: Mapping[str, int]) -> Iterable[str]:
    """Yield a family of counters with one label."""
    yield from family(name, "counter", words)
    for text, value in sorted(values.items()):
        yield sample(f"{name}_total", value, **{label: text})


def histograms(name: str, words: str, label: str, values: Mapping[str, Histogram]) -> Iterable[str]:
    """Yield a family of histograms with one label."""
    yield from family(name, "histogram", words)
    for text, one in sorted(values.items()):
        count = 0
        for bound, more in zip((*map(str, BOUNDS), "+Inf"), one.buckets, strict=True):
            count += more
            yield sample(f"{name}_bucket", count, **{label: text, "le": bound})
        yield sample(f"{name}_count", count, **{label: text})
        yield sample(f"{name}_sum", round(one.seconds, 6), **{label: text})
