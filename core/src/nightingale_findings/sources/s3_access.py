"""S3 server access logs: lines as Amazon documents them, one request each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from nightingale_findings.logsource import FieldType, LogSource
from nightingale_findings.sources.reading import Unpacking, chunks_of, files_under
from nightingale_findings.sources.set_aside import Asides, Loaded
from nightingale_findings.sources.staging import Row, Staging
from nightingale_findings.sources.wide import Progress, id_of

SOURCE = LogSource(
    name="s3_access",
    product="aws",
    service="s3access",
    table="s3_access",
    fields={
        "bucket": FieldType.TEXT,
        "remote_ip": FieldType.TEXT,
        "requester": FieldType.TEXT,
        "request_id": FieldType.TEXT,
        "operation": FieldType.TEXT,
        "key": FieldType.TEXT,
        "http_status": FieldType.WHOLE,
        "error_code": FieldType.TEXT,
        "bytes_sent": FieldType.WHOLE,
        "object_size": FieldType.WHOLE,
        "user_agent": FieldType.TEXT,
        "version_id": FieldType.TEXT,
    },
)
_WORD = r"(\S+)"
_LINE = re.compile(
    rf'{_WORD} {_WORD} \[([^\]]{{20,40}})\] {_WORD} {_WORD} {_WORD} {_WORD} {_WORD} (?:"[^"]*"|-) {_WORD} {_WORD} '
    rf'{_WORD} {_WORD} {_WORD} {_WORD} (?:"[^"]*"|-) (?:"([^"]*)"|-) {_WORD}'
)
_MOST_LINE = 64 << 10


def load(
    connection: duckdb.DuckDBPyConnection,
    paths: Iterable[Path],
    *,
    progress: Progress = lambda _: None,
    staging: Path | None = None,
    unpacking: Unpacking | None = None,
) -> Loaded:
    """Append every request below `paths` to the table `s3_access`; return how many, and what was set aside.

    DuckDB reads nothing but files of this call in the folder `staging`, the system's temporary one if none is named.
    """
    asides = Asides()
    with Staging(connection, SOURCE, asides, staging) as rows:
        for path in files_under(paths, asides):
            if unpacking is not None and not unpacking.begins(path):
                continue
            progress(path)
            for number, line in _lines(path, asides, unpacking):
                _add(rows, asides, str(path), number, line)
    return rows.loaded()


def load_events(connection: duckdb.DuckDBPyConnection, events: Iterable[Any]) -> Loaded:
    """Append requests from their lines, as examples of rules are."""
    asides = Asides()
    with Staging(connection, SOURCE, asides) as staging:
        for number, line in enumerate(events, 1):
            _add(staging, asides, "", number, str(line).encode())
    return staging.loaded()


def _lines(path: Path, asides: Asides, unpacking: Unpacking | None) -> Iterator[tuple[int, bytes]]:
    number, kept, is_dropping = 1, b"", False
    for chunk in chunks_of(path, asides, unpacking):
        *lines, kept = (kept + chunk).split(b"\n")
        for line in lines:
            if not is_dropping:
                yield number, line
            number, is_dropping = number + 1, False
        if len(kept) > _MOST_LINE:
            if not is_dropping:
                asides.add(str(path), number, "the line is longer than 64 KiB", kept)
            kept, is_dropping = b"", True
    if kept and not is_dropping:
        yield number, kept


def _add(staging: Staging, asides: Asides, file: str, number: int, line: bytes) -> None:
    text = line.decode("utf-8", "replace").strip()
    if not text:
        return
    found = _LINE.match(text)
    at = _time(found[3]) if found else None
    if found is None or at is None:
        asides.add(file, number, "it is no line of an access log", line)
        return
    words = [None if word in {"-", None} else word for word in found.groups()]
    bucket, ip, requester, request, operation, key = words[1], *words[3:8]
    status, error, sent, size, agent, version = words[8], words[9], words[10], words[11], words[14], words[15]
    staging.add(
        Row(
            event_id=id_of(None if request is None else f"{request}/{operation}/{key}"[:200], line),
            at=at,
            person=requester,
            values=(bucket, ip, requester, request, operation, key, status, error, sent, size, agent, version),
        ),
        file,
        number,
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
