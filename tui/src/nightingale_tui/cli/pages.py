"""Lists whole: every page, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from nightingale.contract import schemas as s
from nightingale.contract.reads import ReadRecord
from nightingale_tui.api.client import Api

_PAGE = 500


def all_instances(api: Api, project: str, *, include_all: bool) -> tuple[s.InstanceOut, ...]:
    """Return every instance of the project, newest first."""

    def rows() -> Iterator[s.InstanceOut]:
        page = api.list_instances(project, include_all=include_all, limit=_PAGE)
        yield from page.instances
        while page.next_cursor:
            page = api.list_instances(project, include_all=include_all, limit=_PAGE, cursor=page.next_cursor)
            yield from page.instances

    return tuple(rows())


def all_history(api: Api, project: str, instance: str) -> tuple[s.HistoryEntryOut, ...]:
    """Return every change of the instance, oldest first."""

    def rows() -> Iterator[s.HistoryEntryOut]:
        page = api.list_history(project, instance, limit=_PAGE)
        yield from page.entries
        while page.next_cursor:
            page = api.list_history(project, instance, limit=_PAGE, cursor=page.next_cursor)
            yield from page.entries

    return tuple(rows())


def reads_after(api: Api, project: str, instance: str, *, cursor: str | None) -> tuple[tuple[ReadRecord, ...], str]:
    """Return every read behind the cursor, oldest first, and the cursor behind them."""
    found: list[ReadRecord] = []
    while True:
        page = api.list_reads(project, instance, cursor=cursor, limit=_PAGE)
        found += page.reads
        if page.next_cursor == (cursor or "0"):
            return tuple(found), page.next_cursor
        cursor = page.next_cursor


def all_usage_records(api: Api, project: str, *, month: str | None) -> tuple[s.UsageRecordOut, ...]:
    """Return every usage record of the month, in order of hour."""

    def rows() -> Iterator[s.UsageRecordOut]:
        page = api.list_usage_records(project, month=month, limit=_PAGE)
        yield from page.records
        while page.next_cursor:
            page = api.list_usage_records(project, month=month, limit=_PAGE, cursor=page.next_cursor)
            yield from page.records

    return tuple(rows())


def all_audit_events(api: Api, stream: str) -> Iterator[s.AuditEventOut]:
    """Yield every fact of the stream, oldest first."""
    page = api.list_audit_events(stream, limit=_PAGE)
    yield from page.events
    while page.next_cursor:
        page = api.list_audit_events(stream, limit=_PAGE, cursor=page.next_cursor)
        yield from page.events
