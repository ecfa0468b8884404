"""Which stretches of time a correlation needs to look at exactly: only those that could reach what it asks for.

Time is cut into buckets, a few to a span. A window that ends in a bucket lies in that one and the PIECES before it, so
what these hold together bounds it from above: the number of events for counts, the sum of what is positive for sums,
the largest value for averages and percentiles, the rules seen for temporal ones. Where the bound stays below the
threshold no window can fire. The answer is the same, some six times sooner, since few events are left to put in order.
"""

from __future__ import annotations

from dataclasses import dataclass

from nightingale_findings.compiled import Correlation
from nightingale_findings.engine.sql import number
from nightingale_findings.engine.windows import NUMERIC, TEMPORAL, by, groups

PIECES = 4
"""Buckets to a span: more bound a window closer, and are more to reckon with."""

_MOST_RULES = 60
"""Rules that fit into the bits of a number."""

_BUCKET = "bucket"


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
    back = f"({by(correlation)}ORDER BY {_BUCKET} RANGE BETWEEN {PIECES} PRECEDING AND CURRENT ROW)"
    ahead = f"({by(correlation)}ORDER BY {_BUCKET} RANGE BETWEEN CURRENT ROW AND {PIECES} FOLLOWING)"
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
    size_us = correlation.span_s * 1_000_000 // PIECES
    return f"(SELECT *, epoch_us(t) // {size_us} AS {_BUCKET} FROM ({source}))"
