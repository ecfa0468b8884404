"""Carries an event into the store: instance, history entry and build in one transaction, then the builder is started.

Save first, act second: whatever dies between the two, `watch` finds the queued build and starts it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nightingale.contract.build import BuildResult
from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import BuildState, ReasonCode, Status
from nightingale.domain.build import Build
from nightingale.domain.deadlines import Deadlines
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, HistoryEntry, Reason
from nightingale.domain.instance import Instance
from nightingale.ports.builder import Builder, BuilderFullError, BuilderUnavailableError, BuildSeen
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.store import ABSENT, ConditionFailedError, Delete, Item, Put, Store, Write
from nightingale.services import records
from nightingale.services.build_ends import end_event
from nightingale.services.build_variables import BuildVariables, spec_of
from nightingale.services.policies import Policies

_LOG = logging.getLogger(__name__)

_TRIES = 20  # other writers (watch, a person, metering) touch an instance rarely: losing so often, something is wrong

Announce = Callable[[Instance], None]
"""Told of the instance as it is about to be written."""


@dataclass(frozen=True)
class Stored:
    """An instance and the version under which it was read."""

    instance: Instance
    version: int


@dataclass(frozen=True)
class Lifecycle:
    """The one way by which a stored instance changes."""

    store: Store
    clock: Clock
    ids: Ids
    builders: Mapping[str, Builder]
    """By place."""
    variables: BuildVariables
    policies: Policies
    deadlines: Deadlines = field(default_factory=Deadlines)
    waiting: set[str] = field(default_factory=set)  # builds, by id, whose builder was full when it was asked last

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, project: str, instance_id: str) -> Stored | None:
        """Return the instance by its id, terminated or not, or None."""
        for is_ended in (False, True):
            item = self.store.get(records.instance_key(project, instance_id, is_ended=is_ended))
            if item is not None:
                return Stored(records.decode(item, Instance), item.version)
        return None

    def find_named(self, project: str, name: str) -> Stored | None:
        """Return the live instance that has this name, or None."""
        pointer = self.store.get(records.name_key(project, name))
        found = self.find(project, pointer.document["instance_id"]) if pointer is not None else None
        return found if found is not None and found.instance.status is not Status.TERMINATED else None

    def find_build(self, instance: Instance) -> tuple[Build, int] | None:
        """Return the build of the instance's present generation and its version, or None."""
        item = self.store.get(records.build_key(instance.id, instance.generation))
        return (records.decode(item, Build), item.version) if item is not None else None

    # --- changing -----------------------------------------------------------------------------------------------------

    def create(self, instance: Instance, entry: HistoryEntry, announce: Announce | None = None) -> Instance:
        """Save a new instance, its name, its first entry and its build, then start the build.

        `announce` as in `apply`. Raises RefusedError `name_taken` when a live instance of the project has the name, and
        what its policy refuses.
        """
        self.policies.require(instance, entry.event, entry.at)
        if self.find_named(instance.project, instance.name) is not None:
            raise _name_taken(instance)
        variables = self.variables.of(instance, previous=None)
        build = Build.queue(instance.build_id or "", instance, entry.at, variables)
        name = Item(records.name_key(instance.project, instance.name), {"instance_id": instance.id})
        writes = (
            Put(records.instance_item(instance, ABSENT)),
            Put(name),
            Put(records.history_item(instance.id, entry)),
            Put(records.build_item(build, ABSENT)),
        )
        if announce is not None:
            announce(instance)
        try:
            self.store.transact(writes)
        except ConditionFailedError as error:
            if error.key != name.key:
                raise
            raise _name_taken(instance) from error
        return self.start_build(instance)

    def apply(
        self,
        project: str,
        instance_id: str,
        event: Event,
        *,
        seen: Instance | None = None,
        announce: Announce | None = None,
    ) -> Instance:
        """Apply the event to the instance as it stands in the store, and start the build that the change asks for.

        With `seen`, the event says something about the instance as it was then: if its history has moved on since,
        nothing is changed. `announce` is called once, after every check and before anything is written: what it cannot
        tell does not happen. Raises RefusedError: `not_found`, `busy`, `not_allowed_now`, and what the policy refuses.
        """
        changed = self._write(project, instance_id, event, seen=seen, announce=announce)
        needs_build = changed.build_id == event.build_id and event.build_id is not None
        return self.start_build(changed) if needs_build else changed

    def touch(self, instance: Instance, change: Callable[[Instance], Instance]) -> Instance:
        """Write properties beside the status that make no history (activity); other writers win.

        Returns the instance as it stands then, unchanged when it no longer runs.
        """
        stored = self.find(instance.project, instance.id)
        if stored is None or stored.instance.status is not Status.RUNNING:
            return stored.instance if stored is not None else instance
        changed = change(stored.instance)
        if changed.status is not stored.instance.status or changed.seq != stored.instance.seq:
            raise ValueError("touch changes properties only: status changes go through apply()")
        try:
            self.store.put(records.instance_item(changed, stored.version))
        except ConditionFailedError:
            return stored.instance
        return changed

    def start_build(self, instance: Instance) -> Instance:
        """Hand the instance's queued build to the builder and record that it was started.

        Does nothing when the builder cannot take it now (`watch` tries again until the deadline) or the instance has
        moved on: a build of the past makes no machine. One that was started before is handed over again, which builders
        bear: one that died before it began knows nothing of it.
        """
        stored = self.find(instance.project, instance.id)
        now = stored.instance if stored is not None else instance
        is_due = now.is_in_flight and now.generation == instance.generation
        found = self.find_build(now) if is_due else None
        if found is None or found[0].finished_at is not None:
            return now
        build, version = found
        builder = self._hand_over(now, build)
        if builder is None or build.state is not BuildState.QUEUED:
            return now
        started = Put(records.build_item(build.started(self.clock.now()), version))
        event = Event(EventName.BUILD_STARTED, actor="platform")
        try:
            if now.status is Status.REQUESTED:
                return self._write(now.project, now.id, event, seen=now, also=(started,))
            self.store.transact([started])
        except (RefusedError, ConditionFailedError):
            # Somebody else recorded the start, or the deadline passed meanwhile and nobody waits for this build.
            stored = self.find(now.project, now.id)
            now = stored.instance if stored is not None else now
            if now.build_id != build.id or now.status is Status.FAILED:
                builder.cancel(build.id)
        return now

    def _hand_over(self, instance: Instance, build: Build) -> Builder | None:
        """Return the builder once it has taken the build, None when there is none or it cannot now."""
        spec = spec_of(instance, build, self.policies.catalog.load(), self.deadlines)
        builder = self.builders.get(instance.place)
        self.waiting.discard(build.id)
        try:
            if builder is not None:
                builder.start(spec)
        except BuilderUnavailableError as error:
            self.waiting.update({build.id} if isinstance(error, BuilderFullError) else ())
            _LOG.warning("build not started, will try again", extra={"build_id": build.id, "why": str(error)})
            return None
        return builder

    def end_build(self, instance: Instance, seen: BuildSeen) -> Instance:
        """Record how the build of this generation ended, and what that makes of the instance."""
        found = self.find_build(instance)
        if found is None or seen.result is None:
            return instance
        result, event = seen.result, end_event(instance, seen.result, self.ids)
        try:
            changed = self._end(instance, found, result, event)
        except RefusedError as refusal:
            if not instance.moving.is_leaving or refusal.code is not ErrorCode.INVALID:
                raise
            # The next place was good when it was launched, and the cluster file has changed since.
            reason = Reason(ReasonCode.NO_CAPACITY, refusal.message, refusal.next_step)
            changed = self._end(instance, found, result, Event(EventName.BUILD_FAILED, "platform", reason))
        return self.start_build(changed) if event.build_id in {changed.build_id} - {None} else changed

    def expire(self, instance: Instance, reason: Reason) -> Instance:
        """Fail an instance whose deadline has passed; a build that has not ended is cancelled and fails with it."""
        found = self.find_build(instance)
        if found is None or found[0].finished_at is not None:
            event = Event(EventName.DEADLINE_PASSED, actor="platform", reason=reason)
            return self._write(instance.project, instance.id, event, seen=instance)
        build = found[0]
        if instance.place in self.builders:
            self.builders[instance.place].cancel(build.id)
        result = BuildResult(
            build_id=build.id,
            is_ok=False,
            started_at=build.started_at or build.created_at,
            finished_at=self.clock.now(),
            code=reason.code,
            words=reason.words,
            next_step=reason.next_step,
        )
        return self._end(instance, found, result, Event(EventName.DEADLINE_PASSED, actor="platform"))

    def _end(self, instance: Instance, found: tuple[Build, int], result: BuildResult, event: Event) -> Instance:
        """Write the end of a build and what it means for its instance, both or neither."""
        build, version = found
        ended = build.ended(result)
        also = (Put(records.build_item(ended, version)),)
        # Where there is no new reason the old one stands: a stop that its lifetime asked for says so when it is done.
        event = replace(event, reason=event.reason or ended.reason or instance.reason)
        return self._write(instance.project, instance.id, event, seen=instance, also=also)

    def _write(
        self,
        project: str,
        instance_id: str,
        event: Event,
        *,
        seen: Instance | None,
        also: Sequence[Write] = (),
        announce: Announce | None = None,
    ) -> Instance:
        for _ in range(_TRIES):
            stored = self.find(project, instance_id)
            if stored is None:
                raise not_found(instance_id, project)
            before = stored.instance
            if seen is not None and before.seq != seen.seq:
                raise RefusedError(
                    ErrorCode.NOT_ALLOWED_NOW, f"{before.name} was changed meanwhile", "Look again, then try again."
                )
            after, entry = before.apply(event, self.clock.now())
            self.policies.require(after, event.name, entry.at)
            writes = [*self._writes(before, after, entry, stored.version), *also]
            if announce is not None:
                announce(after)
                announce = None
            try:
                self.store.transact(writes)
            except ConditionFailedError as error:
                if error.key in {write.item.key for write in also if isinstance(write, Put)}:
                    raise
                continue
            return after
        raise RefusedError(
            ErrorCode.BUSY, f"{instance_id} is being changed by others at this moment", "Try again in a second."
        )

    def _writes(self, before: Instance, after: Instance, entry: HistoryEntry, version: int) -> tuple[Write, ...]:
        history = Put(records.history_item(after.id, entry))
        if after.status is Status.TERMINATED:
            name = self.store.get(records.name_key(after.project, after.name))
            freed = (Delete(name.key, name.version),) if name and name.document["instance_id"] == after.id else ()
            key = records.instance_key(before.project, before.id)
            return (Delete(key, version), Put(records.instance_item(after, ABSENT)), history, *freed)
        item = Put(records.instance_item(after, version))
        if entry.build_id is None:
            return (item, history)
        previous = self.find_build(before)
        variables = self.variables.of(after, previous=previous[0].variables if previous is not None else None)
        build = Build.queue(entry.build_id, after, entry.at, variables)
        return (item, history, Put(records.build_item(build, ABSENT)))


def _name_taken(instance: Instance) -> RefusedError:
    return RefusedError(
        ErrorCode.NAME_TAKEN,
        f"an instance named {instance.name} already lives in {instance.project}",
        "Choose another name, or delete that instance first.",
    )


def not_found(instance: str, project: str) -> RefusedError:
    """Return the refusal for an instance that is not there (or not for this person to know of)."""
    return RefusedError(
        ErrorCode.NOT_FOUND, f"no instance {instance} in {project}", "See what there is: nightingale ps -a."
    )
