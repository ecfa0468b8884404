"""Lives of instances: any sequence of events, drawn by hypothesis or told step by step; and the naive bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import strategies as st

from doubles.clocks import START
from nightingale.contract.schemas import Size
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale.domain.history import Event, EventName, HistoryEntry, Reason
from nightingale.domain.instance import Instance
from nightingale.domain.quarantine import COMMANDED, ENDING
from nightingale.ports.store import Delete, Put, Store, Write
from nightingale.services import records

SIZES = (Size(), Size(cpu="m", memory="m"), Size(disk="m"))

Quantities = dict[datetime, Counter[tuple[str, Size]]]


class Life:
    """One instance and its history. `store` keeps both as the platform does: item and entry in one transaction."""

    def __init__(
        self,
        at: datetime = START,
        *,
        instance_id: str = "i-0000000001",
        name: str = "scan",
        project: str = "brain",
        owner: str = "ada",
        size: Size | None = None,
        store: Store | None = None,
    ) -> None:
        self._store = store
        self.instance, entry = Instance.launch(
            instance_id=instance_id,
            name=name,
            project=project,
            owner=owner,
            size=size or SIZES[0],
            place="local",
            image="default",
            mounts=(),
            tier=0,
            at=at,
            build_id="b-1",
            request_id="",
            stops_at=None,
        )
        self.history = [entry]
        if store is not None:
            store.transact(
                [Put(records.instance_item(self.instance, 0)), Put(records.history_item(instance_id, entry))]
            )

    @property
    def possible(self) -> list[EventName]:
        """Events that have a place in the present status."""
        held = COMMANDED | ENDING if self.instance.is_quarantined else frozenset()
        names = (name for name in EventName if name not in {EventName.LAUNCH, *held})
        return [name for name in names if self.instance.accepts(name)]

    def apply(
        self, name: EventName, at: datetime, *, last_good_at: datetime | None = None, size: Size | None = None
    ) -> None:
        """Let one event happen."""
        has_reason = name in {EventName.CRASHED, EventName.BUILD_FAILED, EventName.DEADLINE_PASSED}
        event = Event(
            name,
            actor="ada",
            reason=Reason(ReasonCode.JUPYTER_KILLED, "killed") if has_reason else None,
            size=size,
            build_id="b-2",
            last_good_at=last_good_at,
        )
        before = self.instance
        self.instance, entry = before.apply(event, at)
        self.history.append(entry)
        if self._store is not None:
            self._save(before, entry)

    def run(self, at: datetime, seconds: int = 0) -> None:
        """Bring a requested instance to running, `seconds` between steps."""
        for name in (EventName.BUILD_STARTED, EventName.BUILD_SUCCEEDED, EventName.BECAME_READY):
            self.apply(name, at)
            at += timedelta(seconds=seconds)

    def _save(self, before: Instance, entry: HistoryEntry) -> None:
        assert self._store is not None
        key = records.instance_key(before.project, before.id)
        old = self._store.get(key)
        assert old is not None
        writes: list[Write] = [Put(records.history_item(before.id, entry))]
        if self.instance.status is Status.TERMINATED:
            writes += [Delete(key, old.version), Put(records.instance_item(self.instance, 0))]
        else:
            writes.append(Put(records.instance_item(self.instance, old.version)))
        self._store.transact(writes)


@st.composite
def steps(draw: st.DrawFn, most: int = 14, longest_gap: int = 4_000) -> list[tuple[int, int, int, Size]]:
    """Draw what happens: gap before it in seconds, which of the possible events, how long ago the last good probe."""
    gap = st.one_of(st.just(0), st.integers(0, 40), st.integers(0, longest_gap), st.sampled_from([3_600, 7_200]))
    step = st.tuples(gap, st.integers(0, 1_000), st.integers(0, 45), st.sampled_from(SIZES))
    return draw(st.lists(step, max_size=most))


def take(life: Life, step: tuple[int, int, int, Size], at: datetime) -> None:
    """Let the step's event happen at `at`, if any may."""
    _, choice, ago, size = step
    if possible := life.possible:
        name = possible[choice % len(possible)]
        life.apply(name, at, last_good_at=at - timedelta(seconds=ago), size=size)


def naive_quantities(history: Sequence[HistoryEntry], until: datetime, gib: dict[str, int]) -> Quantities:
    """Return seconds of compute and GiB-seconds of disk by hour, looking at every single second."""
    found: Quantities = {}
    second = timedelta(seconds=1)
    for position, state in enumerate(history):
        if state.after is Status.TERMINATED:
            break
        next_at = history[position + 1].at if position + 1 < len(history) else until
        leaving = next((entry for entry in history[position:] if entry.after is not Status.RUNNING), None)
        lost_at = leaving.billed_until if leaving is not None and leaving.billed_until is not None else until
        at = state.at
        while at < min(next_at, until):
            quantities = found.setdefault(at.replace(minute=0, second=0), Counter())
            quantities["disk", state.size] += gib[state.size.disk]
            if state.after is Status.RUNNING and at < lost_at:
                quantities["compute", state.size] += 1
            at += second
    return found
