"""Usage: what a project's instances have cost, closed hours from their records and open ones from the history."""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import Money, UsageLineOut, UsageOut, UsageRecordOut, UsageRecordsOut
from nightingale.contract.vocabulary import Status
from nightingale.domain.access import Access
from nightingale.domain.billing import Line, LineKind, UsageRecord, floor_hour, size_text
from nightingale.domain.catalog import Cluster
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import HistoryEntry
from nightingale.domain.instance import Instance
from nightingale.ports.clock import Clock
from nightingale.ports.store import Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService, index_all, query_all
from nightingale.services.metering import WATERMARK_SECONDS, open_records, read_history, read_mark

_LOG = logging.getLogger(__name__)

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_CURSOR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}\|[a-z0-9-]{1,40}")
MOST_KEPT = 16_384
"""Of how many instances: whoever pages through them all finds each again; some 4 KB an instance."""
_LIMIT = 100


@dataclass(frozen=True)
class _Spent:
    """What an instance cost in the hours before `hour`, and the history that said so."""

    history: tuple[HistoryEntry, ...]
    hour: datetime
    cost: Decimal
    compute_seconds: int


@dataclass(frozen=True)
class _Said:
    """What `spent` answered in one second of the clock, by one version of the cluster: the same for all."""

    at: datetime
    version: int
    answer: tuple[Money, int]


class UsageService:
    """Reads usage. Its methods may be called from many threads."""

    def __init__(self, store: Store, catalog: CatalogService, clock: Clock, most_kept: int = MOST_KEPT) -> None:
        """Keep the ports. `most_kept`: of how many instances `spent` remembers what is closed."""
        self._store = store
        self._most_kept = most_kept
        self._catalog = catalog
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: OrderedDict[tuple[str, int], _Spent] = OrderedDict()
        self._said: dict[tuple[str, int], _Said] = {}

    def usage(self, access: Access, month: str | None) -> UsageOut:
        """Return a month's usage of the project (None: the current month), open hours up to now.

        Raises RefusedError: `bad_request` for a month that is none, `not_found` for the project.
        """
        now = self._clock.now()
        cluster = self._catalog.load()
        plan = cluster.project(access.project).plan
        start, end = _bounds(month, now)
        # Open hours first, records second: an hour that closes in between is in both, and its record is the one kept.
        by_hour: dict[tuple[datetime, str], UsageRecord] = {}
        is_final = now >= end + timedelta(seconds=WATERMARK_SECONDS)
        for instance in self._billable(access.project):
            mark, _ = read_mark(self._store, instance)
            if mark.closed_until < end and instance.created_at < end:
                is_final = False
                since = max(mark.closed_until, start)
                for record in self._open(cluster, instance, since, min(now, end)):
                    by_hour[record.hour, record.instance_id] = record
        for record in self._closed(access.project, start):
            by_hour[record.hour, record.instance_id] = record
        found = list(by_hour.values())
        return UsageOut(
            project=access.project,
            month=f"{start:%Y-%m}",
            currency=cluster.currency,
            plan=plan,
            total=_sum("total", (line for record in found for line in record.lines)),
            by_instance=_grouped(found, _instance_names(found)),
            by_person=_grouped(found, lambda record, _: record.owner),
            by_size=_grouped(found, lambda _, line: size_text(line.size)),
            is_final=is_final,
        )

    def records(self, access: Access, month: str | None, cursor: str | None, limit: int | None) -> UsageRecordsOut:
        """Return lines of closed hours in order of hour, of each hour its highest revision only.

        A page ends between two hours of instances, so it may pass `limit` when one hour alone has more lines. Raises
        RefusedError `bad_request` for a month or cursor that is none.
        """
        start, _ = _bounds(month, self._clock.now())
        limit = limit or _LIMIT
        rows: list[UsageRecordOut] = []
        last: UsageRecord | None = None
        for record in self._closed(access.project, start, after=_after(cursor)):
            lines = _rows(record)
            if last is not None and rows and len(rows) + len(lines) > limit:
                return UsageRecordsOut(records=tuple(rows), next_cursor=f"{last.hour:%Y-%m-%dT%H}|{last.instance_id}")
            rows += lines
            last = record
        return UsageRecordsOut(records=tuple(rows))

    def spent(self, instance: Instance, cluster: Cluster | None = None) -> tuple[Money, int]:
        """Return what the instance has cost so far at list price, and its compute seconds.

        Reads no history from the store, and nothing at all with `cluster`, while its history is that of the call
        before. An hour that has no price counts nothing and is said in the log.
        """
        cluster = cluster or self._catalog.load()
        now = self._clock.now()
        said = self._said.get((instance.id, instance.seq))
        if said is not None and (said.at, said.version) == (now, cluster.version):
            return said.answer
        closed = self._spent_before(cluster, instance, floor_hour(now))
        current = _priced(cluster, instance, closed.history, closed.hour, now)
        cost, seconds = _cost(current)
        answer = Money(amount=closed.cost + cost, currency=cluster.currency), closed.compute_seconds + seconds
        with self._lock:
            if len(self._said) >= self._most_kept:
                self._said.clear()
            self._said[instance.id, instance.seq] = _Said(now, cluster.version, answer)
        return answer

    def _spent_before(self, cluster: Cluster, instance: Instance, hour: datetime) -> _Spent:
        """Return what it cost before `hour`, carried on from the hours summed before."""
        key = (instance.id, instance.seq)
        with self._lock:
            known = self._spent.get(key)
        if known is None:
            known = _Spent(read_history(self._store, instance.id), floor_hour(instance.created_at), Decimal(0), 0)
        if known.hour < hour and not _is_over(known):
            cost, seconds = _cost(_priced(cluster, instance, known.history, known.hour, hour))
            known = _Spent(known.history, hour, known.cost + cost, known.compute_seconds + seconds)
        with self._lock:
            self._spent[key] = known
            self._spent.move_to_end(key)
            while len(self._spent) > self._most_kept:
                self._spent.popitem(last=False)
        return known

    def _billable(self, project: str) -> Iterator[Instance]:
        """Yield the project's instances that may have open hours: live ones, then ended ones not yet closed."""
        for item in query_all(self._store, records.project_partition(project), prefix=records.LIVE):
            yield records.decode(item, Instance)
        for shard in range(records.SHARDS):
            for item in index_all(self._store, records.INDEX1, f"UNMETERED#{shard}"):
                instance = records.decode(item, Instance)
                if instance.project == project:
                    yield instance

    def _open(self, cluster: Cluster, instance: Instance, since: datetime, until: datetime) -> list[UsageRecord]:
        if until <= since:
            return []
        with self._lock:
            known = self._spent.get((instance.id, instance.seq))
        history = known.history if known is not None else read_history(self._store, instance.id)
        return _priced(cluster, instance, history, since, until)

    def _closed(self, project: str, month: datetime, after: str = "") -> Iterator[UsageRecord]:
        """Yield the highest revision of each closed hour of each instance, in order of hour and instance."""
        highest: UsageRecord | None = None
        for item in query_all(self._store, records.usage_partition(project, f"{month:%Y-%m}"), start=after):
            record = records.decode(item, UsageRecord)
            if highest is not None and (highest.hour, highest.instance_id) != (record.hour, record.instance_id):
                yield highest
            highest = record
        if highest is not None:
            yield highest


def _is_over(known: _Spent) -> bool:
    last = known.history[-1]
    return last.after is Status.TERMINATED and last.at <= known.hour


def _priced(
    cluster: Cluster, instance: Instance, history: tuple[HistoryEntry, ...], since: datetime, until: datetime
) -> list[UsageRecord]:
    """Return the records of open hours; none, and a word in the log, where a price is missing."""
    try:
        return open_records(cluster, instance, history, since, until)
    except RefusedError as error:
        _LOG.warning("open hours of %s are not shown until they can be priced: %s", instance.id, error)
        return []


def _cost(found: Iterable[UsageRecord]) -> tuple[Decimal, int]:
    total = _sum("", (line for record in found for line in record.lines))
    return total.list_cost, total.compute_seconds


def _instance_names(found: Iterable[UsageRecord]) -> Callable[[UsageRecord, Line], str]:
    """Return what names an instance: its name, with its id where two of the month have had the same one."""
    ids: dict[str, set[str]] = {}
    for record in found:
        ids.setdefault(record.instance, set()).add(record.instance_id)

    def name_of(record: UsageRecord, _line: Line) -> str:
        return record.instance if len(ids[record.instance]) == 1 else f"{record.instance} {record.instance_id}"

    return name_of


def _grouped(found: Iterable[UsageRecord], key_of: Callable[[UsageRecord, Line], str]) -> tuple[UsageLineOut, ...]:
    groups: dict[str, list[Line]] = {}
    for record in found:
        for line in record.lines:
            groups.setdefault(key_of(record, line), []).append(line)
    return tuple(_sum(key, groups[key]) for key in sorted(groups))


def _sum(key: str, lines: Iterable[Line]) -> UsageLineOut:
    quantities = {LineKind.COMPUTE: 0, LineKind.DISK: 0}
    list_cost = billed = Decimal(0)
    for line in lines:
        quantities[line.kind] += line.quantity
        list_cost += line.list_cost
        billed += line.billed
    return UsageLineOut(
        key=key,
        compute_seconds=quantities[LineKind.COMPUTE],
        disk_gib_seconds=quantities[LineKind.DISK],
        list_cost=list_cost,
        billed=billed,
    )


def _rows(record: UsageRecord) -> list[UsageRecordOut]:
    return [
        UsageRecordOut(
            instance_id=record.instance_id,
            instance=record.instance,
            owner=record.owner,
            hour=record.hour,
            revision=record.revision,
            kind=line.kind.value,
            size=line.size,
            quantity=line.quantity,
            price_per_hour=line.price_per_hour,
            list_cost=line.list_cost,
            billed=line.billed,
            currency=record.currency,
        )
        for line in record.lines
    ]


def _bounds(month: str | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the first instant of the month and of the one after it, UTC."""
    found = _MONTH.fullmatch(month if month is not None else f"{now.astimezone(UTC):%Y-%m}")
    if found is None or found[1] == "0000" or found[1] == "9999":
        raise RefusedError(
            ErrorCode.BAD_REQUEST,
            f"{month!r} is no month",
            "Give a month as 2026-11.",
            details=(("month", "no month"),),
        )
    start = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    return start, (start + timedelta(days=31)).replace(day=1)


def _after(cursor: str | None) -> str:
    """Return the sort key from which the page after `cursor` begins."""
    if cursor is None:
        return ""
    if _CURSOR.fullmatch(cursor) is None:
        raise RefusedError(
            ErrorCode.BAD_REQUEST,
            "the cursor was not made by this list",
            "Start again without a cursor.",
            details=(("cursor", "not made by this list"),),
        )
    # `$` is the character after `#`, so every revision of the hour that the cursor names lies before it.
    return cursor.replace("|", "#") + "$"
