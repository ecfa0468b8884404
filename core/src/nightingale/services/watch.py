"""Watching: what stands behind the instances is looked at, and what was seen becomes an event.

Three beats. Every 50 ms whatever is in flight: has its build ended, is its server ready? Every second each running
server is probed. Now and then the list of instances is read anew.
Probes stay in memory; only edges are written, plus one last-good vector a shard every 10 s, so that a crash found after
a restart of the watcher is billed to within those 10 s. Any of this may run twice or late: events about a generation
that has passed, or out of place in the present status, change nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from nightingale.contract.vocabulary import IN_FLIGHT, BuildState, Status
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName
from nightingale.domain.instance import Instance
from nightingale.domain.policy import Uses
from nightingale.ports.clock import Clock
from nightingale.ports.machines import Machines, MachineSeen, MachineState
from nightingale.ports.prober import ProbeOutcome, Prober
from nightingale.ports.store import ConditionFailedError, Store
from nightingale.services import records
from nightingale.services.activity import active_at, activity_edge
from nightingale.services.addresses import Addresses
from nightingale.services.clock_steps import ClockSteps
from nightingale.services.holding import Holding
from nightingale.services.known_instances import KnownInstances
from nightingale.services.last_good import LastGood
from nightingale.services.lifecycle import Lifecycle
from nightingale.services.looks import look_at, look_at_build, ready_event, tail_of
from nightingale.services.overdue import fail_overdue
from nightingale.services.policies import Times
from nightingale.services.probing import Probing, Seen
from nightingale.services.quarantine import QuarantineService
from nightingale.services.reasons import crash_reason, silence_reason

_LOG = logging.getLogger(__name__)
_ACTOR = "platform"
_ASKED_AT_ONCE = 16  # servers, when they were last used: one that hangs holds up few others


@dataclass(frozen=True)
class WatchLimits:
    """How often to look, and how long silence is borne. Seconds."""

    probe_timeout: float = 2.0
    silent_for: timedelta = timedelta(seconds=5)
    idle_after: timedelta = timedelta(minutes=10)
    suspect_self_from: int = 4
    """With at least so many running servers, more than half silent at once means that the watcher is at fault."""


@dataclass
class Watch:
    """The watcher of some shards. Its beats may run at the same time; what is known of an instance never goes back."""

    store: Store
    clock: Clock
    lifecycle: Lifecycle
    machines: Mapping[str, Machines]
    prober: Prober
    quarantine: QuarantineService
    limits: WatchLimits = WatchLimits()
    shards: tuple[int, ...] = tuple(range(records.SHARDS))
    _suspects: set[str] = field(default_factory=set)
    _asked_builder_at: dict[str, datetime] = field(default_factory=dict)
    _steps: ClockSteps = field(default_factory=ClockSteps)

    def __post_init__(self) -> None:
        """Make what it remembers."""
        self._last_good = LastGood(self.store, self.shards)
        self._known = KnownInstances(self.store, self.clock, self.shards)
        self._addresses = Addresses(self.machines)
        self._probing = Probing(self.clock, self._probe)
        self._holding = Holding(self.quarantine, self.clock, self._known)

    # --- what is there ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take up what others changed. The indexes may lag: every decision re-reads by key."""
        if not self._known.refresh():
            return
        ids = self._known.ids()
        self._last_good.forget_all_but(ids)
        self._addresses.forget_all_but(ids)
        self._asked_builder_at = {key: at for key, at in tuple(self._asked_builder_at.items()) if key in ids}
        self._suspects &= ids

    def load_last_good(self) -> None:
        """Take up what the watcher before left behind."""
        self._last_good.load()

    def save_last_good(self) -> None:
        """Write down when each server last answered."""
        self._last_good.save()

    @property
    def has_in_flight(self) -> bool:
        """Whether anything moves, so that the fast beat is worth its while."""
        return bool(self._suspects) or bool(self._known.in_flight())

    # --- the fast beat: what is in flight -----------------------------------------------------------------------------

    async def beat_in_flight(self) -> None:
        """Look at every build and every starting server once."""
        await asyncio.to_thread(self._look_at_builds)
        up = await asyncio.to_thread(self._look_at_starting)
        outcomes = await asyncio.gather(*(self._probe(instance) for instance, _ in up))
        for (instance, seen), outcome in zip(up, outcomes, strict=True):
            if outcome is ProbeOutcome.OK:
                await asyncio.to_thread(self._become_ready, instance, seen)
        await asyncio.to_thread(self._look_at_suspects)
        await asyncio.to_thread(self._enforce_deadlines)

    def _look_at_builds(self) -> None:
        for instance in self._in({*IN_FLIGHT} - {Status.STARTING}):
            seen = look_at_build(self.lifecycle.builders, instance)
            if seen is None:
                continue
            if seen.state is BuildState.QUEUED:
                self._start_again(instance)
            elif instance.status is Status.REQUESTED:
                # It has begun, or even ended, and whoever began it died before saying so: this records the start.
                self._keep(instance, partial(self.lifecycle.start_build, instance))
            elif seen.result is not None:
                self._keep(instance, partial(self.lifecycle.end_build, instance, seen))

    def _start_again(self, instance: Instance) -> None:
        """Start what was saved and not started; not more often than once a second."""
        now = self.clock.now()
        if self._asked_builder_at.get(instance.id) == now:
            return
        self._asked_builder_at[instance.id] = now
        if now != instance.status_at:  # before it, too: the clock may have stepped back
            self._keep(instance, partial(self.lifecycle.start_build, instance))

    def _look_at_starting(self) -> list[tuple[Instance, MachineSeen]]:
        up: list[tuple[Instance, MachineSeen]] = []
        for instance in self._in({Status.STARTING}):
            seen = look_at(self.machines, instance)
            if seen is None:
                continue
            if seen.state is MachineState.UP and not instance.is_quarantined:
                self._addresses.look_up((instance,))
                up.append((instance, seen))
            elif seen.state in {MachineState.EXITED, MachineState.GONE}:
                self._crashed(instance, seen)
        return up

    def _become_ready(self, instance: Instance, seen: MachineSeen) -> None:
        if seen.launcher is None:
            return
        self._apply(instance, ready_event(instance, seen.launcher))
        self._last_good.note(instance.id, self.clock.now())

    def _enforce_deadlines(self) -> None:
        fail_overdue(self.lifecycle, self._known, self._steps, self.clock.now(), self._keep, places=self.machines)

    def _enforce_policy(self, instances: Iterable[Instance], uses: Uses | None = None) -> None:
        """Stop and start what the times of these instances ask for; idleness counts where `uses` were just seen."""
        cluster = self.lifecycle.policies.catalog.load()
        times = Times(cluster, self.machines, self.lifecycle.ids, self.clock.now())
        for instance in instances:
            if instance.place in self.machines and (event := times.due(instance, uses)) is not None:
                self._apply(instance, event)

    # --- the slow beat: what runs -------------------------------------------------------------------------------------

    async def beat_running(self) -> None:
        """Probe every running server once, and keep to the times at which instances end."""
        self._steps.note(self.clock.now())
        running = self._in({Status.RUNNING})
        # What is frozen answers nobody, and is not silent by itself: of it only its end is news.
        awake = [one for one in running if not one.is_quarantined]
        await asyncio.to_thread(self._addresses.look_up, awake)
        seen, late = await self._probing.begin_round([one for one in awake if self._addresses.knows(one)])
        await asyncio.to_thread(self._look_at_frozen, running)
        await asyncio.to_thread(self._take_outcomes, seen, late)
        await asyncio.to_thread(self._enforce_deadlines)
        await asyncio.to_thread(self._enforce_policy, self._known.all())

    def _take_outcomes(self, seen: list[Seen], late: int) -> None:
        now = self.clock.now()
        bad: list[Instance] = []
        for one in seen:
            instance = self._known.find(one.instance.id)
            if instance is None or instance.running_since != one.instance.running_since:
                continue  # what was probed is no more, or was started anew since
            if instance.is_quarantined:
                continue
            if one.outcome is ProbeOutcome.OK:
                self._last_good.note(instance.id, one.at)
                self._suspects.discard(instance.id)
                if instance.unreachable_since is not None:
                    self._apply(instance, Event(EventName.CAME_BACK, _ACTOR))
            elif not self._look_for_crash(instance):
                bad.append(instance)
        silent, probed = len(bad) + late, len(seen) + late
        if probed >= self.limits.suspect_self_from and silent * 2 > probed:
            _LOG.error("most servers silent at once: the watcher suspects itself", extra={"silent": silent})
            return
        for instance in bad:
            self._silent(instance, now)

    def _silent(self, instance: Instance, now: datetime) -> None:
        self._suspects.add(instance.id)
        good, away = self._last_good.of(instance), instance.unreachable_since
        if away is None:
            if self._steps.lasted(f"{instance.id}/good", good, now) >= self.limits.silent_for:
                self._apply(instance, Event(EventName.WENT_UNREACHABLE, _ACTOR, last_good_at=good))
        elif self._steps.lasted(f"{instance.id}/away", away, now) >= self.lifecycle.deadlines.unreachable:
            reason = silence_reason(good, tail_of(self.machines, instance))
            self._apply(instance, Event(EventName.STAYED_AWAY, _ACTOR, reason=reason, last_good_at=good))

    def _look_at_frozen(self, running: Iterable[Instance]) -> None:
        """Note that what is in quarantine is still there: it is billed, and its silence is not counted afterwards."""
        now = self.clock.now()
        for instance in running:
            if instance.is_quarantined and not self._look_for_crash(instance):
                self._last_good.note(instance.id, now)

    def beat_quarantine(self) -> None:
        """Let machines follow the quarantine of their instances. Raises StoreUnavailableError."""
        self._holding.beat()

    def _look_at_suspects(self) -> None:
        for instance_id in tuple(self._suspects):
            instance = self._known.find(instance_id)
            if instance is not None and instance.status is Status.RUNNING:
                self._look_for_crash(instance)
            else:
                self._suspects.discard(instance_id)

    def _look_for_crash(self, instance: Instance) -> bool:
        seen = look_at(self.machines, instance)
        if seen is not None and seen.state in {MachineState.EXITED, MachineState.GONE, MachineState.ABSENT}:
            self._crashed(instance, seen)
            return True
        return False

    def _crashed(self, instance: Instance, seen: MachineSeen) -> None:
        reason = crash_reason(seen, tail_of(self.machines, instance))
        last_good = self._last_good.of(instance) if instance.status is Status.RUNNING else None
        self._apply(instance, Event(EventName.CRASHED, _ACTOR, reason=reason, last_good_at=last_good))
        self._suspects.discard(instance.id)

    # --- now and then -------------------------------------------------------------------------------------------------

    async def beat_activity(self) -> None:
        """Ask every running server when it was last used; stop what answers and has been idle for too long."""
        turn = asyncio.Semaphore(_ASKED_AT_ONCE)
        await asyncio.gather(
            *(self._ask(instance, turn) for instance in self._in({Status.RUNNING}) if not instance.is_quarantined)
        )

    async def _ask(self, instance: Instance, turn: asyncio.Semaphore) -> None:
        async with turn:
            way_in = await asyncio.to_thread(self._addresses.way_in, instance)
            if way_in is None:
                return
            seen = await self.prober.activity(*way_in, self.limits.probe_timeout)
        now = self.clock.now()
        change = activity_edge(instance, seen, now, self.limits.idle_after)
        if change is not None:
            self._known.remember(await asyncio.to_thread(self.lifecycle.touch, instance, change))
        if seen is not None:
            known = self._known.find(instance.id) or instance
            used_at = self._steps.after_step(active_at(instance, seen, now), now)
            await asyncio.to_thread(self._enforce_policy, (known,), Uses(used_at))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _in(self, statuses: Iterable[Status]) -> list[Instance]:
        wanted = frozenset(statuses)
        found = self._known.in_flight() if wanted <= IN_FLIGHT else self._known.all()
        return [one for one in found if one.status in wanted and one.place in self.machines]

    async def _probe(self, instance: Instance) -> ProbeOutcome:
        address = self._addresses.find(instance)
        return ProbeOutcome.SILENT if address is None else await self.prober.probe(address, self.limits.probe_timeout)

    def _apply(self, instance: Instance, event: Event) -> None:
        self._keep(instance, partial(self.lifecycle.apply, instance.project, instance.id, event, seen=instance))

    def _keep(self, instance: Instance, change: Callable[[], Instance]) -> None:
        """Run the change and remember the instance as it is afterwards."""
        try:
            after = change()
        except (RefusedError, ConditionFailedError) as error:
            # Someone was quicker: what we know is out of date.
            _LOG.info("event came too late", extra={"instance": instance.id, "why": str(error)})
            stored = self.lifecycle.find(instance.project, instance.id)
            after = stored.instance if stored is not None else instance
        self._known.remember(after)
