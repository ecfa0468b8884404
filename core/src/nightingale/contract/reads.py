"""Reads of datasets: what the observer of an instance writes down, ships, and the platform keeps.

One record tells of one opened file, or of a part of what was asked for from it while it stayed open. Ranges are what
the reader asked the kernel for, rounded to pages and cut at the file's end, never what it looked at: `whole_file` is
an upper bound.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from nightingale.contract.schemas import In, Out

MOST_RECORDS = 500
"""Of one batch; with the longest paths and 256 ranges each it stays under the platform's limit of a body."""

MOST_RANGES = 256
"""Of one record; a file asked for in more pieces counts as read whole."""


class Exactness(StrEnum):
    """What the ranges of a record mean."""

    RANGES = "page-granular ranges asked for, by reader"
    WHOLE_FILE = "whole file, upper bound"


class ReadKind(StrEnum):
    """What a record tells."""

    READ = "read"
    OBSERVER_STARTED = "observer_started"
    OBSERVER_RESTARTED = "observer_restarted"
    """The guard died and was replaced; readers waited meanwhile, and those it had not answered were refused."""
    SPOOL_FULL = "spool_full"
    """Nothing more can be written down: readers wait from now on. `note` says what has no room."""
    SPOOL_DRAINED = "spool_drained"
    """There is room again: readers go on."""
    SPOOL_DAMAGED = "spool_damaged"
    """What lies in the spool is not what the guard wrote; nothing behind it is shipped. `note` says where."""


ABOUT_THE_OBSERVER = frozenset(ReadKind) - {ReadKind.READ, ReadKind.OBSERVER_STARTED}
"""Facts that people are told of, beside the list of reads."""


_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class ReadRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one reader asked for. `number` counts an instance's records from 1 without a gap."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    kind: ReadKind
    at: datetime
    """When the file was opened; of a later part, when the part ended."""
    open_id: _Whole = 0
    """The same for every part of one opening."""
    closed_at: datetime | None = None
    dataset: Annotated[str, msgspec.Meta(max_length=100)] = ""
    version: Annotated[str, msgspec.Meta(max_length=100)] = ""
    path: _Text = ""
    """Inside the dataset, from the dataset's own list of files: whatever name the reader used."""
    sha256: Annotated[str, msgspec.Meta(max_length=64)] = ""
    size: _Whole = 0
    ranges: Annotated[tuple[tuple[_Whole, _Whole], ...], msgspec.Meta(max_length=MOST_RANGES)] = ()
    """Offset and length in bytes, in the order asked for."""
    exactness: Exactness = Exactness.RANGES
    is_inherited: bool = False
    """Read through a descriptor that another process had opened."""
    pid: _Whole = 0
    """As the machine numbers it, not the sandbox."""
    started_ticks: _Whole = 0
    """The process's start in clock ticks after boot; names it together with the pid."""
    uid: _Whole | None = None
    """The account it ran under; None when it had ended before that could be seen."""
    program: _Text = ""
    """The path of the reader's program, as its own mount namespace shows it."""
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """What the observer has to add, of a fact about itself."""


class ReadsIn(In, frozen=True):
    """A batch: records in order of number."""

    records: Annotated[tuple[ReadRecord, ...], msgspec.Meta(min_length=1, max_length=MOST_RECORDS)]


class ReadsTaken(Out, frozen=True):
    """What the platform has now: every record up to `number`."""

    number: int


class ReadsOut(Out, frozen=True):
    """Records in order; `next_cursor` asks for what comes behind them, now or later."""

    reads: tuple[ReadRecord, ...]
    next_cursor: str


class ObservedMount(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset to be watched: its folder, and where the watched file system of it is to be mounted."""

    dataset: str
    version: str
    tier: int
    source: str
    target: str


class ObserverSpec(msgspec.Struct, frozen=True, kw_only=True):
    """`instances/<id>/observer.json`: what the observer of one instance is told. Carries no secret."""

    instance_id: str
    spool_dir: str
    api_file: str
    """JSON with the `url` of the platform's API, or its `host` and `port`; read anew before each batch."""
    token_file: str
    mounts: tuple[ObservedMount, ...]


class ObserverSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What the observer answers once it watches, or cannot."""

    name: str | None
    """`fanotify` or `fuse` with ranges, `fanotify-open` or `fuse-open` without, or None: nothing watches."""
    words: str
    """How exact it is, or why nothing watches."""
    next_step: str = ""
