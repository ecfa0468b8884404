"""Whatever happens in whatever order: no instance is lost, none is stuck, no build runs twice, no second is made up."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from doubles.platforms import FakePlatform, socket_of, team_cluster
from doubles.stores import FailingStore
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.schemas import HoursIn, PolicyIn, ScheduleIn
from nightingale.contract.vocabulary import BuildState, DesiredState, Status, Weekday
from nightingale.domain.history import EventName, HistoryEntry
from nightingale.domain.instance import Instance
from nightingale.ports.prober import Activity, ProbeOutcome
from nightingale.ports.store import StoreUnavailableError
from nightingale.services import records
from nightingale.services.catalog import query_all

NAMES = ("one", "two")
COMMANDS = {
    "stop_instance": None,
    "start_instance": None,
    "retry_instance": None,
    "delete_instance": None,
    "resize_instance": {"cpu": "m"},
    "extend_instance": {"seconds": 120},
}
SETTLED = {Status.RUNNING, Status.STOPPED, Status.FAILED, Status.TERMINATED}


class AnyOrder(RuleBasedStateMachine):
    """Two people, two names, two watchers, and everything outside as bad as it may be."""

    cluster = team_cluster()

    def __init__(self) -> None:
        super().__init__()
        self.store = FailingStore(SqliteStore(":memory:"))
        self.platform = FakePlatform(store=self.store, cluster=self.cluster)
        for person in ("ada", "grace"):
            self.platform.token(person)
        self.watchers = [self.platform.watch, self.platform.another_watch()]
        self.launched: set[str] = set()
        # Not asyncio.Runner: it unsets the thread's own loop when it closes, which is the test framework's.
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        try:
            self.heal()
            self.check_settled()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    # --- people ---------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), request_id=st.sampled_from(["", "r1"]), lifetime=st.sampled_from([None, 60]))
    def launch(self, name: str, request_id: str, lifetime: int | None) -> None:
        body = {"name": name, "request_id": request_id, "stop_after_seconds": lifetime}
        answer = self.platform.handle("launch_instance", "grace", None, body)
        assert answer.status in {202, 409, 503}, answer.body
        if answer.status == 202:
            self.launched.add(msgspec.json.decode(answer.body)["id"])

    @rule(name=st.sampled_from(NAMES), who=st.sampled_from(["ada", "grace"]), operation=st.sampled_from([*COMMANDS]))
    def command(self, name: str, who: str, operation: str) -> None:
        answer = self.platform.handle(operation, who, name, COMMANDS[operation])
        assert answer.status in {200, 202, 404, 409, 422, 503}, answer.body

    # --- the world ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.platform.builder.running)
    @rule(data=st.data(), how=st.sampled_from(["finish", "finish", "finish", "fail", "lose"]))
    def end_a_build(self, data: st.DataObject, how: str) -> None:
        spec = data.draw(st.sampled_from(self.platform.builder.running))
        getattr(self.platform.builder, how)(spec.build_id)

    @precondition(lambda self: self.platform.machines.find_all())
    @rule(data=st.data(), how=st.sampled_from(["crash", "lose", "silence", "answer"]))
    def disturb_a_machine(self, data: st.DataObject, how: str) -> None:
        instance_id, generation = data.draw(st.sampled_from(sorted(self.platform.machines.find_all().items())))
        if how in {"crash", "lose"}:
            getattr(self.platform.machines, how)(instance_id, generation)
        outcome = {"silence": ProbeOutcome.SILENT, "answer": ProbeOutcome.OK}.get(how, ProbeOutcome.REFUSED)
        self.platform.prober.script(socket_of(instance_id), outcome)

    @rule(is_away=st.booleans())
    def let_the_builder(self, *, is_away: bool) -> None:
        if is_away:
            self.platform.builder.refuse()
        else:
            self.platform.builder.accept()

    @rule(count=st.integers(1, 2), is_written=st.booleans())
    def lose_answers_of_the_store(self, count: int, *, is_written: bool) -> None:
        self.store.fail_writes(count, is_written=is_written)

    @rule(seconds=st.sampled_from([0, 1, 2, 5, 29, 61, 125, 601]))
    def pass_time(self, seconds: int) -> None:
        self.platform.clock.advance(seconds)

    # --- watchers -------------------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1))
    def refresh(self, which: int) -> None:
        self.watchers[which].refresh()

    @rule(which=st.integers(0, 1), beat=st.sampled_from(["beat_in_flight", "beat_in_flight", "beat_running"]))
    def beat(self, which: int, beat: str) -> None:
        try:
            self.loop.run_until_complete(getattr(self.watchers[which], beat)())
        except StoreUnavailableError:
            return  # the scheduler logs it and goes on

    @rule(which=st.integers(0, 1))
    def restart_a_watcher(self, which: int) -> None:
        try:
            self.watchers[which].save_last_good()
        except StoreUnavailableError:
            return
        self.watchers[which] = self.platform.another_watch()
        self.watchers[which].load_last_good()

    @rule()
    def end_orphans(self) -> None:
        self.platform.made.reconcile().end_orphans()

    # --- what always holds ----------------------------------------------------------------------------------------

    def instances(self) -> list[Instance]:
        partition = records.project_partition("brain")
        found = [*query_all(self.store, partition, prefix=records.LIVE)]
        found += query_all(self.store, partition, prefix=records.ENDED)
        return [records.decode(item, Instance) for item in found]

    def history(self, instance: Instance) -> list[HistoryEntry]:
        partition = records.history_partition(instance.id)
        return [records.decode(item, HistoryEntry) for item in query_all(self.store, partition, prefix="HISTORY#")]

    @invariant()
    def nobody_is_lost(self) -> None:
        assert self.launched <= {instance.id for instance in self.instances()}

    @invariant()
    def a_name_points_to_the_one_living_instance_that_has_it(self) -> None:
        living = Counter(one.name for one in self.instances() if one.status is not Status.TERMINATED)
        for name in NAMES:
            pointer = self.store.get(records.name_key("brain", name))
            assert living[name] == (pointer is not None)

    @invariant()
    def history_tells_the_whole_story(self) -> None:
        for instance in self.instances():
            history = self.history(instance)
            assert [entry.seq for entry in history] == list(range(1, instance.seq + 1))
            assert [entry.after for entry in history[:-1]] == [entry.before for entry in history[1:]]
            assert history[-1].after is instance.status
            since = None
            for entry in history:
                if entry.billed_until is not None:
                    assert since is not None
                    assert since <= entry.billed_until <= entry.at
                if entry.before is not Status.RUNNING and entry.after is Status.RUNNING:
                    since = entry.at

    @invariant()
    def each_generation_is_built_once(self) -> None:
        started = Counter((spec.instance_id, spec.generation) for spec in self.platform.builder.specs.values())
        assert not [key for key, count in started.items() if count > 1]
        known = {instance.id for instance in self.instances()}
        assert {spec.instance_id for spec in self.platform.builder.specs.values()} <= known

    # --- in the end -----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Let everything outside work again and enough time pass for every deadline."""
        self.store.fail_writes(0)
        self.platform.builder.accept()
        for instance_id in self.platform.machines.find_all():
            self.platform.prober.script(socket_of(instance_id), ProbeOutcome.OK)
        for seconds in (50,) * 30 + (0,) * 3:
            self.platform.clock.advance(timedelta(seconds=seconds))
            for spec in self.platform.builder.running:
                self.platform.builder.finish(spec.build_id)
            for watch in self.watchers:
                watch.refresh()
                self.loop.run_until_complete(watch.beat_in_flight())
                self.loop.run_until_complete(watch.beat_running())
        self.platform.made.reconcile().end_orphans()

    def check_settled(self) -> None:
        wanted = self.platform.machines.find_all()
        for instance in self.instances():
            assert instance.status in SETTLED, instance
            if instance.status in {Status.STOPPED, Status.TERMINATED}:
                assert instance.id not in wanted
            if instance.status is Status.RUNNING:
                assert wanted[instance.id] == instance.generation
            builds = query_all(self.store, records.history_partition(instance.id), prefix="BUILD#")
            states = {item.document["state"] for item in builds}
            assert states <= {BuildState.SUCCEEDED, BuildState.FAILED}, instance
        for instance in self.instances():
            if instance.status is not Status.TERMINATED:
                assert self.platform.handle("delete_instance", "grace", instance.id).status == 202
        self.finish_all()
        assert {one.status for one in self.instances()} <= {Status.TERMINATED}
        assert not self.platform.machines.find_all()
        assert all(self.store.get(records.name_key("brain", name)) is None for name in NAMES)
        last = {spec.instance_id: spec.desired_state for spec in self.platform.builder.specs.values()}
        assert set(last.values()) <= {DesiredState.ABSENT}

    def finish_all(self) -> None:
        for _ in range(4):
            for spec in self.platform.builder.running:
                self.platform.builder.finish(spec.build_id)
            for watch in self.watchers:
                watch.refresh()
                self.loop.run_until_complete(watch.beat_in_flight())
            self.platform.clock.advance(1)


class UnderPolicies(AnyOrder):
    """The same where a lifetime, idleness and hours of a few minutes stop and start things in between."""

    LONGEST = timedelta(seconds=600)
    # The fixed clock begins at nine.
    hours = (
        HoursIn(days=tuple(Weekday), start_at="08:50", stop_at="09:05"),
        HoursIn(days=tuple(Weekday), start_at="09:10", stop_at="09:30"),
    )
    policy = PolicyIn(idle_stop_after=120, max_lifetime=600, schedule=ScheduleIn(hours=hours))
    cluster = team_cluster(policy=policy)

    @precondition(lambda self: self.platform.machines.find_all())
    @rule(data=st.data(), which=st.integers(0, 1), is_busy=st.booleans())
    def ask_for_activity(self, data: st.DataObject, which: int, *, is_busy: bool) -> None:
        instance_id = data.draw(st.sampled_from(sorted(self.platform.machines.find_all())))
        seen = Activity(self.platform.clock.now() - self.LONGEST, is_busy=is_busy, kernels=1, connections=0)
        self.platform.prober.activities[socket_of(instance_id)] = seen
        try:
            self.loop.run_until_complete(self.watchers[which].beat_activity())
        except StoreUnavailableError:
            return  # the scheduler logs it and goes on

    @rule(name=st.sampled_from(NAMES), seconds=st.sampled_from([500, 601, 3600]))
    def ask_for_long(self, name: str, seconds: int) -> None:
        for operation, body in (
            ("launch_instance", {"name": name, "stop_after_seconds": seconds}),
            ("extend_instance", {"seconds": seconds}),
        ):
            is_launch = operation == "launch_instance"
            answer = self.platform.handle(operation, "grace", None if is_launch else name, body)
            assert answer.status in {200, 202, 404, 409, 422, 503}, answer.body
            if is_launch and answer.status == 202:
                self.launched.add(msgspec.json.decode(answer.body)["id"])

    @invariant()
    def nobody_has_more_time_than_the_policy_gives(self) -> None:
        for instance in self.instances():
            if instance.stops_at is not None and instance.status is Status.RUNNING:
                assert instance.stops_at <= instance.begun_at + self.LONGEST

    @invariant()
    def only_the_schedule_starts_what_it_stopped(self) -> None:
        for instance in self.instances():
            history = self.history(instance)
            for before, entry in pairwise(history):
                if entry.event is EventName.START and entry.actor == "platform":
                    assert before.after is Status.STOPPED
                    stops = [one for one in history[: entry.seq - 1] if one.event is EventName.STOP]
                    assert stops[-1].reason is not None
                    assert stops[-1].reason.code == "schedule"


_SETTINGS = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = _SETTINGS
TestUnderPolicies = UnderPolicies.TestCase
TestUnderPolicies.settings = _SETTINGS
