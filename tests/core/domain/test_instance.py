"""The transition table under any sequence of events, legal or not, with a clock that may be set back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from doubles.clocks import START
from doubles.lives import SIZES, Life
from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import Size
from nightingale.contract.vocabulary import IN_FLIGHT, Action, DesiredState, ReasonCode, Status
from nightingale.domain.deadlines import Deadlines
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, Reason
from nightingale.domain.instance import Instance
from nightingale.domain.moving import Moving

E, S = EventName, Status

TABLE: dict[EventName, dict[Status, set[Status]]] = {
    # As the docstring of nightingale.domain.transitions says it, written down a second time.
    E.BUILD_STARTED: {S.REQUESTED: {S.PROVISIONING}},
    E.BUILD_SUCCEEDED: {
        S.PROVISIONING: {S.STARTING, S.REQUESTED},
        S.STOPPING: {S.STOPPED},
        S.RESIZING: {S.STARTING, S.STOPPED},
        S.TERMINATING: {S.TERMINATED},
    },
    E.BUILD_FAILED: {status: {S.FAILED} for status in IN_FLIGHT if status is not S.STARTING},
    E.MOVED_ON: {S.PROVISIONING: {S.REQUESTED}},
    E.BECAME_READY: {S.STARTING: {S.RUNNING}},
    E.CRASHED: {S.STARTING: {S.FAILED}, S.RUNNING: {S.FAILED}},
    E.DEADLINE_PASSED: {status: {S.FAILED} for status in IN_FLIGHT},
    E.WENT_UNREACHABLE: {S.RUNNING: {S.RUNNING}},
    E.CAME_BACK: {S.RUNNING: {S.RUNNING}},
    E.STAYED_AWAY: {S.RUNNING: {S.FAILED}},
    E.STOP: {S.RUNNING: {S.STOPPING}},
    E.START: {S.STOPPED: {S.REQUESTED}},
    E.RESIZE: {S.RUNNING: {S.RESIZING}, S.STOPPED: {S.RESIZING}},
    E.RETRY: {S.FAILED: {S.REQUESTED, S.STOPPING, S.RESIZING, S.TERMINATING}},
    E.DELETE: {S.RUNNING: {S.TERMINATING}, S.STOPPED: {S.TERMINATING}, S.FAILED: {S.TERMINATING}},
    E.EXTEND: {S.RUNNING: {S.RUNNING}},
    E.QUARANTINE: {status: {status} for status in Status if status is not S.TERMINATED},
    E.RELEASE: {status: {status} for status in Status if status is not S.TERMINATED},
}
COMMANDS = {E.STOP, E.START, E.RESIZE, E.RETRY, E.DELETE, E.EXTEND}
BUILDS = {S.REQUESTED, S.STOPPING, S.RESIZING, S.TERMINATING}


class InstanceLife(RuleBasedStateMachine):
    """Any event at any time; what an event must keep is checked where it happens, what always holds after each."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        life = Life()
        moving = Moving(elsewhere=("aws-eu", "gcp"))
        self.instance: Instance = replace(life.instance, moving=moving)
        self.history = list(life.history)
        self.builds = 1

    @rule(
        name=st.sampled_from([name for name in EventName if name is not E.LAUNCH]),
        step=st.integers(-60, 4_000),
        ago=st.integers(-5, 5_000),
        size=st.sampled_from(SIZES),
    )
    def anything_happens(self, name: EventName, step: int, ago: int, size: Size) -> None:
        self.now += timedelta(seconds=step)
        self.happen(name, ago, size)

    @precondition(lambda self: self.instance.status is not S.TERMINATED)
    @rule(data=st.data(), ago=st.integers(0, 60), size=st.sampled_from(SIZES))
    def something_possible_happens(self, data: st.DataObject, ago: int, size: Size) -> None:
        possible = [name for name in TABLE if self.instance.accepts(name)]
        self.happen(data.draw(st.sampled_from(possible)), ago, size)

    def happen(self, name: EventName, ago: int, size: Size) -> None:
        before = self.instance
        event = Event(
            name,
            actor="ada",
            reason=Reason(ReasonCode.JUPYTER_EXITED, "it ended"),
            size=size if name is E.RESIZE else None,
            build_id=f"b-{self.builds + 1}",
            last_good_at=self.now - timedelta(seconds=ago),
            is_despite_quarantine=ago % 2 == 0,
        )
        if before.is_quarantined and name in COMMANDS and not (name in {E.STOP, E.DELETE} and ago % 2 == 0):
            with pytest.raises(RefusedError) as refused:
                before.apply(event, self.now)
            assert refused.value.code is ErrorCode.FORBIDDEN
            return
        may_move = name is not E.MOVED_ON or before.can_move_on
        if name in {E.QUARANTINE, E.RELEASE}:
            may_move = before.is_quarantined is (name is E.RELEASE)
        assert before.accepts(name) == (before.status in TABLE[name] and may_move)
        if not before.accepts(name):
            with pytest.raises(RefusedError) as caught:
                before.apply(event, self.now)
            is_busy = name in COMMANDS and before.is_in_flight
            assert caught.value.code is (ErrorCode.BUSY if is_busy else ErrorCode.NOT_ALLOWED_NOW)
            assert caught.value.next_step
            return
        after, entry = before.apply(event, self.now)
        assert after.status in TABLE[name][before.status]
        assert (entry.before, entry.after, entry.event) == (before.status, after.status, name)
        assert (entry.seq, entry.at, entry.size, entry.generation) == (
            after.seq,
            after.changed_at,
            after.size,
            after.generation,
        )
        assert entry.at >= self.now
        assert after.status_at == (before.status_at if after.status is before.status else entry.at)
        asks_for_build = after.status in BUILDS and after.status is not before.status
        assert after.generation == before.generation + (1 if asks_for_build else 0)
        assert after.build_id == (event.build_id if asks_for_build else before.build_id)
        assert entry.build_id == (event.build_id if asks_for_build else None)
        self.builds += 1 if asks_for_build else 0
        self.check_billing(before, entry.billed_until, entry.at, after)
        if name is E.RETRY:
            self.check_retry(before, after)
        if name in {E.QUARANTINE, E.RELEASE}:
            assert (after.reason, after.action) == (before.reason, before.action)
        else:
            assert after.quarantine == before.quarantine
        if after.status is S.FAILED:
            assert after.reason is not None
            assert after.reason.action is after.action
        self.instance = after
        self.history.append(entry)

    def check_billing(self, before: Instance, billed_until: datetime | None, at: datetime, after: Instance) -> None:
        if before.status is S.RUNNING and after.status is not S.RUNNING:
            assert before.running_since is not None
            assert billed_until is not None
            assert before.running_since <= billed_until <= at
        else:
            assert billed_until is None

    def check_retry(self, before: Instance, after: Instance) -> None:
        """What failed is done again: the last entry with a build says what that was."""
        asked = next(entry for entry in reversed(self.history) if entry.build_id is not None)
        if asked.after is S.RESIZING and not before.was_stopped:
            assert after.status is S.REQUESTED
            assert after.desired_state is DesiredState.RUNNING
        else:
            assert after.status is asked.after

    @invariant()
    def entries_are_numbered_without_gaps_and_times_never_go_back(self) -> None:
        assert [entry.seq for entry in self.history] == list(range(1, len(self.history) + 1))
        assert self.instance.seq == len(self.history)
        times = [entry.at for entry in self.history]
        assert times == sorted(times)
        assert all(one.after is other.before for one, other in zip(self.history, self.history[1:], strict=False))

    @invariant()
    def generations_count_the_builds(self) -> None:
        assert self.instance.generation == self.builds == sum(entry.build_id is not None for entry in self.history)

    @invariant()
    def running_since_stands_only_while_running(self) -> None:
        is_running = self.instance.status is S.RUNNING
        assert (self.instance.running_since is not None) == is_running
        if not is_running:
            assert self.instance.unreachable_since is None
            assert not self.instance.is_idle
        else:
            opened = max(entry.seq for entry in self.history if entry.event is E.BECAME_READY)
            assert self.instance.running_since == self.history[opened - 1].at
            assert self.instance.reason is None

    @invariant()
    def each_place_is_tried_once_and_left_empty(self) -> None:
        launch = [entry for entry in self.history if entry.event in {E.LAUNCH, E.MOVED_ON, E.BUILD_SUCCEEDED}]
        places = [place for place, _ in itertools.groupby(entry.place for entry in launch)]
        assert places == [*self.instance.moving.left, self.instance.place]
        assert len(set(places)) == len(places)
        moving = self.instance.moving
        assert (*moving.left, self.instance.place, *moving.elsewhere) == ("local", "aws-eu", "gcp")
        if moving.is_leaving and self.instance.status is not S.FAILED:
            assert self.instance.desired_state is DesiredState.ABSENT

    @invariant()
    def it_is_in_quarantine_as_its_history_says(self) -> None:
        changes = [entry for entry in self.history if entry.event in {E.QUARANTINE, E.RELEASE}]
        assert [entry.event for entry in changes] == [E.QUARANTINE, E.RELEASE] * (len(changes) // 2) + (
            [E.QUARANTINE] if len(changes) % 2 else []
        )
        assert self.instance.is_quarantined == (len(changes) % 2 == 1)
        if self.instance.quarantine is not None:
            since = [entry.at for entry in changes if entry.event is E.QUARANTINE][-1]
            until = changes[-1].at if changes[-1].event is E.RELEASE else None
            assert (self.instance.quarantine.since, self.instance.quarantine.released_at) == (since, until)

    @invariant()
    def terminated_is_the_end(self) -> None:
        if self.instance.status is S.TERMINATED:
            assert not any(self.instance.accepts(name) for name in TABLE)
            assert self.instance.allowed_actions() == ()
            assert self.instance.terminated_at == self.instance.status_at
        else:
            assert self.instance.terminated_at is None
            assert all(entry.after is not S.TERMINATED for entry in self.history)

    @invariant()
    def whatever_is_not_terminated_can_move_on(self) -> None:
        status = self.instance.status
        is_still = status is S.STARTING and self.instance.is_quarantined
        assert (self.instance.deadline(Deadlines()) is not None) == (status in IN_FLIGHT and not is_still)
        assert self.instance.accepts(E.RELEASE) or not is_still
        if status in IN_FLIGHT:
            assert self.instance.allowed_actions() == ()
            assert self.instance.accepts(E.DEADLINE_PASSED)
        elif status is S.FAILED:
            assert set(self.instance.allowed_actions()) == {Action.RETRY, Action.DELETE}
        assert (Action.OPEN in self.instance.allowed_actions()) == (status is S.RUNNING)


TestAnyLife = InstanceLife.TestCase
TestAnyLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_resize_of_a_stopped_instance_ends_stopped_also_when_it_is_tried_again():
    life = Life()
    life.run(START)
    life.apply(E.STOP, START)
    life.apply(E.BUILD_SUCCEEDED, START)
    life.apply(E.RESIZE, START, size=SIZES[1])
    assert life.instance.desired_state is DesiredState.STOPPED
    life.apply(E.BUILD_FAILED, START)
    life.apply(E.RETRY, START)
    assert (life.instance.status, life.instance.desired_state) == (S.RESIZING, DesiredState.STOPPED)
    life.apply(E.BUILD_SUCCEEDED, START)
    assert (life.instance.status, life.instance.size) == (S.STOPPED, SIZES[1])


def test_a_crash_after_a_resize_is_retried_as_a_launch_and_runs_again():
    life = Life()
    life.run(START)
    life.apply(E.RESIZE, START, size=SIZES[1])
    life.apply(E.BUILD_SUCCEEDED, START)
    life.apply(E.BECAME_READY, START)
    life.apply(E.CRASHED, START, last_good_at=START)
    life.apply(E.RETRY, START)
    life.run(START)
    assert life.instance.status is S.RUNNING


def test_a_crash_without_any_good_probe_is_billed_until_it_was_seen():
    life = Life()
    life.run(START)
    life.apply(E.CRASHED, START + timedelta(seconds=9))
    assert life.history[-1].billed_until is None


@pytest.mark.parametrize("status", sorted(IN_FLIGHT))
def test_every_status_in_flight_has_a_deadline_after_it_began(status):
    instance = replace(Life().instance, status=status)
    deadline = instance.deadline(Deadlines())
    assert deadline is not None
    assert timedelta(seconds=30) <= deadline - instance.status_at <= timedelta(minutes=10)


def test_extending_moves_the_stop_time_and_not_the_time_of_the_status():
    life = Life()
    life.run(START)
    since = life.instance.status_at
    later = START + timedelta(hours=1)
    life.apply(E.EXTEND, later)
    assert life.instance.status_at == since
    assert life.instance.changed_at == life.history[-1].at == later


def test_a_crash_while_running_is_no_failure_of_the_resize_before_it():
    life = Life()
    life.run(START)
    life.apply(E.RESIZE, START, size=SIZES[1])
    life.apply(E.BUILD_SUCCEEDED, START)
    life.apply(E.BECAME_READY, START)
    life.apply(E.CRASHED, START)
    assert life.instance.reason is not None
    assert life.instance.reason.action is Action.START
    life.apply(E.RETRY, START)
    assert life.instance.status is S.REQUESTED
