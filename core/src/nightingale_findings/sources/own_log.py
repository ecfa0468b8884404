"""Our own audit log, `root/<stream>/<YYYY-MM-DDTHH>.jsonl`, into the tables of `own_tables`, as far as it is new.

Each call reads what was appended since the one before; how far that was stands in `nightingale_files`, in the same
connection and the same transaction as the rows. Streams of reads come last, so that who an instance belongs to is known
by then from its own stream.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightingale_findings.sources.own_rows import DETAILS, STAGED, insert_rows
from nightingale_findings.sources.own_tables import create_tables, next_batch
from nightingale_findings.sources.set_aside import Asides, Loaded

if TYPE_CHECKING:
    import duckdb

SUFFIX = ".jsonl"
_STREAM = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MOST_LINE = 256 * 1024
"""Bytes of a record; the longest that the platform writes has some 100 KiB."""
_MOST_SEQ = 2**63
_CHUNK = 8 << 20
_BLOCK = 64 << 20
"""Bytes that are staged at once: bounds memory whatever a folder holds."""
_NEEDED = ("tag", "actor", "subject", "detail")
_STAGE = f"""
INSERT INTO own_staged
SELECT stream, CAST(seq AS BIGINT), CAST("at" AS TIMESTAMP), tag, actor, subject, detail FROM read_json(?,
    format = 'newline_delimited', ignore_errors = true, maximum_object_size = 1048576, columns = {{
        stream: 'VARCHAR', seq: 'JSON', "at": 'VARCHAR', tag: 'VARCHAR', actor: 'VARCHAR', subject: 'VARCHAR',
        detail: 'STRUCT({", ".join(f'"{name}" VARCHAR' for name in DETAILS)})'}})
WHERE stream IS NOT NULL AND tag IS NOT NULL AND actor IS NOT NULL AND subject IS NOT NULL AND detail IS NOT NULL
    AND regexp_full_match(seq, '[1-9][0-9]{{0,18}}') AND TRY_CAST(seq AS BIGINT) IS NOT NULL
    AND ends_with("at", 'Z') AND TRY_CAST("at" AS TIMESTAMP) IS NOT NULL
"""  # noqa: S608 - names of ours


@dataclass
class _Piece:
    """Whole lines of one file."""

    path: str
    stream: str
    first: int
    """The number of its first line, from 1."""
    lines: list[bytes]


@dataclass
class _Progress:
    """How far the files were read, by path: bytes and lines."""

    known: dict[str, tuple[int, int]]
    changed: dict[str, tuple[int, int]] = field(default_factory=dict)


def load(connection: duckdb.DuckDBPyConnection, root: Path | str, *, staging: Path | None = None) -> Loaded:
    """Bring what is new under `root` into the tables; return how many events, and which lines are none.

    DuckDB reads nothing but a file of this call in the folder `staging`, the system's temporary one if none is named.
    All of it or, when it raises, nothing. A line without its newline is still being written: it is left for the next
    call. Raises OSError when the folder cannot be read.
    """
    create_tables(connection)
    asides = Asides()
    rows = connection.execute("SELECT path, read_to, lines FROM nightingale_files").fetchall()
    progress = _Progress({path: (read_to, lines) for path, read_to, lines in rows})
    connection.execute("BEGIN")
    try:
        events = 0
        batch = 0  # nothing new, no batch
        for block in _blocks(Path(root), progress, asides):
            events += _stage(connection, block, asides, staging)
            batch = batch or next_batch(connection)
            insert_rows(connection, batch)
        if progress.changed:
            connection.executemany(
                "INSERT OR REPLACE INTO nightingale_files VALUES (?, ?, ?)",
                [(path, read_to, lines) for path, (read_to, lines) in progress.changed.items()],
            )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("DROP TABLE IF EXISTS own_staged")
    return Loaded(events=events, set_aside=tuple(asides.told), set_aside_count=asides.count)


# --- files ------------------------------------------------------------------------------------------------------------


def stream_folders(root: Path) -> list[Path]:
    """Return the folders of streams, those of reads last."""
    try:
        found = [path for path in root.iterdir() if _STREAM.fullmatch(path.name) and path.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda path: (path.name.startswith("reads-"), path.name))


def _blocks(root: Path, progress: _Progress, asides: Asides) -> Iterator[list[_Piece]]:
    """Yield new lines, of several files at once, no more than a block of bytes; streams of reads apart from others."""
    block: list[_Piece] = []
    size, of_reads = 0, False
    for folder in stream_folders(root):
        if folder.name.startswith("reads-") and not of_reads:
            of_reads = True
            if block:  # what is known of instances must be in before their reads are
                yield block
                block, size = [], 0
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - a year has 8,760 hours: names are quicker than paths
            if not name.endswith(SUFFIX):
                continue
            path = f"{folder.name}/{name}"
            for piece in _new_lines(folder / name, path, folder.name, progress, asides):
                block.append(piece)
                size += sum(map(len, piece.lines))
                if size >= _BLOCK:
                    yield block
                    block, size = [], 0
    if block:
        yield block


def _new_lines(file: Path, path: str, stream: str, progress: _Progress, asides: Asides) -> Iterator[_Piece]:
    at, count = progress.known.get(path, (0, 0))
    try:
        end = os.lstat(file).st_size
        if end == at:
            return
        if end < at:
            asides.add(path, None, f"the file has {end} bytes, and {at} of it were read before: it was cut")
            return
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        asides.add(path, None, f"the file cannot be opened: {error.strerror}")
        return
    with os.fdopen(fd, "rb") as opened:
        opened.seek(at)
        rest = b""
        too_long = 0
        while at + len(rest) + too_long < end and (chunk := opened.read(_CHUNK)):
            whole, newline, tail = (rest + chunk).rpartition(b"\n") if b"\n" in chunk else (b"", b"", rest + chunk)
            if newline:
                lines = whole.split(b"\n")
                if too_long:
                    asides.add(path, count + 1, f"the line is longer than {_MOST_LINE} bytes", lines[0][:200])
                    at += too_long + len(lines[0]) + 1
                    count, lines, too_long = count + 1, lines[1:], 0
                if lines:
                    yield _Piece(path, stream, count + 1, lines)
                at += sum(map(len, lines)) + len(lines)
                count += len(lines)
                progress.changed[path] = (at, count)
            rest = tail
            if len(rest) > _MOST_LINE:  # thrown away as it comes: a line may have any length
                too_long, rest = too_long + len(rest), b""
        # A line that is too long and has no end yet is looked at again from its beginning.


# --- lines ------------------------------------------------------------------------------------------------------------


def _stage(connection: duckdb.DuckDBPyConnection, block: list[_Piece], asides: Asides, staging: Path | None) -> int:
    """Fill `own_staged` with the block's records; return how many. Lines that are none are set aside."""
    if _is_plain(block):
        total = sum(len(piece.lines) for piece in block)
        if _read(connection, block, staging) == total and _are_at_home(connection, block):
            return total
    for piece in block:
        fit = []
        for number, line in enumerate(piece.lines, piece.first):
            why = _fault(line, piece.stream)
            if why:
                asides.add(piece.path, number, why, line[:200])
            else:
                fit.append(line)
        piece.lines = fit
    total = sum(len(piece.lines) for piece in block)
    kept = _read(connection, block, staging)
    for _ in range(total - kept):
        asides.add("", None, "a record that DuckDB reads otherwise than Python does")
    return kept


def _is_plain(block: list[_Piece]) -> bool:
    return all(max(map(len, piece.lines)) <= _MOST_LINE and b"" not in piece.lines for piece in block)


def _read(connection: duckdb.DuckDBPyConnection, block: list[_Piece], staging: Path | None) -> int:
    """Stage every line that has all that a record has; return how many those are."""
    with tempfile.NamedTemporaryFile(suffix=SUFFIX, buffering=1 << 20, dir=staging) as file:
        for piece in block:
            if piece.lines:
                file.write(b"\n".join(piece.lines))
                file.write(b"\n")
        file.flush()
        connection.execute(STAGED)
        if not os.fstat(file.fileno()).st_size:
            return 0
        connection.execute(_STAGE, [file.name])
    row = connection.execute("SELECT count(*) FROM own_staged").fetchone()
    return int(row[0]) if row else 0


def _are_at_home(connection: duckdb.DuckDBPyConnection, block: list[_Piece]) -> bool:
    """Return whether records name the streams that they lie in: as many of each as there are lines."""
    wanted: dict[str, int] = {}
    for piece in block:
        wanted[piece.stream] = wanted.get(piece.stream, 0) + len(piece.lines)
    found = dict(connection.execute("SELECT stream, count(*) FROM own_staged GROUP BY stream").fetchall())
    return wanted == found


def _fault(line: bytes, stream: str) -> str:
    """Return what is wrong with a line, in words, or nothing."""
    if not line.strip():
        return "the line is empty"
    if len(line) > _MOST_LINE:
        return f"the line is longer than {_MOST_LINE} bytes"
    try:
        record = json.loads(line.decode("utf-8"))
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeError:
        return "the line is not UTF-8, or a text in it no Unicode"
    except (ValueError, RecursionError):
        return "the line is not JSON"
    return _fault_of(record, stream) if isinstance(record, dict) else "the line is not an object"


def _fault_of(record: dict[str, Any], stream: str) -> str:
    if record.get("stream") != stream:
        return f"the record is not of the stream {stream}, in whose folder it lies"
    missing = [name for name in _NEEDED if record.get(name) is None]
    if missing:
        return f"the record has no {missing[0]}"
    if type(record.get("seq")) is not int or not 0 < record["seq"] < _MOST_SEQ:
        return "seq is not a number from 1"
    at = record.get("at")
    try:
        is_utc = isinstance(at, str) and at.endswith("Z") and datetime.fromisoformat(at).tzinfo is not None
    except ValueError:
        is_utc = False
    return "" if is_utc else "at is not a time in UTC, as 2026-11-02T10:00:00Z"
