"""Thousands of instances in a store, written in bulk through the store's port: each launched, built and running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from nightingale.contract.schemas import Size
from nightingale.domain.build import Build
from nightingale.domain.history import Event, EventName
from nightingale.domain.instance import Instance
from nightingale.ports.store import ABSENT, MAX_TRANSACTION, Item, Put, Store
from nightingale.services import records

SIZE = Size(cpu="s", memory="s", gpu="none", disk="s")


def instance_id(number: int) -> str:
    """Return an id that sorts by number, as ids sort by time."""
    return f"i-{number:010d}"


def fill(
    store: Store, count: int, born_at: datetime, *, project: str = "brain", owner: str = "grace", first: int = 0
) -> list[str]:
    """Write `count` instances, all running since `born_at`, and return their ids."""
    ids = [instance_id(first + number) for number in range(count)]
    writes: list[Put] = []
    for one in ids:
        of_one = list(_written(one, born_at, project, owner))
        if len(writes) + len(of_one) > MAX_TRANSACTION:
            store.transact(writes)
            writes = []
        writes += of_one
    store.transact(writes)
    return ids


def _written(one: str, born_at: datetime, project: str, owner: str) -> Iterator[Put]:
    build_id = one.replace("i-", "b-")
    instance, entry = Instance.launch(
        instance_id=one,
        name=f"scan-{one[2:]}",
        project=project,
        owner=owner,
        size=SIZE,
        place="local",
        image="default",
        mounts=(),
        tier=0,
        at=born_at,
        build_id=build_id,
        request_id="",
        stops_at=None,
    )
    build = Build.queue(build_id, instance, born_at, {})
    entries = [entry]
    for second, name in enumerate(
        (EventName.BUILD_STARTED, EventName.BUILD_SUCCEEDED, EventName.BECAME_READY), start=1
    ):
        event = Event(name, "platform", sandbox="bubblewrap" if name is EventName.BECAME_READY else None)
        instance, entry = instance.apply(event, born_at + timedelta(seconds=second))
        entries.append(entry)
    yield Put(records.instance_item(instance, ABSENT))
    yield Put(Item(records.name_key(project, instance.name), {"instance_id": one}))
    yield Put(records.build_item(build.started(born_at), ABSENT))
    for made in entries:
        yield Put(records.history_item(one, made))


def median(values: Sequence[float]) -> float:
    """Return the middle one."""
    return sorted(values)[len(values) // 2]
