"""The list's columns, chosen by the width there is, and an instance's cells for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from nightingale.contract.schemas import CatalogOut, InstanceOut
from nightingale_tui.state import ListView, uptime_s
from nightingale_tui.widgets import words
from nightingale_tui.widgets.row_table import Cell, Column, Row

_GAP = 2
_SCROLLBAR = 1
_SHORTEST_NAME, _LONGEST_NAME = 12, 32
_WIDE_ENOUGH = 88
"""For progress beside the uptime."""


@dataclass(frozen=True)
class Moment:
    """What a cell needs beside its instance: the moment shown, the catalogue, the frame of turning signs."""

    shown: datetime
    catalog: CatalogOut | None = None
    frame: int = 0


def _status(one: InstanceOut, moment: Moment) -> Cell:
    label = words.status_label(one, moment.frame)
    return Cell(f"{label.sign} {label.word}", label.tone)


def _reason(one: InstanceOut, _moment: Moment) -> Cell:
    return Cell(f"{one.reason.words}" if one.reason else "", "")


def _uptime(one: InstanceOut, moment: Moment) -> Cell:
    seconds = uptime_s(one, moment.shown)
    return Cell("-" if seconds is None else words.duration(seconds), "faint" if seconds is None else "")


_CELLS: dict[str, Callable[[InstanceOut, Moment], Cell]] = {
    "name": lambda one, _: Cell(one.name, "strong"),
    "owner": lambda one, _: Cell(one.owner),
    "status": _status,
    "size": lambda one, moment: Cell(words.size_short(one.size, moment.catalog)),
    "progress": lambda one, _: Cell(words.progress(one.job), "good" if one.job else ""),
    "place": lambda one, _: Cell(one.place),
    "stops": lambda one, moment: Cell(words.until(one.stops_at, moment.shown) or "-", "" if one.stops_at else "faint"),
    "price": lambda one, _: Cell(words.number(one.price_per_hour.amount)),
    "cost": lambda one, _: Cell(words.number(one.cost.amount)),
    "uptime": _uptime,
    "active": lambda one, moment: Cell(words.ago(one.last_activity_at, moment.shown), "faint"),
    "reason": _reason,
}

_ORDER = (
    "name",
    "owner",
    "status",
    "progress",
    "size",
    "place",
    "stops",
    "price",
    "cost",
    "uptime",
    "active",
    "reason",
)
_ALWAYS = (
    Column("name", "NAME", _SHORTEST_NAME),
    Column("status", "STATUS", 14),
    Column("size", "SIZE", 12),
    Column("stops", "STOPS", 7, is_right=True),
    Column("cost", "COST", 8, is_right=True),
    Column("uptime", "UPTIME", 7, is_right=True),
)
_PROGRESS = Column("progress", "PROGRESS", 13)
_OPTIONAL: tuple[tuple[Column, int, Callable[[Sequence[InstanceOut]], bool]], ...] = (
    # the column, how much NAME must keep, and when it says anything at all
    (Column("price", "$/H", 6, is_right=True), 20, lambda _: True),
    (Column("owner", "OWNER", 8), 20, lambda rows: len({one.owner for one in rows}) > 1),
    (Column("reason", "REASON", 20), 16, lambda rows: any(one.reason for one in rows)),
    (Column("place", "PLACE", 6), 20, lambda rows: len({one.place for one in rows}) > 1),
    (Column("active", "ACTIVE", 10), 20, lambda rows: any(one.last_activity_at for one in rows)),
)


def columns_for(width: int, rows: Sequence[InstanceOut], view: ListView, currency: str) -> tuple[Column, ...]:
    """Return the columns that fit `width` cells, the most needed first; the reason takes what is left over."""
    chosen = {column.key: column for column in _ALWAYS}
    if any(one.job for one in rows):
        chosen["progress"] = _PROGRESS
        if width < _WIDE_ENOUGH:
            del chosen["uptime"]
    free = width - _SCROLLBAR - sum(column.width + _GAP for column in chosen.values())
    for column, name_keeps, is_telling in _OPTIONAL:
        cost = column.width + _GAP
        if is_telling(rows) and free - cost >= name_keeps - _SHORTEST_NAME:
            chosen[column.key] = column
            free -= cost
    longest = max([len(one.name) for one in rows] or [_SHORTEST_NAME])
    name = min(_LONGEST_NAME, max(_SHORTEST_NAME, longest), _SHORTEST_NAME + max(0, free))
    free -= name - _SHORTEST_NAME
    chosen["name"] = replace(chosen["name"], width=name)
    if "reason" in chosen:
        chosen["reason"] = replace(chosen["reason"], width=chosen["reason"].width + max(0, free))
    return tuple(_titled(chosen[key], view, currency) for key in _ORDER if key in chosen)


def _titled(column: Column, view: ListView, currency: str) -> Column:
    title = column.title
    if view.sort.value == title:
        title += "▴" if view.is_reversed else "▾"
    return replace(column, title=title.replace("$", words.currency_sign(currency) or "$"))


def rows_for(columns: Sequence[Column], instances: Sequence[InstanceOut], moment: Moment) -> list[Row]:
    """Return a row per instance, keyed by its id."""
    return [Row(one.id, tuple(_CELLS[column.key](one, moment) for column in columns)) for one in instances]
