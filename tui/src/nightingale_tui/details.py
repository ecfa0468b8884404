"""Reading what the detail screen shows beside the instance: its history and the log in sight, only what is new."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from nightingale.contract import schemas as s
from nightingale.contract.reads import ReadRecord
from nightingale.contract.vocabulary import LogSource
from nightingale_tui import state
from nightingale_tui.api.client import Api
from nightingale_tui.state import LogView

_PAGE = 500
_MOST_PAGES = 20
_TAIL = 300
_MOST_READS = 2_000


@dataclass(frozen=True)
class Detail:
    """What is known of one instance so far; `history_of` is the change up to which its history was read."""

    instance: s.InstanceOut
    history: tuple[s.HistoryEntryOut, ...] = ()
    history_of: datetime | None = None
    build_log: LogView = field(default_factory=LogView)
    jupyter_log: LogView = field(default_factory=LogView)
    reads: tuple[ReadRecord, ...] = ()
    reads_cursor: str | None = None


READS: Literal["reads"] = "reads"
Sight = LogSource | Literal["reads"]
"""What is in sight and read as it grows: one of the logs, or the reads of datasets."""


def read_detail(api: Api, project: str, known: s.InstanceOut | None, before: Detail, source: Sight | None) -> Detail:
    """Return `before` with what is new: the history once its instance changed, and the lines of what is in sight.

    `known` is the instance as the list has it; None, and the overview in sight, ask for it. Raises ClientError.
    """
    # How full the home is stands in the answer about one instance only, and in the overview.
    instance = known if known is not None and source is not None else api.get_instance(project, before.instance.id)
    detail = replace(before, instance=instance)
    if detail.history_of != instance.status_at or not detail.history:
        detail = replace(detail, history=_history(api, project, instance.id), history_of=instance.status_at)
    if source is LogSource.BUILD:
        log = state.log_subject_changed(detail.build_log, instance.build_id or "")
        return replace(detail, build_log=_log(api, project, instance.id, source, log))
    if source is LogSource.JUPYTER:
        log = state.log_subject_changed(detail.jupyter_log, str(instance.generation))
        return replace(detail, jupyter_log=_log(api, project, instance.id, source, log))
    if source == READS and instance.datasets:
        page = api.list_reads(project, instance.id, cursor=detail.reads_cursor, tail=_TAIL, limit=_PAGE)
        return replace(detail, reads=(*detail.reads, *page.reads)[-_MOST_READS:], reads_cursor=page.next_cursor)
    return detail


def _history(api: Api, project: str, instance: str) -> tuple[s.HistoryEntryOut, ...]:
    entries: list[s.HistoryEntryOut] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = api.list_history(project, instance, cursor=cursor, limit=_PAGE)
        entries.extend(page.entries)
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(entries)


def _log(api: Api, project: str, instance: str, source: LogSource, log: LogView) -> LogView:
    if log.is_complete:
        return log
    tail = _TAIL if log.next_offset is None else None
    return state.log_read(log, api.read_log(project, instance, source, offset=log.next_offset, tail=tail))
