"""Merging: the same findings from the same firings, however they come."""

from __future__ import annotations

from datetime import timedelta
from itertools import count, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles.firings import NINE, hit
from nightingale.contract.findings import FindingState
from nightingale.domain.finding import MOST_HISTORY, MOST_KEPT, Finding, Hit, merged, opened

LATER = NINE + timedelta(days=1)


def fold(hits: list[Hit]) -> dict[str, Finding]:
    """Return the findings that firings make, by id, as the service makes them in its store."""
    numbers = count(1)
    found: dict[str, Finding] = {}
    for one in hits:
        near = [
            finding
            for finding in found.values()
            if finding.merged_into is None
            and finding.subject == one.subject
            and one.is_near(finding.first_seen, finding.last_seen)
        ]
        changed = merged(near, one, LATER) if near else (opened(one, f"f-{next(numbers):04d}", LATER),)
        found |= {finding.id: finding for finding in changed}
    return found


def facts(found: dict[str, Finding]) -> set[tuple[object, ...]]:
    """Return what must not depend on the order in which firings came."""
    return {
        (one.subject, one.first_seen, one.last_seen, one.event_count, one.events, one.value, one.state)
        for one in found.values()
        if one.merged_into is None
    }


PEOPLE = st.sampled_from(["grace", "mary"])


@st.composite
def firings(draw: st.DrawFn, most: int = 600) -> list[Hit]:
    """Draw a few seen events of two people; each firing is a run of them, as a scan would cut it."""
    events = sorted(draw(st.lists(st.tuples(st.integers(0, most), PEOPLE), min_size=1, max_size=12, unique=True)))
    hits = []
    for person in {who for _, who in events}:
        minutes = [at for at, who in events if who == person]
        cuts = sorted({0, len(minutes), *draw(st.lists(st.integers(0, len(minutes)), max_size=4))})
        for begin, end in pairwise(cuts):
            run = minutes[begin:end]
            ids = tuple(f"reads-{person}/{at}" for at in run)
            hits.append(hit(run[0], run[-1], person=person, events=ids, value=float(run[-1])))
    return hits


@given(hits=firings(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_order_and_any_repetition_of_firings_makes_the_same_findings(hits: list[Hit], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(hits), max_size=6))
    shuffled = data.draw(st.permutations([*hits, *again]))
    assert facts(fold(shuffled)) == facts(fold(hits))


@given(hits=firings(most=60))
@settings(max_examples=100, deadline=None)
def test_firings_of_one_episode_cut_into_single_events_make_the_same_findings(hits: list[Hit]) -> None:
    single = [
        hit(minute, person=one.person, events=(event,), value=float(minute))
        for one in hits
        for event in one.events
        for minute in (int(event.rpartition("/")[2]),)
    ]
    assert facts(fold(single)) == facts(fold(hits))


@given(ids=st.lists(st.integers(0, 2000), min_size=1, max_size=700, unique=True), data=st.data())
@settings(max_examples=40, deadline=None)
def test_of_very_many_events_the_same_first_and_last_are_kept_in_any_order(ids: list[int], data: st.DataObject) -> None:
    pieces = [ids[at : at + 70] for at in range(0, len(ids), 70)]
    hits = [hit(1, events=tuple(f"reads-i-1/{number}" for number in piece)) for piece in pieces]
    (found,) = fold(data.draw(st.permutations(hits))).values()
    numbers = sorted(ids)
    kept = numbers if len(numbers) <= 2 * MOST_KEPT else numbers[:MOST_KEPT] + numbers[-MOST_KEPT:]
    assert found.events == tuple(f"reads-i-1/{number}" for number in kept)
    assert found.event_count == len(kept)


def test_the_same_firing_twice_adds_nothing() -> None:
    (finding,) = fold([hit(0, 5)]).values()
    assert merged([finding], hit(0, 5), LATER) == ()


def test_an_episode_within_the_gap_makes_the_finding_longer() -> None:
    (found,) = fold([hit(0), hit(60)]).values()
    assert (found.first_seen, found.last_seen, found.event_count) == (NINE, NINE + timedelta(minutes=60), 2)


def test_an_episode_behind_the_gap_is_a_finding_of_its_own() -> None:
    assert len(fold([hit(0), hit(60.5)])) == 2


def test_two_people_are_never_one_finding() -> None:
    assert len(fold([hit(0), hit(0, person="mary")])) == 2


def test_a_finding_over_several_instances_names_none_of_them_in_any_order() -> None:
    by_person = ("person",)
    first = hit(0, grouped_by=by_person)
    both = hit(0, 5, instance=None, grouped_by=by_person, events=("reads-i-0000000001/1", "reads-i-0000000002/1"))
    for order in ([first, both], [both, first]):
        (found,) = fold(order).values()
        assert (found.person, found.instance, found.project, found.event_count) == ("grace", None, "brain", 2)


def test_a_late_firing_in_between_makes_one_finding_of_two_and_the_older_stays() -> None:
    found = fold([hit(0), hit(100), hit(50)])
    assert found["f-0001"].last_seen == NINE + timedelta(minutes=100)
    assert found["f-0002"].merged_into == "f-0001"
    assert found["f-0001"].merged_into is None


def closed(state: FindingState) -> Finding:
    (finding,) = fold([hit(0)]).values()
    return finding.moved_to(state, NINE + timedelta(minutes=10), "hedy", "looked into")


def test_a_resolved_finding_that_goes_on_is_open_again() -> None:
    (after,) = merged([closed(FindingState.RESOLVED)], hit(20), LATER)
    assert after.state is FindingState.OPEN
    assert after.closed_at is None
    assert after.history[-1].actor == "platform"


def test_events_from_before_it_was_resolved_that_come_late_do_not_open_it_again() -> None:
    (after,) = merged([closed(FindingState.RESOLVED)], hit(5), LATER)
    assert after.state is FindingState.RESOLVED
    assert after.event_count == 2


def test_a_false_alarm_stays_closed_while_its_episode_goes_on() -> None:
    (after,) = merged([closed(FindingState.FALSE_ALARM)], hit(20), LATER)
    assert after.state is FindingState.FALSE_ALARM


def test_a_false_alarm_that_joins_an_open_finding_does_not_close_it() -> None:
    (other,) = fold([hit(100)]).values()
    stays, gone = merged([closed(FindingState.FALSE_ALARM), other], hit(50), LATER)
    assert stays.state is FindingState.OPEN
    assert gone.merged_into == stays.id


def test_history_keeps_the_first_change_and_the_last_ones() -> None:
    (finding,) = fold([hit(0)]).values()
    for number in range(2 * MOST_HISTORY):
        finding = finding.changed(LATER, "hedy", f"change {number}")
    assert len(finding.history) == MOST_HISTORY
    assert finding.history[0].change == "opened"
    assert finding.history[-1].change == f"change {2 * MOST_HISTORY - 1}"
