"""The instance and its life. `Instance.apply` is the only writer of `status`.

`domain.transitions` has the table of every transition. Commands that come while a status is in flight are `busy`. Times
are aware UTC in whole seconds and never before the entry before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import LimitOut, ObserverOut, Size
from nightingale.contract.vocabulary import IN_FLIGHT, Action, DesiredState, ReasonCode, Status
from nightingale.domain.deadlines import Deadlines, timed_from
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, HistoryEntry, Mount, Reason
from nightingale.domain.moving import STAYS, Moving
from nightingale.domain.quarantine import CHANGES, WORDS, Quarantine, accepts_change, require_free, with_change
from nightingale.domain.spot import ON_DEMAND, Spot, asks_for_relaunch
from nightingale.domain.transitions import COMMANDS, NEEDS_BUILD, TABLE
from nightingale.domain.watching import NO_WATCHING, Watching
from nightingale.domain.work import NO_WORK, Work


@dataclass(frozen=True)
class Instance:
    """A locked-down machine with a Jupyter server, owned by one person in one project."""

    id: str
    name: str
    project: str
    owner: str
    size: Size
    place: str
    image: str
    mounts: tuple[Mount, ...]
    tier: int
    status: Status
    created_at: datetime
    status_at: datetime
    """When it entered its status."""
    changed_at: datetime
    """When the last entry of its history was made; the next is never before."""
    generation: int
    seq: int
    action: Action
    """The action under way, or the last one."""
    build_id: str | None
    request_id: str = ""
    up_since: datetime | None = None
    running_since: datetime | None = None
    stops_at: datetime | None = None
    extended_at: datetime | None = None
    is_off_by_schedule: bool = False
    last_activity_at: datetime | None = None
    is_idle: bool = False
    unreachable_since: datetime | None = None
    quarantine: Quarantine | None = None
    """The latest one; it may have ended."""
    was_stopped: bool = False
    """It was stopped when the resize under way was asked for."""
    reason: Reason | None = None
    sandbox: str | None = None
    limits: tuple[LimitOut, ...] = ()
    observer: ObserverOut | None = None
    image_digest: str | None = None
    work: Work = NO_WORK
    watching: Watching = NO_WATCHING
    moving: Moving = STAYS
    spot: Spot = ON_DEMAND
    terminated_at: datetime | None = None

    @staticmethod
    def launch(
        *,
        instance_id: str,
        name: str,
        project: str,
        owner: str,
        size: Size,
        place: str,
        image: str,
        mounts: tuple[Mount, ...],
        tier: int,
        at: datetime,
        build_id: str,
        request_id: str,
        stops_at: datetime | None,
        moving: Moving = STAYS,
        spot: Spot = ON_DEMAND,
    ) -> tuple[Instance, HistoryEntry]:
        """Return a new instance in `requested` and the first entry of its history."""
        instance = Instance(
            id=instance_id,
            name=name,
            project=project,
            owner=owner,
            size=size,
            place=place,
            image=image,
            mounts=mounts,
            tier=tier,
            status=Status.REQUESTED,
            created_at=at,
            status_at=at,
            changed_at=at,
            generation=1,
            seq=1,
            action=Action.LAUNCH,
            build_id=build_id,
            request_id=request_id,
            up_since=at,
            stops_at=stops_at,
            moving=moving,
            spot=spot,
        )
        entry = HistoryEntry(
            1, at, EventName.LAUNCH, None, Status.REQUESTED, owner, size, 1, build_id=build_id, place=place
        )
        return instance, entry

    @property
    def begun_at(self) -> datetime:
        """When the launch, start or retry that brought it up was accepted; records of before policies say less."""
        return self.up_since or self.running_since or self.created_at

    @property
    def is_quarantined(self) -> bool:
        """Whether it is in quarantine now."""
        return self.quarantine is not None and self.quarantine.is_held

    @property
    def is_in_flight(self) -> bool:
        """Whether something is under way, so that commands are busy."""
        return self.status in IN_FLIGHT

    @property
    def desired_state(self) -> DesiredState:
        """What the build of the status in flight is to make true."""
        if self.status is Status.TERMINATING or self.moving.is_leaving:
            return DesiredState.ABSENT
        if self.status is Status.STOPPING or (self.status is Status.RESIZING and self.was_stopped):
            return DesiredState.STOPPED
        return DesiredState.RUNNING

    def allowed_actions(self) -> tuple[Action, ...]:
        """Return what may be asked of it now."""
        actions = tuple(action for event, action in COMMANDS.items() if self.accepts(event))
        return (*actions, Action.OPEN) if self.status is Status.RUNNING else actions

    def accepts(self, event: EventName) -> bool:
        """Return whether the event has a place in the present status."""
        if event is EventName.MOVED_ON and not self.can_move_on:
            return False
        if event is EventName.STOP and self.status is Status.FAILED:
            return asks_for_relaunch(self)
        if event in CHANGES:
            return accepts_change(self, event)
        return self.status in TABLE.get(event, {})

    @property
    def can_move_on(self) -> bool:
        """Whether its launch may go on in another place: it was asked to, and there is one not tried yet."""
        return self.action is Action.LAUNCH and bool(self.moving.elsewhere) and not self.moving.is_leaving

    def deadline(self, deadlines: Deadlines) -> datetime | None:
        """Return when the status in flight must have ended, None when nothing is under way or it stands still."""
        since = timed_from(self)
        return since + deadlines.of(self.status) if self.is_in_flight and since is not None else None

    def apply(self, event: Event, now: datetime) -> tuple[Instance, HistoryEntry]:
        """Return the instance after `event`, and the entry that records it.

        Raises RefusedError: `busy` for a command during flight, `not_allowed_now` for any other event out of place,
        `forbidden` for what quarantine does not allow.
        """
        require_free(self, event)
        if not self.accepts(event.name):
            raise self._refusal(event.name)
        after = TABLE[event.name][self.status] or self._target(event.name)
        at = max(now, self.changed_at)
        needs_build = after in NEEDS_BUILD and after is not self.status
        generation = self.generation + 1 if needs_build else self.generation
        action = self._action(event.name)
        told = WORDS.get(event.name, event.reason)
        reason = replace(told, action=told.action or action) if told is not None else None
        billed_until = None
        if self.status is Status.RUNNING and event.last_good_at is not None and after is not Status.RUNNING:
            billed_until = min(at, max(event.last_good_at, self.running_since or at))
        changed = self._with_event(event, after, at)
        changed = replace(
            changed,
            status=after,
            status_at=self.status_at if after is self.status else at,
            changed_at=at,
            seq=self.seq + 1,
            generation=generation,
            action=action,
            build_id=event.build_id if needs_build else self.build_id,
            reason=self.reason if event.name in CHANGES else reason if after is not Status.RUNNING else None,
        )
        entry = HistoryEntry(
            changed.seq,
            at,
            event.name,
            self.status,
            after,
            event.actor,
            changed.size,
            generation,
            billed_until=billed_until,
            build_id=changed.build_id if needs_build else None,
            reason=reason,
            image_digest=event.image_digest,
            place=changed.place,
            note=event.note,
        )
        return changed, entry

    def _with_event(self, event: Event, after: Status, at: datetime) -> Instance:
        """Return the properties beside the status as the event leaves them."""
        if event.name is EventName.WENT_UNREACHABLE:
            return replace(self, unreachable_since=event.last_good_at or at)
        if event.name is EventName.CAME_BACK:
            return replace(self, unreachable_since=None)
        if event.name is EventName.EXTEND:
            return replace(self, stops_at=event.stops_at, extended_at=at)
        if event.name in CHANGES:
            is_back = event.name is EventName.RELEASE
            since = None if is_back else self.unreachable_since  # silence was asked for
            return replace(self, quarantine=with_change(self, event, at), unreachable_since=since)
        if event.name is EventName.BECAME_READY:
            seen = replace(self, sandbox=event.sandbox, limits=event.limits, observer=event.observer)
            seen = replace(seen, spot=self.spot.settled())
            return replace(seen, running_since=at, last_activity_at=at, is_idle=False, image_digest=event.image_digest)
        changed = _with_place(_with_begin(self, event, at), event, after)
        if event.name is EventName.RESIZE:
            changed = replace(changed, size=event.size or self.size, was_stopped=self.status is Status.STOPPED)
        if self.status is Status.RUNNING and after is not Status.RUNNING:
            changed = replace(changed, running_since=None, unreachable_since=None, is_idle=False)
        if after in {Status.STOPPING, Status.TERMINATING}:
            changed = replace(changed, stops_at=None)
        if after is Status.TERMINATED:
            changed = replace(changed, terminated_at=at)
        return changed

    def _action(self, event: EventName) -> Action:
        """Return the action under way after the event. A retry carries on with the action that failed.

        A server that ends by itself failed at no action: starting it is what a retry does.
        """
        if self.status is Status.RUNNING and event not in COMMANDS and event not in CHANGES:
            return Action.START
        if event in COMMANDS and event not in {EventName.RETRY, EventName.EXTEND}:
            return COMMANDS[event]
        return self.action

    def _target(self, event: EventName) -> Status:
        """Return where events lead whose target depends on the instance."""
        if event is EventName.BUILD_SUCCEEDED and self.status is Status.PROVISIONING:
            return Status.REQUESTED if self.moving.is_leaving else Status.STARTING
        if event is EventName.BUILD_SUCCEEDED:
            return Status.STOPPED if self.was_stopped else Status.STARTING
        if self.action is Action.RESIZE and self.was_stopped:
            return Status.RESIZING
        return {Action.STOP: Status.STOPPING, Action.DELETE: Status.TERMINATING}.get(self.action, Status.REQUESTED)

    def _refusal(self, event: EventName) -> RefusedError:
        if event in COMMANDS and self.is_in_flight:
            words = f"{self.name} is {self.status.value}: it takes no commands until that ends"
            return RefusedError(ErrorCode.BUSY, words, "Wait for it to end (nightingale ps --watch), then try again.")
        allowed = ", ".join(action.value for action in self.allowed_actions()) or "nothing"
        words = f"{self.name} is {self.status.value}: {event.value} has no place there"
        return RefusedError(ErrorCode.NOT_ALLOWED_NOW, words, f"Possible now: {allowed}.")


def _with_place(instance: Instance, event: Event, after: Status) -> Instance:
    """Return the instance on its way out of its place, or in the next one."""
    if event.name is EventName.MOVED_ON:
        return replace(instance, moving=instance.moving.leave(instance.place))
    if event.name is EventName.BUILD_SUCCEEDED and after is Status.REQUESTED:
        place, moving = instance.moving.arrive(instance.place)
        return replace(instance, place=place, moving=moving)
    return instance


def _with_begin(instance: Instance, event: Event, at: datetime) -> Instance:
    """Return the instance with when a person brought it up, and whether it was the schedule that took it down."""
    if event.is_relaunch:
        return replace(instance, spot=instance.spot.relaunched(at))
    if event.name in COMMANDS:
        instance = replace(instance, spot=instance.spot.settled())
    if event.name in {EventName.START, EventName.STOP}:
        code = event.reason.code if event.reason is not None else None
        instance = replace(instance, is_off_by_schedule=code is ReasonCode.SCHEDULE)
    return replace(instance, up_since=at) if event.name in {EventName.START, EventName.RETRY} else instance
