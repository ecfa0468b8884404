"""Metering as arithmetic on an instance's history: intervals, hours, lines, money. No clock, no store.

Compute bills from the entry into `running` to the entry out of it, or to its `billed_until` (a crash: the last good
probe). Disk bills from creation to deletion. All spans are half open, [start, end), in whole seconds; a line costs
quantity x price / 3600, exact, rounded once: to six places, half to even. Sums are sums of such lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from enum import StrEnum
from itertools import pairwise

from nightingale.contract.schemas import Size
from nightingale.contract.vocabulary import Plan, Status
from nightingale.domain.catalog import Cluster
from nightingale.domain.history import HistoryEntry

HOUR = timedelta(hours=1)
_SECONDS_AN_HOUR = 3600
_SIX_PLACES = Decimal("0.000001")
_DIGITS = 60
"""More than any exact product of a price and a month of GiB-seconds has, so that only `quantize` rounds."""


class LineKind(StrEnum):
    """What a line bills."""

    COMPUTE = "compute"
    DISK = "disk"


@dataclass(frozen=True)
class Interval:
    """A span of one size, [start, end)."""

    start: datetime
    end: datetime
    size: Size

    @property
    def seconds(self) -> int:
        """Return its length."""
        return int((self.end - self.start).total_seconds())


@dataclass(frozen=True)
class UnitPrice:
    """What one unit costs an hour: this size (compute) or one GiB of it (disk, `units` GiB)."""

    per_hour: Decimal
    units: int = 1


@dataclass(frozen=True)
class Line:
    """One kind and size within one hour. `quantity` is in seconds (compute) or GiB-seconds (disk)."""

    kind: LineKind
    size: Size
    seconds: int
    quantity: int
    price_per_hour: Decimal
    list_cost: Decimal
    billed: Decimal


@dataclass(frozen=True)
class UsageRecord:
    """One hour of one instance, as its history stood at entry `seq`. A higher revision replaces the lower ones."""

    instance_id: str
    instance: str
    owner: str
    project: str
    hour: datetime
    revision: int
    seq: int
    plan: Plan
    currency: str
    lines: tuple[Line, ...]


Seconds = Mapping[tuple[LineKind, Size], int]
"""Seconds by kind and size within one hour."""

PriceOf = Callable[[LineKind, Size], UnitPrice]


def compute_intervals(history: Sequence[HistoryEntry], until: datetime) -> tuple[Interval, ...]:
    """Return the spans in which the instance was usable, in order; an open one ends at `until`, as does any later."""
    spans: list[Interval] = []
    opened: HistoryEntry | None = None
    for entry in history:
        if entry.after is Status.RUNNING and opened is None:
            opened = entry
        elif entry.after is not Status.RUNNING and opened is not None:
            spans.append(Interval(opened.at, entry.billed_until or entry.at, opened.size))
            opened = None
    if opened is not None:
        spans.append(Interval(opened.at, until, opened.size))
    return _clipped(spans, until)


def disk_intervals(history: Sequence[HistoryEntry], until: datetime) -> tuple[Interval, ...]:
    """Return the spans in which the instance held a disk, by size: from its creation to its deletion or `until`."""
    spans = [Interval(entry.at, after.at, entry.size) for entry, after in pairwise(history)]
    if history and history[-1].after is not Status.TERMINATED:
        spans.append(Interval(history[-1].at, until, history[-1].size))
    return _clipped(spans, until)


def _clipped(spans: Iterable[Interval], until: datetime) -> tuple[Interval, ...]:
    cut = (replace(span, end=min(span.end, until)) for span in spans)
    return tuple(span for span in cut if span.end > span.start)


def floor_hour(at: datetime) -> datetime:
    """Return the start of the hour (UTC) that `at` lies in."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def ceil_hour(at: datetime) -> datetime:
    """Return `at` if it is a full hour, else the next one (UTC)."""
    floor = floor_hour(at)
    return floor if floor == at else floor + HOUR


def split_by_hour(intervals: Iterable[Interval]) -> tuple[tuple[datetime, Interval], ...]:
    """Return the intervals cut at every full hour (UTC), each piece with the hour it lies in."""
    pieces: list[tuple[datetime, Interval]] = []
    for interval in intervals:
        start = interval.start
        while start < interval.end:
            hour = floor_hour(start)
            end = min(hour + HOUR, interval.end)
            pieces.append((hour, Interval(start, end, interval.size)))
            start = end
    return tuple(pieces)


def seconds_by_hour(
    history: Sequence[HistoryEntry], start: datetime, end: datetime
) -> dict[datetime, Counter[tuple[LineKind, Size]]]:
    """Return, for each hour in [start, end) that has any, the seconds by kind and size. `start` is a full hour."""
    hours: dict[datetime, Counter[tuple[LineKind, Size]]] = {}
    kinds = ((LineKind.COMPUTE, compute_intervals(history, end)), (LineKind.DISK, disk_intervals(history, end)))
    for kind, intervals in kinds:
        recent = (replace(span, start=max(span.start, start)) for span in intervals if span.end > start)
        for hour, piece in split_by_hour(recent):
            hours.setdefault(hour, Counter())[kind, piece.size] += piece.seconds
    return hours


def cost_of(quantity: int, price_per_hour: Decimal) -> Decimal:
    """Return quantity x price / 3600, rounded once to six places, half to even."""
    with localcontext() as context:
        context.prec = _DIGITS
        exact = quantity * price_per_hour / _SECONDS_AN_HOUR
        return exact.quantize(_SIX_PLACES, rounding=ROUND_HALF_EVEN)


def lines_for_hour(seconds: Seconds, plan: Plan, price_of: PriceOf) -> tuple[Line, ...]:
    """Return an hour's lines, compute before disk, in order of size. Under the nonprofit plan nothing is billed."""
    lines: list[Line] = []
    for (kind, size), length in sorted(seconds.items(), key=lambda item: (item[0][0], size_text(item[0][1]))):
        price = price_of(kind, size)
        quantity = length * price.units
        cost = cost_of(quantity, price.per_hour)
        billed = cost if plan is Plan.PRIVATE else Decimal(0)
        lines.append(Line(kind, size, length, quantity, price.per_hour, cost, billed))
    return tuple(lines)


def prices_of(cluster: Cluster, place: str, hour: datetime, *, is_spot: bool = False) -> PriceOf:
    """Return the unit prices of an hour in a place, on spare capacity or on demand.

    Asking for an unknown size raises RefusedError `invalid`.
    """

    def price_of(kind: LineKind, size: Size) -> UnitPrice:
        price = cluster.price(place, size, hour, is_spot=is_spot)
        if kind is LineKind.COMPUTE:
            return UnitPrice(price.compute)
        return UnitPrice(price.disk_per_gib, cluster.disk_gib(size))

    return price_of


def prices_kept(record: UsageRecord, otherwise: PriceOf) -> PriceOf:
    """Return the unit prices that a record was made at, so that correcting it moves seconds and not prices."""
    kept = {
        (line.kind, line.size): UnitPrice(line.price_per_hour, line.quantity // line.seconds) for line in record.lines
    }

    def price_of(kind: LineKind, size: Size) -> UnitPrice:
        return kept.get((kind, size)) or otherwise(kind, size)

    return price_of


def seconds_of(record: UsageRecord) -> dict[tuple[LineKind, Size], int]:
    """Return the seconds that a record bills, to be compared with what the history says now."""
    return {(line.kind, line.size): line.seconds for line in record.lines}


def size_text(size: Size) -> str:
    """Return a size in one word, cpu/memory/gpu/disk: `s/m/none/s`."""
    return f"{size.cpu}/{size.memory}/{size.gpu}/{size.disk}"
