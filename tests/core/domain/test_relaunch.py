"""When the platform launches again what a cloud took back: how often, how late, and never against anybody's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles.clocks import START
from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import Size
from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode, Status
from nightingale.domain.billing import compute_intervals
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, HistoryEntry, Reason
from nightingale.domain.instance import Instance
from nightingale.domain.policy import Policy
from nightingale.domain.quarantine import Quarantine
from nightingale.domain.relaunch import ACTOR, relaunch_of
from nightingale.domain.schedule import Hours, Schedule
from nightingale.domain.spot import MOST, WAITS, WITHIN, Spot

FREE = Policy("brain")
TAKEN = Reason(ReasonCode.INTERRUPTED, "the cloud took its spare machine back")
NONE_LEFT = Reason(ReasonCode.NO_CAPACITY, "no machines of this type")


class Life:
    """One instance, its history and a clock."""

    def __init__(self, *, is_relaunched: bool = True, stops_at: datetime | None = None) -> None:
        self.now = START
        self.instance, first = Instance.launch(
            instance_id="i-k3m9x0q2ab",
            name="scan",
            project="brain",
            owner="grace",
            size=Size(),
            place="aws",
            image="default",
            mounts=(),
            tier=0,
            at=START,
            build_id="b-1",
            request_id="",
            stops_at=stops_at,
            spot=Spot(is_spot=True, is_relaunched=is_relaunched),
        )
        self.history: list[HistoryEntry] = [first]
        self.commanded_at = START

    def apply(self, event: Event) -> None:
        self.instance, entry = self.instance.apply(event, self.now)
        self.history.append(entry)

    def up(self) -> None:
        """Let the build end well and the server answer."""
        self.apply(Event(EventName.BUILD_STARTED, ACTOR))
        self.apply(Event(EventName.BUILD_SUCCEEDED, ACTOR))
        self.apply(Event(EventName.BECAME_READY, ACTOR))

    def nothing_left(self) -> None:
        """Let the cloud have no machine."""
        self.apply(Event(EventName.BUILD_STARTED, ACTOR))
        self.apply(Event(EventName.BUILD_FAILED, ACTOR, reason=NONE_LEFT))

    def taken(self) -> None:
        """Let the cloud take it back; it answered last three seconds before."""
        self.apply(Event(EventName.CRASHED, ACTOR, reason=TAKEN, last_good_at=self.now - timedelta(seconds=3)))

    def command(self, name: EventName) -> None:
        """Let its person command."""
        self.apply(Event(name, "grace", build_id="b-1"))
        if name in {EventName.START, EventName.RETRY}:
            self.commanded_at = self.instance.status_at

    def look(self, policy: Policy = FREE) -> bool:
        """Let the platform look, as it does each second; return whether it launched it again."""
        found = relaunch_of(self.instance, policy, self.now)
        if found is None or found.at is None or self.now < found.at:
            return False
        self.apply(found.event("b-1"))
        return True

    def wait(self, span: timedelta) -> None:
        self.now += span

    @property
    def relaunches(self) -> list[datetime]:
        """What the history says: retries that no person asked for."""
        return [entry.at for entry in self.history if entry.event is EventName.RETRY and entry.actor == ACTOR]


def taken(*, is_relaunched: bool = True, stops_at: datetime | None = None) -> Life:
    """Return the life of an instance that ran a minute and was taken back."""
    life = Life(is_relaunched=is_relaunched, stops_at=stops_at)
    life.up()
    life.wait(timedelta(minutes=1))
    life.taken()
    return life


def words_of(life: Life, policy: Policy = FREE) -> str:
    found = relaunch_of(life.instance, policy, life.now)
    assert found is not None
    assert found.at is None
    return found.words


# --- when -------------------------------------------------------------------------------------------------------------


def test_it_is_launched_again_after_a_wait_and_the_history_says_so() -> None:
    life = taken()
    assert not life.look()
    life.wait(WAITS[0])
    assert life.look()
    assert life.instance.status is Status.REQUESTED
    entry = life.history[-1]
    assert (entry.actor, entry.event) == (ACTOR, EventName.RETRY)
    assert entry.reason is not None
    assert "1 of 5 times in 24 hours" in entry.reason.words
    assert not life.look()


def test_nobody_asked_nobody_launches() -> None:
    life = taken(is_relaunched=False)
    life.wait(timedelta(hours=1))
    assert relaunch_of(life.instance, FREE, life.now) is None
    assert not life.look()


def test_another_failure_is_left_to_its_person() -> None:
    life = Life()
    life.up()
    life.apply(Event(EventName.CRASHED, ACTOR, reason=Reason(ReasonCode.OUT_OF_MEMORY, "too much")))
    life.wait(timedelta(hours=1))
    assert relaunch_of(life.instance, FREE, life.now) is None


def test_no_capacity_at_a_persons_own_launch_is_left_to_them() -> None:
    life = Life()
    life.nothing_left()
    assert relaunch_of(life.instance, FREE, life.now) is None


def test_where_there_is_no_capacity_it_waits_longer_each_time_and_then_stays_failed() -> None:
    life = taken()
    for wait in WAITS:
        life.wait(wait - timedelta(seconds=1))
        assert not life.look()
        life.wait(timedelta(seconds=1))
        assert life.look()
        life.nothing_left()
    assert len(life.relaunches) == MOST
    assert "5 times within 24 hours" in words_of(life)
    life.wait(timedelta(days=3))
    assert not life.look()


def test_a_retry_by_hand_that_finds_no_capacity_is_its_persons_again() -> None:
    life = taken()
    life.wait(WAITS[0])
    assert life.look()
    life.nothing_left()
    life.command(EventName.RETRY)
    life.nothing_left()
    assert relaunch_of(life.instance, FREE, life.now) is None


def test_taken_back_while_it_starts_is_taken_back() -> None:
    life = Life()
    life.apply(Event(EventName.BUILD_STARTED, ACTOR))
    life.apply(Event(EventName.BUILD_SUCCEEDED, ACTOR))
    life.taken()
    life.wait(WAITS[0])
    assert life.look()


# --- never ------------------------------------------------------------------------------------------------------------


def test_quarantine_is_not_launched_out_of() -> None:
    life = taken()
    life.instance = replace(life.instance, quarantine=Quarantine(since=life.instance.changed_at, by="hedy"))
    life.wait(WAITS[0])
    assert not life.look()
    assert "quarantine" in words_of(life)


def test_a_lifetime_counts_from_its_persons_launch_and_not_from_a_relaunch() -> None:
    policy = Policy("brain", max_lifetime_seconds=3600)
    life = taken()
    life.wait(WAITS[0])
    assert life.look(policy)
    life.up()
    assert life.instance.begun_at == START
    life.now = START + timedelta(seconds=3590)
    life.taken()
    life.wait(WAITS[1])
    assert not life.look(policy)
    assert "was up for 1 hour" in words_of(life, policy)


def test_the_time_that_was_asked_for_is_not_gone_beyond() -> None:
    life = taken(stops_at=START + timedelta(seconds=70))
    life.wait(WAITS[0])
    assert not life.look()
    assert "launched for is over" in words_of(life)


@pytest.mark.parametrize("is_strict", [True, False])
def test_hours_that_have_ended_are_kept(is_strict: bool) -> None:  # noqa: FBT001 - a parameter of the test
    opens, closes = START - timedelta(hours=1), START + timedelta(seconds=65)
    hours = Hours((START.weekday(),), opens.time(), closes.time())
    policy = Policy("brain", schedule=Schedule("UTC", (hours,), is_strict))
    life = taken()
    life.wait(WAITS[0])
    assert not life.look(policy)
    assert "hours of brain" in words_of(life, policy)


@pytest.mark.parametrize("ending", [EventName.STOP, EventName.DELETE])
def test_what_its_person_ended_stays_ended(ending: EventName) -> None:
    life = Life()
    life.up()
    life.command(ending)
    life.wait(timedelta(hours=1))
    assert not life.look()
    life.apply(Event(EventName.BUILD_FAILED, ACTOR, reason=NONE_LEFT))
    life.wait(timedelta(hours=1))
    assert not life.look()


def test_stop_ends_a_relaunch_that_waits_and_start_brings_it_back() -> None:
    life = taken()
    assert Action.STOP in life.instance.allowed_actions()
    life.command(EventName.STOP)
    assert (life.instance.status, life.instance.desired_state) == (Status.STOPPING, DesiredState.STOPPED)
    life.wait(timedelta(hours=1))
    assert not life.look()
    life.apply(Event(EventName.BUILD_SUCCEEDED, ACTOR))
    life.command(EventName.START)
    assert [entry.after for entry in life.history[-3:]] == [Status.STOPPING, Status.STOPPED, Status.REQUESTED]


def test_only_what_waits_to_be_launched_again_can_be_stopped_once_it_failed() -> None:
    out_of_memory = Life()
    out_of_memory.up()
    out_of_memory.apply(Event(EventName.CRASHED, ACTOR, reason=Reason(ReasonCode.OUT_OF_MEMORY, "too much")))
    for life in (taken(is_relaunched=False), out_of_memory):
        assert Action.STOP not in life.instance.allowed_actions()
        with pytest.raises(RefusedError) as refused:
            life.command(EventName.STOP)
        assert refused.value.code is ErrorCode.NOT_ALLOWED_NOW


def test_a_platform_that_was_away_for_a_day_launches_nothing_that_nobody_waits_for() -> None:
    life = taken()
    life.wait(WITHIN + timedelta(seconds=1))
    assert not life.look()
    assert "within 24 hours" in words_of(life)


# --- whatever happens -------------------------------------------------------------------------------------------------

OPERATIONS = ("up", "nothing_left", "taken", "look", "stop", "start", "retry", "stopped")
STEPS = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 7200)), max_size=60)


def play(life: Life, operation: str) -> None:
    """Do it, where it can be done now."""
    try:
        if operation == "stopped":
            life.apply(Event(EventName.BUILD_SUCCEEDED, ACTOR))
        elif operation in {"stop", "start", "retry"}:
            life.command(EventName[operation.upper()])
        else:
            getattr(life, operation)()
    except RefusedError:
        pass


@given(STEPS)
def test_relaunches_are_the_retries_of_the_history_and_bounded_and_lengthen_no_lifetime(
    steps: list[tuple[str, int]],
) -> None:
    life = Life()
    for operation, seconds in steps:
        life.wait(timedelta(seconds=seconds))
        play(life, operation)
        found = life.relaunches
        assert all(sum(at <= one < at + WITHIN for one in found) <= MOST for at in found)
        assert life.instance.spot.count(life.now) == sum(life.now - at < WITHIN for at in found)
        assert life.instance.begun_at == life.commanded_at


@given(STEPS)
def test_compute_is_billed_for_what_the_history_says_that_it_ran(steps: list[tuple[str, int]]) -> None:
    life = Life()
    for operation, seconds in steps:
        life.wait(timedelta(seconds=seconds))
        play(life, operation)
    ran = timedelta(0)
    for entry, after in zip(life.history, life.history[1:], strict=False):
        if entry.after is Status.RUNNING:
            ran += (after.billed_until or after.at) - entry.at
    if life.instance.status is Status.RUNNING:
        ran += life.now - life.history[-1].at
    assert sum(span.seconds for span in compute_intervals(life.history, life.now)) == ran.total_seconds()
