"""Every kind of correlation, on events with ties, nulls and edges, against a class that looks at each window alone."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.brute_findings import BruteForce, Episode, Event
from doubles.finding_rules import READS, correlated, moment, reads_table, rule, ruled
from doubles.thoroughness import THOROUGHNESS
from nightingale_findings.compiled import CompiledRule
from nightingale_findings.engine import Engine, opened

SPAN = 60
PATHS = ("/a", "/b", "/c", None)

reads = st.lists(
    st.tuples(
        # Ties, and distances that are just the span, are common; so are some just beyond it.
        st.one_of(st.integers(0, 6).map(lambda n: n * SPAN / 2), st.integers(0, 400), st.just(SPAN + 0.000001)),
        st.sampled_from(("ada", "bo", None)),
        st.sampled_from(PATHS),
        st.one_of(st.none(), st.integers(-3, 9)),
    ),
    max_size=25,
)

COMPARISONS = st.sampled_from((">", ">=", "<", "<=", "=", "!="))

PLAIN = tuple(
    rule(f"is_{name}", f"coalesce(\"path\" = '/{name}', false)", fields=("path",), is_finding=False) for name in "abc"
)


@st.composite
def counted(draw: st.DrawFn) -> CompiledRule:
    kind = draw(
        st.sampled_from(("event_count", "value_count", "value_sum", "value_avg", "value_percentile", "value_median"))
    )
    conditions = draw(st.lists(st.tuples(COMPARISONS, st.integers(-2, 8).map(float)), min_size=1, max_size=2))
    field: tuple[str, ...] = () if kind == "event_count" else ("bytes",)
    if kind == "value_count":
        field = draw(st.sampled_from((("path",), ("path", "bytes"))))
    return correlated(
        "counted",
        kind,
        conditions,
        field=field,
        group_by=draw(st.sampled_from((("person",), (), ("person", "path")))),
        percentile=draw(st.sampled_from((0.0, 25.0, 90.0, 100.0))) if kind == "value_percentile" else None,
        span_s=SPAN,
        episode_s=draw(st.sampled_from((1, 90))),
    )


@pytest.fixture(scope="module")
def connection():
    with opened(threads=1) as connection:
        yield connection


def found(connection: duckdb.DuckDBPyConnection, made: CompiledRule, rows) -> list[Episode]:
    connection.execute("DROP TABLE IF EXISTS nightingale_reads")
    reads_table(connection, [(f"e{place:02}", *row) for place, row in enumerate(rows)])
    engine = Engine(connection, ruled(rule("every", "true", is_finding=False), *PLAIN, made), [READS])
    firings = engine.run()
    assert not engine.failed
    keys = made.correlation.group_by
    whole = [{"person": firing.person, **firing.group} for firing in firings]
    return [
        Episode(tuple(str(names[key]) for key in keys), firing.event_ids, firing.value)
        for firing, names in zip(firings, whole, strict=True)
    ]


def expected(made: CompiledRule, rows) -> list[Episode]:
    places = {"/a": 0, "/b": 1, "/c": 2}
    is_temporal = made.correlation.kind.startswith("temporal")
    events = []
    for place, (at, person, path, size) in enumerate(rows):
        fields = {"person": person, "path": path, "bytes": size}
        matched = (places[path],) if is_temporal and path else (0,)
        if not is_temporal or (path and places[path] < len(made.correlation.rules)):
            events.append(Event(f"e{place:02}", moment(at), fields, matched))
    assert made.correlation
    return BruteForce(made.correlation, made.episode_s).episodes(events)


def same(left: list[Episode], right: list[Episode]) -> bool:
    assert [(e.group, e.ids) for e in left] == [(e.group, e.ids) for e in right]
    assert [e.value for e in left] == pytest.approx([e.value for e in right])
    return True


relaxed = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
thorough = settings(relaxed, max_examples=500 * THOROUGHNESS)


@relaxed
@given(counted(), reads)
def test_counts_sums_and_averages_equal_brute_force(connection, made, rows):
    assert same(found(connection, made, rows), expected(made, rows))


@st.composite
def temporal(draw: st.DrawFn) -> CompiledRule:
    return correlated(
        "temporal",
        draw(st.sampled_from(("temporal", "temporal_ordered"))),
        rules=tuple(plain.id for plain in PLAIN[: draw(st.integers(1, 3))]),
        group_by=draw(st.sampled_from((("person",), ()))),
        span_s=SPAN,
        episode_s=draw(st.sampled_from((1, 90))),
    )


@relaxed
@given(temporal(), reads)
def test_temporal_ones_equal_brute_force(connection, made, rows):
    assert same(found(connection, made, rows), expected(made, rows))


@pytest.mark.slow
@pytest.mark.timeout(600)
@thorough
@given(st.one_of(counted(), temporal()), reads)
def test_every_kind_equals_brute_force_on_many_more(connection, made, rows):
    assert same(found(connection, made, rows), expected(made, rows))
