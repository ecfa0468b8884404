from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from nightingale.contract.schemas import LogOut
from nightingale.contract.vocabulary import LogSource, Status
from nightingale_tui import state
from nightingale_tui.api.errors import ApiError, NotLoggedInError, UnreachableError
from nightingale_tui.state import Feed, ListView, LogView, SortKey
from tui.app.sample_data import INSTANCES, NOW

GONE = state.problem_of(UnreachableError("no answer", "wait"))
FEED = state.loaded(INSTANCES, at=NOW)


def names(view: ListView, feed: Feed = FEED) -> list[str]:
    return [one.name for one in state.visible(feed, view)]


def test_a_failed_poll_keeps_the_data_and_shows_it_as_stale():
    feed = state.poll_failed(FEED, GONE)
    assert feed.instances == INSTANCES
    assert state.is_stale(feed, NOW)
    assert feed.problem == GONE


def test_a_good_poll_forgets_the_problem():
    feed = state.loaded(INSTANCES, at=NOW)
    assert feed.problem is None
    assert not state.is_stale(feed, NOW)


def test_data_grows_stale_by_age_alone():
    assert not state.is_stale(FEED, NOW + timedelta(seconds=5))
    assert state.is_stale(FEED, NOW + timedelta(seconds=6))


def test_a_feed_that_never_was_is_not_stale_but_empty():
    assert not state.is_stale(Feed(), NOW)
    assert state.age_s(Feed(), NOW) is None


def test_polls_back_off_with_each_failure_up_to_fifteen_seconds():
    feed, delays = FEED, []
    for _ in range(6):
        delays.append(state.poll_delay(feed))
        feed = state.poll_failed(feed, GONE)
    assert delays == [1, 2, 4, 8, 15, 15]
    assert state.poll_delay(state.loaded((), at=NOW)) == 1


def test_uptime_ticks_while_the_data_is_fresh_and_stands_still_when_stale():
    one = INSTANCES[0]
    start = state.uptime_s(one, NOW)
    assert start is not None
    assert state.uptime_s(one, state.shown_now(FEED, NOW + timedelta(seconds=3))) == start + 3
    assert state.uptime_s(one, state.shown_now(FEED, NOW + timedelta(seconds=30))) == start
    broken = state.poll_failed(FEED, GONE)
    assert state.uptime_s(one, state.shown_now(broken, NOW + timedelta(seconds=3))) == start


def test_a_clock_set_back_never_shows_a_negative_age_or_uptime():
    assert state.age_s(FEED, NOW - timedelta(hours=1)) == 0
    assert state.shown_now(FEED, NOW - timedelta(hours=1)) == NOW
    assert state.uptime_s(INSTANCES[0], NOW - timedelta(days=9)) == 0


def test_what_does_not_run_has_no_uptime():
    failed = next(one for one in INSTANCES if one.status is Status.FAILED)
    assert state.uptime_s(msgspec.structs.replace(failed, running_since=NOW), NOW) is None


def test_an_answer_about_one_instance_replaces_it_in_place():
    changed = msgspec.structs.replace(INSTANCES[3], status=Status.STOPPING)
    feed = state.instance_changed(FEED, changed)
    assert feed.instances[3] is changed
    assert len(feed.instances) == len(INSTANCES)


def test_a_new_instance_comes_first():
    new = msgspec.structs.replace(INSTANCES[0], id="i-new", name="new")
    assert state.instance_changed(FEED, new).instances[0] is new


def test_terminated_ones_show_only_when_asked_for():
    assert "gone-last-week" not in names(ListView())
    assert "gone-last-week" in names(ListView(shows_terminated=True))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("grace", {"strain-analysis", "paper-figures"}),
        ("FAILED", {"big-sweep"}),
        ("grace stopped", {"paper-figures"}),
        ("cine-mri", {"cine-segmentation"}),
        ("out_of_memory", {"big-sweep"}),
        ("nothing-has-this", set()),
    ],
)
def test_every_word_of_the_filter_must_occur_in_a_row(words: str, expected: set[str]):
    assert set(names(ListView(words=words))) == expected


def test_the_list_is_newest_first_at_the_start():
    assert names(ListView())[:2] == ["fastmri-unet", "cine-segmentation"]


def test_ordering_by_cost_puts_the_dearest_first_and_reversed_last():
    dearest = names(ListView(sort=SortKey.COST))
    assert dearest[0] == "strain-analysis"
    assert names(ListView(sort=SortKey.COST, is_reversed=True)) == list(reversed(dearest))


def test_ordering_by_status_puts_what_needs_a_person_first():
    assert names(ListView(sort=SortKey.STATUS))[0] == "big-sweep"


def test_the_next_order_goes_round():
    view = ListView(is_reversed=True)
    seen = []
    for _ in SortKey:
        view = state.next_sort(view)
        seen.append(view.sort)
    assert set(seen) == set(SortKey)
    assert view == ListView()


def test_totals_count_what_runs_and_add_its_price():
    sums = state.totals(FEED)
    assert (sums.count, sums.running) == (11, 4)
    assert sums.per_hour == Decimal("3.882")
    assert sums.currency == "USD"


def test_a_refusal_keeps_its_words_next_step_and_details():
    problem = state.problem_of(ApiError("busy", "It is busy.", "Wait."))
    assert (problem.code, problem.words, problem.next_step, problem.is_login) == ("busy", "It is busy.", "Wait.", False)
    assert state.problem_of(NotLoggedInError("token_expired", "ended")).is_login


def answer(*lines: str, next_offset: int = 9, is_complete: bool = False) -> LogOut:
    return LogOut(source=LogSource.BUILD, lines=lines, next_offset=next_offset, is_complete=is_complete)


def test_a_log_grows_by_what_was_read():
    log = state.log_read(LogView("b-1"), answer("one"))
    log = state.log_read(log, answer("two", next_offset=20, is_complete=True))
    assert (log.lines, log.next_offset, log.is_complete) == (("one", "two"), 20, True)


def test_a_log_of_another_build_starts_anew():
    log = state.log_read(LogView("b-1"), answer("one", is_complete=True))
    assert state.log_subject_changed(log, "b-1") is log
    assert state.log_subject_changed(log, "b-2") == LogView("b-2")


def test_a_long_log_keeps_its_end():
    log = state.log_read(LogView("b-1"), answer(*(str(at) for at in range(2_500))))
    assert len(log.lines) == 2_000
    assert (log.lines[-1], log.dropped) == ("2499", 500)
