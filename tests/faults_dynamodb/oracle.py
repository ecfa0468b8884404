"""What must hold of a platform afterwards, whatever went wrong: worked out from the store's plain items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from doubles.lives import naive_quantities
from faults_dynamodb.journey import NAME, WHO, World
from nightingale.contract.schemas import Size
from nightingale.contract.vocabulary import IN_FLIGHT, AuditTag, BuildState, Status
from nightingale.domain.billing import UsageRecord
from nightingale.domain.build import Build
from nightingale.domain.history import EventName, HistoryEntry
from nightingale.domain.instance import Instance
from nightingale.ports.store import Item, Store
from nightingale.services import records
from nightingale.services.metering import read_mark

GIB = {"s": 5, "m": 20}
"""Of the small cluster's disks."""

LEGAL = {
    EventName.BUILD_STARTED: {("requested", "provisioning")},
    EventName.BUILD_SUCCEEDED: {
        ("provisioning", "starting"),
        ("stopping", "stopped"),
        ("resizing", "starting"),
        ("resizing", "stopped"),
        ("terminating", "terminated"),
    },
    EventName.BECAME_READY: {("starting", "running")},
    EventName.STOP: {("running", "stopping")},
    EventName.START: {("stopped", "requested")},
    EventName.RESIZE: {("running", "resizing"), ("stopped", "resizing")},
    EventName.EXTEND: {("running", "running")},
    EventName.WENT_UNREACHABLE: {("running", "running")},
    EventName.CAME_BACK: {("running", "running")},
    EventName.CRASHED: {("starting", "failed"), ("running", "failed")},
    EventName.STAYED_AWAY: {("running", "failed")},
    EventName.RETRY: {("failed", status) for status in ("requested", "stopping", "resizing", "terminating")},
    EventName.DELETE: {(status, "terminating") for status in ("running", "stopped", "failed")},
    EventName.BUILD_FAILED: {(status.value, "failed") for status in IN_FLIGHT - {Status.STARTING}},
    EventName.DEADLINE_PASSED: {(status.value, "failed") for status in IN_FLIGHT},
}
"""Written down again, not taken from the code: event -> (before, after)."""

EVENTS = {
    "launch_instance": EventName.LAUNCH,
    "stop_instance": EventName.STOP,
    "start_instance": EventName.START,
    "resize_instance": EventName.RESIZE,
    "retry_instance": EventName.RETRY,
    "extend_instance": EventName.EXTEND,
    "delete_instance": EventName.DELETE,
}
TAGS = {
    EventName.LAUNCH: AuditTag.INSTANCE_LAUNCH,
    EventName.STOP: AuditTag.INSTANCE_STOP,
    EventName.START: AuditTag.INSTANCE_START,
    EventName.RESIZE: AuditTag.INSTANCE_RESIZE,
    EventName.RETRY: AuditTag.INSTANCE_RETRY,
    EventName.EXTEND: AuditTag.INSTANCE_EXTEND,
    EventName.DELETE: AuditTag.INSTANCE_DELETE,
}


def all_items(store: Store, partition: str, prefix: str = "") -> list[Item]:
    found: list[Item] = []
    cursor: str | None = None
    while True:
        page = store.query(partition, prefix=prefix, cursor=cursor)
        found += page.items
        if (cursor := page.cursor) is None:
            return found


def check(world: World) -> None:
    """Raise AssertionError at the first thing that does not hold."""
    store = world.store.inner
    instances = world.all()
    assert [one.name for one in instances] == [NAME], "one launch is one instance"
    for instance in instances:
        history = [
            records.decode(item, HistoryEntry)
            for item in all_items(store, records.history_partition(instance.id), "HISTORY#")
        ]
        assert instance.status not in IN_FLIGHT, instance.status
        _check_history(instance, history)
        _check_commands(world, history)
        _check_builds(world, instance, history)
        _check_usage(world, instance, history)
        _check_audit(world, instance, history)
    _check_place(world, instances)
    _check_indexes(store, instances)


def _check_history(instance: Instance, history: list[HistoryEntry]) -> None:
    assert [entry.seq for entry in history] == list(range(1, len(history) + 1)), "a gap"
    assert (history[0].event, history[0].before, history[0].after) == (EventName.LAUNCH, None, Status.REQUESTED)
    for before, entry in pairwise(history):
        assert entry.before is before.after, entry
        assert (entry.before.value, entry.after.value) in LEGAL[entry.event], entry
        assert entry.at >= before.at, entry
        assert entry.generation - before.generation == (1 if entry.build_id is not None else 0), entry
    last = history[-1]
    assert (instance.status, instance.seq, instance.generation) == (last.after, last.seq, last.generation)
    assert instance.changed_at == last.at
    assert (instance.terminated_at is not None) == (last.after is Status.TERMINATED)


def _check_commands(world: World, history: list[HistoryEntry]) -> None:
    """What was acknowledged is there once, in order; what got no answer and was asked for again is there once, too."""
    asked = [EVENTS[operation] for operation, _ in world.commands]
    lost = Counter(EVENTS[operation] for operation, was_lost in world.commands if was_lost)
    done = [entry.event for entry in history if entry.actor == WHO]
    # To extend twice is to extend once, so a repeated one leaves two entries; nothing else may.
    double = done.count(EventName.EXTEND) - asked.count(EventName.EXTEND)
    assert 0 <= double <= 40 * lost[EventName.EXTEND], (asked, done)
    assert _without_repeats(done) == asked, (asked, done)


def _without_repeats(events: Iterable[EventName]) -> list[EventName]:
    kept: list[EventName] = []
    for event in events:
        if event is not EventName.EXTEND or not kept or kept[-1] is not event:
            kept.append(event)
    return kept


def _check_builds(world: World, instance: Instance, history: list[HistoryEntry]) -> None:
    builder = world.platform.builder
    stored = [
        records.decode(item, Build)
        for item in all_items(world.store.inner, records.history_partition(instance.id), "BUILD#")
    ]
    queued = [entry.build_id for entry in history if entry.build_id is not None]
    assert [build.id for build in stored] == queued, "a build for each entry that asks for one"
    assert [build.generation for build in stored] == list(range(1, len(stored) + 1))
    assert all(build.state in {BuildState.SUCCEEDED, BuildState.FAILED} for build in stored), stored
    assert all(build.started_at and build.finished_at for build in stored), stored
    taken = Counter((spec.instance_id, spec.generation) for spec in builder.specs.values())
    assert set(taken.values()) == {1}, "a generation was built under two ids"
    assert set(builder.specs) <= set(queued), "a build that no history knows was started"


def _check_place(world: World, instances: list[Instance]) -> None:
    expected = {one.id: one.generation for one in instances if one.status is Status.RUNNING}
    assert dict(world.platform.machines.find_all()) == expected, "an orphan, or a machine too few"
    assert not world.platform.machines.ended_orphans, "a machine had to be ended as nobody's"


def _check_indexes(store: Store, instances: list[Instance]) -> None:
    live = {one.id for one in instances if one.status is not Status.TERMINATED}
    found: set[str] = set()
    for shard in range(records.SHARDS):
        found |= {item.key.sort for item in store.query_index(records.INDEX1, f"SHARD#{shard}").items}
        assert not store.query_index(records.INDEX1, f"UNMETERED#{shard}").items, "an ended one is metered for ever"
    assert found == live
    names = {item.document["instance_id"] for item in all_items(store, records.project_partition("brain"), "NAME#")}
    assert names == live


def _check_usage(world: World, instance: Instance, history: list[HistoryEntry]) -> None:
    """The newest record of each hour says what a look at every single second says."""
    closed_until: datetime = read_mark(world.store.inner, instance)[0].closed_until
    naive = naive_quantities(history, closed_until, GIB)
    latest: dict[datetime, UsageRecord] = {}
    for month in sorted({f"{hour:%Y-%m}" for hour in naive} or {f"{instance.created_at:%Y-%m}"}):
        for item in all_items(world.store.inner, records.usage_partition("brain", month)):
            record = records.decode(item, UsageRecord)
            held = latest.get(record.hour)
            assert record.revision == (0 if held is None else held.revision + 1), "a revision is missing or double"
            latest[record.hour] = record
    found: dict[datetime, Counter[tuple[str, Size]]] = {}
    for hour, record in latest.items():
        found[hour] = Counter({(line.kind.value, line.size): line.quantity for line in record.lines})
    assert found == {hour: +quantities for hour, quantities in naive.items()}, (found, naive)


def _check_audit(world: World, instance: Instance, history: list[HistoryEntry]) -> None:
    """The chains hold; what was done was told before; what was told and not done says so or got no answer."""
    audit = world.platform.audit
    for stream in {event.stream for event in audit.events()}:
        assert audit.verify(stream) is None
    told = Counter(
        (event.tag, event.detail["generation"]) for event in audit.events(instance.id) if "generation" in event.detail
    )
    done = Counter((TAGS[entry.event].value, str(entry.generation)) for entry in history if entry.actor == WHO)
    assert all(told[fact] >= count for fact, count in done.items()), (told, done)
    surplus = sum((told - done).values())
    denied = audit.tags(instance.id).count(AuditTag.OPERATION_DENIED.value)
    lost = sum(1 for _, was_lost in world.commands if was_lost)
    assert surplus == 0 or denied or lost, (told, done)
