"""What people see of instances: lists, details, history, builds and logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import (
    BuildsOut,
    HistoryOut,
    HomeOut,
    ImageCheckOut,
    InstanceOut,
    InstancesOut,
    LogOut,
)
from nightingale.contract.vocabulary import Action, LogSource, Permission, Reach, Status
from nightingale.domain.access import Access
from nightingale.domain.build import Build
from nightingale.domain.catalog import Cluster
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import HistoryEntry
from nightingale.domain.instance import Instance
from nightingale.ports.clock import Clock
from nightingale.ports.machines import Machines, MachineUnavailableError
from nightingale.ports.store import InvalidCursorError, Item, Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.lifecycle import Lifecycle, Stored, not_found
from nightingale.services.presenting import present_build, present_entry, present_instance
from nightingale.services.usage import UsageService

_LOG_LINES = 1000
"""Lines of one answer when the caller names no number."""

Lines = tuple[tuple[str, ...], int]
"""Lines, and the offset after them."""


@dataclass(frozen=True)
class InstanceViews:
    """The use cases that read."""

    store: Store
    clock: Clock
    lifecycle: Lifecycle
    catalog: CatalogService
    usage: UsageService
    machines: Mapping[str, Machines]

    def list(self, access: Access, *, include_all: bool, cursor: str | None, limit: int) -> InstancesOut:
        """Return live instances of the project, newest first; with `include_all` terminated ones after them."""
        partition = records.project_partition(access.project)
        room, _, inner = (cursor or "live:").partition(":")
        if room not in {"live", "ended"} or (room == "ended" and not include_all):
            raise InvalidCursorError
        items: list[Item] = []
        next_cursor: str | None = None
        if room == "live":
            page = self.store.query(partition, prefix=records.LIVE, limit=limit, cursor=inner or None, is_reversed=True)
            items += page.items
            next_cursor = f"live:{page.cursor}" if page.cursor else ("ended:" if include_all else None)
        if include_all and next_cursor in {None, "ended:"} and len(items) < limit:
            page = self.store.query(
                partition,
                prefix=records.ENDED,
                limit=limit - len(items),
                cursor=inner if room == "ended" and inner else None,
                is_reversed=True,
            )
            items += page.items
            next_cursor = f"ended:{page.cursor}" if page.cursor else None
        cluster = self.catalog.load()
        shown = tuple(self.present(access, records.decode(item, Instance), cluster) for item in items)
        return InstancesOut(instances=shown, next_cursor=next_cursor)

    def get(self, access: Access, name: str) -> InstanceOut:
        """Return one instance by its name or id. Raises RefusedError `not_found`."""
        instance = self.find(access, name).instance
        home, image_check = self._seen_of(instance)
        return msgspec.structs.replace(self.present(access, instance, home=home), image_check=image_check)

    def history(self, access: Access, name: str, cursor: str | None, limit: int) -> HistoryOut:
        """Return its history, oldest first."""
        instance = self.find(access, name).instance
        page = self.store.query(records.history_partition(instance.id), prefix="HISTORY#", limit=limit, cursor=cursor)
        with_log, with_why = _reads_log(access, instance), is_warden(access)
        kept = (records.decode(item, HistoryEntry) for item in page.items)
        entries = tuple(present_entry(entry, with_log=with_log, with_why=with_why) for entry in kept)
        return HistoryOut(entries=entries, next_cursor=page.cursor)

    def builds(self, access: Access, name: str, cursor: str | None, limit: int) -> BuildsOut:
        """Return its builds, newest first."""
        instance = self.find(access, name).instance
        page = self.store.query(
            records.history_partition(instance.id), prefix="BUILD#", limit=limit, cursor=cursor, is_reversed=True
        )
        with_log = _reads_log(access, instance)
        builds = tuple(present_build(records.decode(item, Build), with_log=with_log) for item in page.items)
        return BuildsOut(builds=builds, next_cursor=page.cursor)

    def read_log(self, access: Access, name: str, source: LogSource, offset: int | None, tail: int | None) -> LogOut:
        """Return whole lines of a log, from a byte offset or the last `tail` lines."""
        instance = self.own(access, name)
        limit = _LOG_LINES if offset is not None or tail is None else tail
        if source is LogSource.BUILD:
            # Whether it has ended is read before its lines, so that a complete log lacks none.
            found = self.lifecycle.find_build(instance)
            builder = self.lifecycle.builders.get(instance.place)
            has_ended = found is None or found[0].finished_at is not None
            if found is None or builder is None:
                return LogOut(source=source, lines=(), next_offset=offset or 0, is_complete=has_ended)
            lines, after = _read(partial(builder.read_log, found[0].id), offset, limit)
        else:
            machines = self.machines.get(instance.place)
            has_ended = instance.status in {Status.STOPPED, Status.FAILED, Status.TERMINATED}
            if machines is None:
                return LogOut(source=source, lines=(), next_offset=offset or 0, is_complete=has_ended)
            start = offset if offset is not None else machines.log_tail_offset(instance.id, limit)
            lines, after = machines.read_log(instance.id, start, limit)
        return LogOut(source=source, lines=lines, next_offset=after, is_complete=has_ended and len(lines) < limit)

    def own(self, access: Access, name: str) -> Instance:
        """Return the instance if the grant reaches it. Raises RefusedError `not_found`, `forbidden`."""
        instance = self.find(access, name).instance
        require_own(access, instance)
        return instance

    def find(self, access: Access, name: str) -> Stored:
        """Return the instance of the project by its name or id. Raises RefusedError `not_found`."""
        is_id = name.startswith("i-")
        found = self.lifecycle.find(access.project, name) if is_id else self.lifecycle.find_named(access.project, name)
        if found is None:
            raise not_found(name, access.project)
        return found

    def _seen_of(self, instance: Instance) -> tuple[HomeOut | None, ImageCheckOut | None]:
        """Return what only a look at the machine tells: how full the home is, whether the image is as installed."""
        machines = self.machines.get(instance.place)
        if machines is None:
            return None, None
        try:
            home, check = machines.home(instance.id), machines.image_check(instance.id)
        except MachineUnavailableError:
            return None, None
        return (
            None if home is None else msgspec.convert(home, HomeOut, from_attributes=True),
            None if check is None else msgspec.convert(check, ImageCheckOut, from_attributes=True),
        )

    def present(
        self, access: Access, instance: Instance, cluster: Cluster | None = None, *, home: HomeOut | None = None
    ) -> InstanceOut:
        """Return it as this principal sees it; a list hands in the cluster, so that it is read once for all."""
        cluster = cluster or self.catalog.load()
        cost, seconds = self.usage.spent(instance, cluster)
        return present_instance(
            instance,
            cluster,
            self.clock.now(),
            cost=cost,
            usage_seconds=seconds,
            actions=_actions(access, instance),
            with_log=_reads_log(access, instance),
            with_why=is_warden(access),
            home=home,
        )


def _read(read: Callable[[int, int], Lines], offset: int | None, limit: int) -> Lines:
    """Return up to `limit` lines from an offset, or the last so many of the whole log."""
    if offset is not None:
        return read(offset, limit)
    lines: tuple[str, ...] = ()
    after = 0
    while True:
        more, after = read(after, _LOG_LINES)
        lines = (*lines, *more)[-limit:] if limit else ()
        if len(more) < _LOG_LINES:
            return lines, after


def _actions(access: Access, instance: Instance) -> tuple[Action, ...]:
    """Return what this principal may ask of the instance now."""
    principal = access.principal
    control = Access(principal, access.project, principal.reach(Permission.INSTANCE_CONTROL, access.project))
    opening = Access(principal, access.project, principal.reach(Permission.INSTANCE_OPEN, access.project))
    is_admin = is_warden(access)
    allowed = tuple(
        action
        for action in instance.allowed_actions()
        if (opening if action is Action.OPEN else control).covers(instance.owner)
    )
    if instance.is_quarantined:
        may_end = is_admin and instance.owner != principal.name
        allowed = tuple(one for one in allowed if may_end and one in {Action.STOP, Action.DELETE})
    if not is_admin or instance.status is Status.TERMINATED:
        return allowed
    return (*allowed, Action.RELEASE if instance.is_quarantined else Action.QUARANTINE)


def _reads_log(access: Access, instance: Instance) -> bool:
    """Return whether this principal may see lines of the instance's logs."""
    principal = access.principal
    return Access(principal, access.project, principal.reach(Permission.LOG_READ, access.project)).covers(
        instance.owner
    )


def is_warden(access: Access) -> bool:
    """Return whether this principal may put instances in quarantine: they are also told why one is in it."""
    return access.principal.reach(Permission.INSTANCE_QUARANTINE, access.project) is not Reach.NONE


def require_own(access: Access, instance: Instance) -> None:
    """Refuse what the grant does not reach: somebody else's instance."""
    if not access.covers(instance.owner):
        raise RefusedError(
            ErrorCode.FORBIDDEN,
            f"{instance.name} belongs to {instance.owner}",
            "Ask its owner or the project's lead.",
        )
