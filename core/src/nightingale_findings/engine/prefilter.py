"""Which stretches of time a correlation needs to look at exactly: only those that could reach what it asks for.

Time is cut into buckets of a span. A window that ends in a bucket lies in that one and the one before it, so what these
hold together bounds it from above: the number of events for counts, the sum of what is positive for sums,
the largest value for averages and percentiles, the rules seen for temporal ones. Where the bound stays below the
threshold no window can fire. The answer is the same, some six times sooner, since few events are left to put in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from nightingale_findings.compiled import Correlation
from nightingale_findings.engine.sql import EARLIEST, number
from nightingale_findings.engine.windows import NUMERIC, TEMPORAL, by, groups

_MOST_RULES = 60
"""Rules that fit into the bits of a number."""

MOST_STRETCHES = 16
"""Stretches of time that one statement names."""

_BUCKET = "bucket"

_FIRST = datetime.fromisoformat(EARLIEST)


@dataclass(frozen=True)
class Stage:
    """One bound: what to reckon in a bucket, how buckets make a bound, and what the bound must meet."""

    each: str
    together: str
    asked: str


def stages(correlation: Correlation) -> tuple[Stage, ...]:
    """Return the bounds to apply, the cheapest first; none where no bound from above can rule a window out."""
    kind = correlation.kind
    if kind in TEMPORAL:
        asked = _rules_seen(correlation)
        return (Stage("bit_or(1::BIGINT << r)", "bit_or(each)", asked),) if asked else ()
    asked = _least(correlation, "bound")
    if not asked:
        return ()
    count = Stage("count(*)", "sum(each)", asked)
    return {
        "event_count": (count,),
        "value_count": (count, Stage("count(DISTINCT v)", "sum(each)", asked)),
        "value_sum": (Stage("sum(greatest(v, 0))", "sum(each)", asked),),
    }.get(kind, (Stage("max(v)", "max(each)", asked),))


def _rules_seen(correlation: Correlation) -> str:
    """Return what the rules seen in the buckets must meet: of an ordered one all of them, whatever the order."""
    if len(correlation.rules) > _MOST_RULES:
        return ""
    if not correlation.conditions:
        return f"bit_count(bound) >= {len(correlation.rules)}"
    return _least(correlation, "bit_count(bound)") if correlation.kind == "temporal" else ""


def _least(correlation: Correlation, bound: str) -> str:
    """Return the conditions that a bound from above can fail; of `=`, that it is reached. Nothing when there is none.

    A sum of fractions may be rounded otherwise in another order: a hair is left.
    """
    hair = 1e-9 if correlation.kind in NUMERIC else 0.0
    conditions = []
    for comparison, than in correlation.conditions:
        least = than - abs(than) * hair
        if comparison in (">", ">=", "="):
            sign = ">" if comparison == ">" and not hair else ">="
            conditions.append(f"{bound} {sign} {number(least)}")
    return " AND ".join(conditions)


def candidates(correlation: Correlation, source: str, stage: Stage) -> str:
    """Return a query of the groups and buckets whose events a window that may fire can hold."""
    keys = [*groups(correlation), _BUCKET]
    each = f"SELECT {', '.join(keys)}, {stage.each} AS each FROM {bucketed(correlation, source)} GROUP BY ALL"
    back = f"({by(correlation)}ORDER BY {_BUCKET} RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)"
    ahead = f"({by(correlation)}ORDER BY {_BUCKET} RANGE BETWEEN CURRENT ROW AND 1 FOLLOWING)"
    bound = f"SELECT *, {stage.together} OVER {back} AS bound FROM ({each})"
    asked = f"SELECT {', '.join(keys)}, bool_or(coalesce({stage.asked}, false)) OVER {ahead} AS is_held FROM ({bound})"
    return f"SELECT {', '.join(keys)} FROM ({asked}) WHERE is_held"


def held(correlation: Correlation, source: str, candidates_table: str) -> str:
    """Return a query of the matches in the candidates' buckets."""
    keys = [*groups(correlation), _BUCKET]
    same = " AND ".join(f"m.{key} = c.{key}" for key in keys)
    events = bucketed(correlation, source)
    return f"SELECT m.* EXCLUDE ({_BUCKET}) FROM {events} AS m SEMI JOIN {candidates_table} AS c ON {same}"


def bucketed(correlation: Correlation, source: str) -> str:
    """Return the matches with the number of their bucket."""
    return f"(SELECT *, {_number_of('t', correlation)} AS {_BUCKET} FROM ({source}))"


def _number_of(time: str, correlation: Correlation) -> str:
    """Return the number of a time's bucket, counted from the earliest time there is: `//` goes towards zero."""
    return f"(epoch_us({time}) - epoch_us(TIMESTAMP '{EARLIEST}')) // {correlation.span_s * 1_000_000}"


def stretches(buckets: Sequence[int], span_s: int) -> tuple[tuple[datetime, datetime], ...]:
    """Return the times that buckets cover, from and until, in order; neighbours as one, and never more than MOST.

    A table in order of time is then read there only.
    """
    runs: list[list[int]] = []
    for bucket in sorted(buckets):
        if runs and bucket <= runs[-1][1]:
            runs[-1][1] = bucket + 1
        else:
            runs.append([bucket, bucket + 1])
    while len(runs) > MOST_STRETCHES:
        gaps = [after[0] - before[1] for before, after in pairwise(runs)]
        at = gaps.index(min(gaps))
        runs[at : at + 2] = [[runs[at][0], runs[at + 1][1]]]
    return tuple((_FIRST + timedelta(seconds=a * span_s), _FIRST + timedelta(seconds=b * span_s)) for a, b in runs)
