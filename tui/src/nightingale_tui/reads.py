"""What was read, in words: for the command line and the app alike."""

from __future__ import annotations

from collections.abc import Sequence

from nightingale.contract.reads import Exactness, ReadKind, ReadRecord
from nightingale.contract.schemas import InstanceOut

_MOST_RANGES = 2
_WIDEST = 44
_ABOUT = {
    ReadKind.OBSERVER_STARTED: "the observer started",
    ReadKind.OBSERVER_RESTARTED: "the observer was killed and replaced; readers waited",
    ReadKind.SPOOL_FULL: "the spool is full; readers wait",
    ReadKind.SPOOL_DRAINED: "the spool has room again; readers go on",
    ReadKind.SPOOL_DAMAGED: "the spool is damaged; nothing behind is recorded",
}


def observed(instance: InstanceOut) -> str:
    """Return whether reads of the instance's datasets are recorded, or nothing where that is no question yet."""
    if instance.observer is None:
        return ""
    if instance.observer.name is None:
        return f"NOT recorded: {instance.observer.words}"
    return f"recorded by {instance.observer.name}: {instance.observer.words}"


def trouble(instance: InstanceOut) -> str:
    """Return what is wrong with the record of its reads now and what to do, or nothing."""
    found = instance.reads_trouble
    return f"{found.words} {found.next_step}" if found is not None else ""


def what(record: ReadRecord) -> str:
    """Return the file, or what happened to the observer."""
    if record.kind in _ABOUT:
        note = f": {record.note}" if record.note else ""
        return f"({_ABOUT[record.kind]}{note})"
    return f"{record.dataset}/{record.path}"


def ranges(record: ReadRecord) -> str:
    """Return what was asked for of the file: `0-38,911`, `whole`, or nothing yet."""
    if record.kind is not ReadKind.READ:
        return ""
    if record.exactness is Exactness.WHOLE_FILE:
        return "whole file at most"
    if not record.ranges:
        return "opened" if record.closed_at is None else "nothing"
    shown = [f"{offset:,}-{offset + length - 1:,}" for offset, length in record.ranges[:_MOST_RANGES]]
    more = len(record.ranges) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def reader(record: ReadRecord) -> str:
    """Return the program and its process."""
    if record.kind is not ReadKind.READ:
        return ""
    return f"{record.program.rpartition('/')[2] or 'gone before it was seen'} ({record.pid})"


def lines(records: Sequence[ReadRecord]) -> list[str]:
    """Return a line for each record: when, what, how much of it, who."""
    files = [(what(one), ranges(one)) for one in records if one.kind is ReadKind.READ]
    wide = [min(_WIDEST, max((len(text) for text in column), default=0)) for column in zip(*files, strict=True)]
    file, asked = wide or (0, 0)
    return [
        f"{one.at:%m-%d %H:%M:%S}  {what(one):<{file}}  {ranges(one):<{asked}}  {reader(one)}".rstrip()
        for one in records
    ]
