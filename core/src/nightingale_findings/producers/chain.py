"""Derived from the audit log itself: a record that is missing, changed, moved, or cut off.

What was appended is checked once. A file that is no longer written to is remembered by its size and the time of its
last change: should either differ, its stream is checked anew from its beginning; `is_full` does that for all. A break
is dated by the newest record of its stream at the time when it is seen: long after it was made, perhaps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nightingale.contract.canonical import GENESIS, canonical_json, chain_hash
from nightingale_findings.producers.derived import tell
from nightingale_findings.sources.own_log import SUFFIX, stream_folders

if TYPE_CHECKING:
    import duckdb

_MOST_LINE = 256 * 1024
_HEAD_NAME = ".head"
_MOST_BREAKS = 20
"""Breaks of one stream that are told of at once: a stream that was written anew has one in each line."""


@dataclass(frozen=True)
class _Chain:
    """How far a stream was checked."""

    stream: str
    path: str = ""
    read_to: int = 0
    seq: int = 0
    hash: str = GENESIS
    last_at: datetime | None = None


@dataclass(frozen=True)
class Break:
    """The first record at which a chain does not hold, or holds no longer."""

    stream: str
    seq: int
    why: str
    at: datetime


def produce(connection: duckdb.DuckDBPyConnection, root: Path, batch: int, *, is_full: bool = False) -> None:
    """Check what is new of each stream under `root`, and tell of breaks. Raises OSError."""
    breaks = [one for folder in stream_folders(root) for one in _check(connection, folder, is_full=is_full)]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE own_breaks (stream VARCHAR, seq BIGINT, why VARCHAR, seen_at TIMESTAMP)"
    )
    if breaks:
        rows = [(one.stream, one.seq, one.why, one.at) for one in breaks]
        connection.executemany("INSERT INTO own_breaks VALUES (?, ?, ?, ?)", rows)
    tell(
        connection,
        "SELECT 'chain_broken/' || b.stream || '/' || b.seq AS event_id, any_value(b.seen_at) AS \"at\", "
        "any_value(i.owner) AS person, any_value(i.instance) AS instance, any_value(i.project) AS project, "
        "'chain_broken' AS kind, b.stream AS subject, CAST(b.seq AS DOUBLE) AS value, any_value(b.why) AS note, "
        "CAST($batch AS BIGINT) AS batch "
        "FROM own_breaks b LEFT JOIN nightingale_instances i ON i.instance = regexp_replace(b.stream, '^reads-', '') "
        "GROUP BY b.stream, b.seq",
        {"batch": batch},
    )


def _check(connection: duckdb.DuckDBPyConnection, folder: Path, *, is_full: bool) -> Iterator[Break]:
    stream = folder.name
    row = connection.execute(
        "SELECT stream, path, read_to, seq, hash, last_at FROM nightingale_chains WHERE stream = ?", [stream]
    ).fetchone()
    chain = _Chain(*row) if row is not None else _Chain(stream)
    head = _head(folder)  # read first: what is appended meanwhile only comes on top
    files = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))  # noqa: PTH208 - names are quicker
    missing = _changed(connection, stream, folder, files, chain)
    if missing or is_full:
        last = chain.last_at
        chain = _Chain(stream, last_at=last)
        if missing:
            yield Break(stream, 0, missing, last or _EPOCH)
    told = 0
    for name in files:
        if name < chain.path:
            continue
        start = chain.read_to if name == chain.path else 0
        chain = replace(chain, path=name, read_to=start)
        for line, why in _lines(folder / name, start):
            wrong = why
            after = chain
            if not why:
                after, wrong = _follow(chain, line, stream)
            if wrong:
                told += 1
                if told <= _MOST_BREAKS:
                    yield Break(stream, chain.seq + 1, wrong, after.last_at or chain.last_at or _EPOCH)
            chain = replace(after, read_to=chain.read_to + len(line))
        _remember(connection, folder, name)
    if head is not None and chain.seq < head[0]:
        why = f"record {head[0]} was acknowledged, and the stream ends with {chain.seq}: its end was cut off"
        yield Break(stream, chain.seq + 1, why, chain.last_at or _EPOCH)
    connection.execute(
        "INSERT OR REPLACE INTO nightingale_chains VALUES (?, ?, ?, ?, ?, ?)",
        [stream, chain.path, chain.read_to, chain.seq, chain.hash, chain.last_at],
    )


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - columns hold UTC without saying so


def _follow(chain: _Chain, line: bytes, stream: str) -> tuple[_Chain, str]:
    """Return the chain behind a line, and what is wrong with it; behind a break it goes on from the record as it is."""
    try:
        record = json.loads(line)
        prev, known = record.pop("prev"), record.pop("hash")
        at = datetime.fromisoformat(record["at"]).astimezone(UTC).replace(tzinfo=None)
        seq = int(record["seq"])
        counted = chain_hash(prev, record)
        is_as_written = canonical_json({**record, "prev": prev, "hash": known}) + b"\n" == line
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return replace(chain, seq=chain.seq + 1), "the line is no record"
    after = replace(chain, seq=seq, hash=known, last_at=at)
    if record.get("stream") != stream:
        return after, f"the record is one of the stream {str(record.get('stream'))[:63]}"
    if seq != chain.seq + 1:
        return after, f"record {seq} stands where {chain.seq + 1} should"
    if prev != chain.hash:
        return after, f"record {seq} does not follow from the one before: one of the two was changed"
    if counted != known or not is_as_written:
        return after, f"record {seq} was changed"
    return after, ""


def _lines(file: Path, start: int) -> Iterator[tuple[bytes, str]]:
    """Yield whole lines behind an offset, and what is wrong with a line before it is read as a record."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as opened:
        opened.seek(start)
        while line := opened.readline(_MOST_LINE):
            if line.endswith(b"\n"):
                yield line, ""
            elif len(line) < _MOST_LINE:
                return  # still being written, or torn: repaired by the next writer
            else:
                yield line, "the line is too long for a record"


def _changed(connection: duckdb.DuckDBPyConnection, stream: str, folder: Path, files: list[str], chain: _Chain) -> str:
    """Return in words what happened to files that were checked, or nothing."""
    rows = connection.execute(
        "SELECT path, size, changed_ns FROM nightingale_chain_files WHERE starts_with(path, ?)", [f"{stream}/"]
    ).fetchall()
    for path, size, changed_ns in rows:
        name = path.removeprefix(f"{stream}/")
        if name not in files:
            connection.execute("DELETE FROM nightingale_chain_files WHERE path = ?", [path])
            return f"the file {name} is gone"
        found = os.lstat(folder / name)
        is_cut = name == chain.path and found.st_size < chain.read_to
        if is_cut or (name < chain.path and (found.st_size, found.st_ctime_ns) != (size, changed_ns)):
            connection.execute("DELETE FROM nightingale_chain_files WHERE path = ?", [path])
            return f"the file {name} was changed after it was checked"
    return ""


def _remember(connection: duckdb.DuckDBPyConnection, folder: Path, name: str) -> None:
    """Note a file as it is now.

    A file that grows between the look at its lines and this one is the newest: its change counts once another is newer,
    and by then it has been looked at again.
    """
    found = os.lstat(folder / name)
    connection.execute(
        "INSERT OR REPLACE INTO nightingale_chain_files VALUES (?, ?, ?)",
        [f"{folder.name}/{name}", found.st_size, found.st_ctime_ns],
    )


def _head(folder: Path) -> tuple[int, str] | None:
    """Return number and hash of the last record that was acknowledged; None where there is no such file."""
    try:
        text = (folder / _HEAD_NAME).read_bytes()[:200].decode("ascii")
        seq, known = text.split()
        return int(seq), known
    except (OSError, ValueError):
        return None
