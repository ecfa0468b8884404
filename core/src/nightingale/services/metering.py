"""Metering: writes down what each closed hour of each instance costs.

An hour closes `watermark_seconds` after its end. What is written follows from the history alone:

    mark (one per instance)    closed_until, seq        grows only, in the same transaction as the records it speaks of
    closed_until .. now        hours to close           revision 0
    entries after mark.seq     hours they reach into    a higher revision, where the seconds now differ
    terminated                 the last, partial hour   closed at once; then the instance leaves the index for good

Two runs that meet both expect the same version of the mark, so one of them writes and the other leaves it be. A run
that dies, or whose write may or may not have happened, is made good by the next one, which reads the mark again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from msgspec import structs

from nightingale.contract.vocabulary import Status
from nightingale.domain.billing import (
    HOUR,
    PriceOf,
    Seconds,
    UsageRecord,
    ceil_hour,
    floor_hour,
    lines_for_hour,
    prices_kept,
    prices_of,
    seconds_by_hour,
    seconds_of,
)
from nightingale.domain.catalog import Cluster
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import HistoryEntry
from nightingale.domain.instance import Instance
from nightingale.ports.clock import Clock
from nightingale.ports.store import ABSENT, MAX_TRANSACTION, ConditionFailedError, Item, Put, Store, Write
from nightingale.services import records
from nightingale.services.catalog import CatalogService, index_all, query_all

_LOG = logging.getLogger(__name__)

WATERMARK_SECONDS = 30
"""How long after its end an hour stays open: what is written late by less needs no correction."""

_BATCH = MAX_TRANSACTION - 2
"""Records of one transaction: the mark and the instance itself may stand beside them."""


@dataclass(frozen=True)
class Mark:
    """Every hour before `closed_until` is written, as the history stood at entry `seq`."""

    closed_until: datetime
    seq: int


def read_mark(store: Store, instance: Instance) -> tuple[Mark, int]:
    """Return the instance's mark and its version (0: nothing is closed yet)."""
    item = store.get(records.metering_key(instance.id))
    if item is None:
        return Mark(floor_hour(instance.created_at), 0), ABSENT
    return records.decode(item, Mark), item.version


def read_history(store: Store, instance_id: str) -> tuple[HistoryEntry, ...]:
    """Return every entry of an instance's history, in order."""
    items = query_all(store, records.history_partition(instance_id), prefix="HISTORY#")
    return tuple(records.decode(item, HistoryEntry) for item in items)


def find_billable(store: Store) -> Iterator[Instance]:
    """Yield the instances with hours to close, live ones first, as the index shows them; it may lag."""
    for kind in ("SHARD", "UNMETERED"):
        for shard in range(records.SHARDS):
            for item in index_all(store, records.INDEX1, f"{kind}#{shard}"):
                yield records.decode(item, Instance)


class MeteringService:
    """The scheduled job."""

    def __init__(
        self, store: Store, catalog: CatalogService, clock: Clock, watermark_seconds: int = WATERMARK_SECONDS
    ) -> None:
        """Keep the ports. `watermark_seconds`: how long after its end an hour stays open."""
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._watermark = timedelta(seconds=watermark_seconds)
        self._settled: dict[str, Mark] = {}
        """Marks seen in the last run. They only grow, so an instance that these settle needs no read."""

    def run_once(self) -> int:
        """Close what can be closed; return how many records were written. May run twice, late, or beside another.

        An instance whose price is missing is left for a later run, with an error in the log. Raises
        StoreUnavailableError; what was written before stands.
        """
        cluster = self._catalog.load()
        now = self._clock.now()
        written = 0
        settled: dict[str, Mark] = {}
        for instance in find_billable(self._store):
            known = self._settled.get(instance.id)
            if known is not None and self._is_settled(instance, known, now):
                settled[instance.id] = known
                continue
            try:
                count, mark = self._close(cluster, instance, now)
            except ConditionFailedError as error:
                _LOG.info("metering of %s left to whoever is at it: %s", instance.id, error)
            except RefusedError as error:
                _LOG.error("hours of %s stay open until they can be priced: %s", instance.id, error)
            else:
                written += count
                settled[instance.id] = mark
        self._settled = settled
        return written

    def _closable(self, now: datetime) -> datetime:
        return floor_hour(now - self._watermark)

    def _is_settled(self, instance: Instance, mark: Mark, now: datetime) -> bool:
        is_ended = instance.status is Status.TERMINATED
        return not is_ended and instance.seq <= mark.seq and self._closable(now) <= mark.closed_until

    def _close(self, cluster: Cluster, instance: Instance, now: datetime) -> tuple[int, Mark]:
        """Close an instance's hours; return how many records were written, and its mark."""
        # The mark is read before the history: if another run gets ahead after this line, the guarded write says so.
        mark, version = read_mark(self._store, instance)
        if self._is_settled(instance, mark, now):
            return 0, mark
        history = read_history(self._store, instance.id)
        is_ended = history[-1].after is Status.TERMINATED
        end = ceil_hour(history[-1].at) if is_ended else self._closable(now)
        seq = history[-1].seq
        due = [
            *self._corrections(cluster, instance, history, mark),
            *_first_records(cluster, instance, history, mark.closed_until, end),
        ]
        leaving = self._leave_index(instance) if is_ended else []
        settled = Mark(max(mark.closed_until, end), seq)
        if settled == mark and not due and not leaving:
            return 0, mark
        batches = [due[start : start + _BATCH] for start in range(0, len(due), _BATCH)] or [[]]
        for number, batch in enumerate(batches):
            is_last = number == len(batches) - 1
            # Until the last batch the mark keeps its seq, so a run cut short looks at the corrections again.
            so_far = replace(mark, closed_until=max(mark.closed_until, batch[-1].hour + HOUR)) if batch else mark
            mark = settled if is_last else so_far
            writes: list[Write] = [Put(Item(records.metering_key(instance.id), records.encode(mark), version=version))]
            writes += [Put(_record_item(record)) for record in batch]
            if is_last:
                writes += leaving
            self._store.transact(writes)
            version += 1
        return len(due), mark

    def _corrections(
        self, cluster: Cluster, instance: Instance, history: Sequence[HistoryEntry], mark: Mark
    ) -> Iterator[UsageRecord]:
        """Yield a higher revision of each closed hour whose seconds entries after the mark have changed."""
        new = [entry.billed_until or entry.at for entry in history if entry.seq > mark.seq]
        hour = floor_hour(min(new)) if new else mark.closed_until
        if hour >= mark.closed_until:
            return
        found = seconds_by_hour(history, hour, mark.closed_until)
        while hour < mark.closed_until:
            seconds: Seconds = found.get(hour, {})
            latest = self._latest(instance, hour)
            if latest is None:
                if seconds:
                    yield _record(cluster, instance, hour, history[-1].seq, seconds)
            elif seconds_of(latest) != dict(seconds):
                prices = prices_kept(latest, _prices(cluster, instance, hour))
                lines = lines_for_hour(seconds, latest.plan, prices)
                yield replace(latest, revision=latest.revision + 1, seq=history[-1].seq, lines=lines)
            hour += HOUR

    def _latest(self, instance: Instance, hour: datetime) -> UsageRecord | None:
        partition = records.usage_partition(instance.project, f"{hour:%Y-%m}")
        prefix = records.usage_prefix(hour, instance.id)
        page = self._store.query(partition, prefix=prefix, limit=1, is_reversed=True)
        return records.decode(page.items[0], UsageRecord) if page.items else None

    def _leave_index(self, instance: Instance) -> list[Write]:
        """Return the write that takes an ended instance out of metering's sight."""
        key = records.instance_key(instance.project, instance.id, is_ended=True)
        item = self._store.get(key)
        if item is None or records.INDEX1 not in item.indexes:
            return []
        indexes = {name: at for name, at in item.indexes.items() if name != records.INDEX1}
        return [Put(structs.replace(item, indexes=indexes))]


def open_records(
    cluster: Cluster, instance: Instance, history: Sequence[HistoryEntry], start: datetime, now: datetime
) -> list[UsageRecord]:
    """Return the records that the hours from `start` (a full hour) to `now` would get if they closed now.

    Raises RefusedError `invalid` when a price is missing.
    """
    return _first_records(cluster, instance, history, start, now)


def _first_records(
    cluster: Cluster, instance: Instance, history: Sequence[HistoryEntry], start: datetime, end: datetime
) -> list[UsageRecord]:
    hours = seconds_by_hour(history, start, end)
    return [_record(cluster, instance, hour, history[-1].seq, hours[hour]) for hour in sorted(hours)]


def _record(cluster: Cluster, instance: Instance, hour: datetime, seq: int, seconds: Seconds) -> UsageRecord:
    plan = cluster.project(instance.project).plan
    return UsageRecord(
        instance_id=instance.id,
        instance=instance.name,
        owner=instance.owner,
        project=instance.project,
        hour=hour,
        revision=0,
        seq=seq,
        plan=plan,
        currency=cluster.currency,
        lines=lines_for_hour(seconds, plan, _prices(cluster, instance, hour)),
    )


def _prices(cluster: Cluster, instance: Instance, hour: datetime) -> PriceOf:
    return prices_of(cluster, instance.place, hour, is_spot=instance.spot.is_spot)


def _record_item(record: UsageRecord) -> Item:
    key = records.usage_key(record.project, record.hour, record.instance_id, record.revision)
    return Item(key, records.encode(record), version=ABSENT)
