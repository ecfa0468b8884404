"""What the wide cloud sources share: events out of files, wrappers taken off, a row each, nothing raised."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from nightingale_findings.logsource import LogSource
from nightingale_findings.sources.reading import Unpacking, files_under
from nightingale_findings.sources.set_aside import Asides, Loaded
from nightingale_findings.sources.splitting import MOST_EVENT, values_of
from nightingale_findings.sources.staging import Row, Staging

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
Progress = Callable[[Path], None]

_MOST_WRAPPERS = 4
_LOOKED_AT = 2048
"""Bytes in which a wrapper's key stands, if there is one."""
_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?\d*(Z|[+-]\d\d:?\d\d)?$")
_EPOCH = re.compile(r"\d{10}(\.\d+)?|\d{13}")
_MILLISECONDS = 100_000_000_000
_FORMS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%b %d, %Y %I:%M:%S %p", "%b %d, %Y, %I:%M:%S %p",
    "%b %d, %Y @ %H:%M:%S.%f", "%B %d, %Y, %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y, %I:%M:%S %p", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d",
)  # fmt: skip
_FIRST_YEAR, _LAST_YEAR = 1970, 2199


@dataclass(frozen=True)
class Wide:
    """How events of one source are read. `row` returns the row, why there is none, or "" for what is none by design."""

    source: LogSource
    mark: str
    """The key that every event has."""
    wrappers: tuple[str, ...]
    """Keys under which other tools put the event."""
    row: Callable[[bytes], Row | str]

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        paths: Iterable[Path],
        *,
        progress: Progress = lambda _: None,
        staging: Path | None = None,
        unpacking: Unpacking | None = None,
    ) -> Loaded:
        """Append every event below `paths` to the source's table; return how many, and what was set aside.

        Nothing in a file raises. The same event id is there once. DuckDB reads nothing but files of this call in the
        folder `staging`, the system's temporary one if none is named.
        """
        asides = Asides()
        with Staging(connection, self.source, asides, staging) as rows:
            for path in files_under(paths, asides):
                if unpacking is not None and not unpacking.begins(path):
                    continue
                progress(path)
                for line, value in values_of(path, asides, unpacking):
                    for event in unwrapped(value, self.mark, self.wrappers):
                        self._add(rows, asides, str(path), line, event)
        return rows.loaded()

    def load_events(self, connection: duckdb.DuckDBPyConnection, events: Iterable[Any]) -> Loaded:
        """Append events that are Python values already, as examples of rules are."""
        asides = Asides()
        with Staging(connection, self.source, asides) as staging:
            for number, value in enumerate(events, 1):
                for event in unwrapped(msgspec.json.encode(value), self.mark, self.wrappers):
                    self._add(staging, asides, "", number, event)
        return staging.loaded()

    def _add(self, staging: Staging, asides: Asides, file: str, line: int | None, event: bytes) -> None:
        if len(event) > MOST_EVENT:
            asides.add(file, line, "it is longer than 1 MiB", event[:400])
            return
        try:
            row = self.row(event)
        except BROKEN as error:
            asides.add(file, line, f"it cannot be read: {error}"[:200], event)
            return
        if isinstance(row, Row):
            staging.add(row, file, line)
        elif row:
            asides.add(file, line, row, event)


def unwrapped(value: bytes, mark: str, wrappers: tuple[str, ...], depth: int = 0) -> Iterator[bytes]:
    """Yield the event in `value`: if the mark is not there, what stands under a wrapper's key, object or text."""
    if f'"{mark}"'.encode() in value and not _any_of(wrappers).search(value, 0, _LOOKED_AT):
        yield value
        return
    try:
        held = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except BROKEN:
        yield value
        return
    inner = next((held[name] for name in wrappers if name in held), None)
    if mark in held or inner is None or depth >= _MOST_WRAPPERS:
        yield value
        return
    body = bytes(inner)
    if body[:1] == b'"':
        try:
            body = msgspec.json.decode(body, type=str).encode()
        except BROKEN:
            yield value
            return
    if body.lstrip()[:1] == b"{":
        yield from unwrapped(body, mark, wrappers, depth + 1)
    else:
        yield value


@functools.cache
def _any_of(names: tuple[str, ...]) -> re.Pattern[bytes]:
    return re.compile(f'"(?:{"|".join(map(re.escape, names))})"'.encode())


def time_of(text: object) -> datetime | None:
    """Return the time, aware, or None. A time without a zone is UTC, as the clouds' are.

    Besides what the clouds write, what tables and dashboards make of it is read: `... UTC`, `Mar 2, 2026 9:00:00 AM`,
    `03/02/2026 09:00:00` (the month first), seconds or milliseconds since 1970.
    """
    plain = text if isinstance(text, str) else ""
    found = _PLAIN_TIME.match(plain)
    if found is None:
        return _time_of_table(text)
    try:
        at = datetime.fromisoformat(f"{plain[:19]}{(found[1] or '')[:7]}{found[2] or ''}")
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at if _FIRST_YEAR < at.year <= _LAST_YEAR else None


def _time_of_table(value: object) -> datetime | None:
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    try:
        if _EPOCH.fullmatch(text):
            whole = float(text)
            at = datetime.fromtimestamp(whole / 1000 if whole >= _MILLISECONDS else whole, UTC)
            return at if _FIRST_YEAR < at.year <= _LAST_YEAR else None
    except (ValueError, OverflowError, OSError):
        return None
    text = text.removesuffix("UTC").removesuffix("GMT").strip()
    for form in _FORMS:
        try:
            at = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return at if _FIRST_YEAR < at.year <= _LAST_YEAR else None
    return None


def id_of(found: object, event: bytes) -> str:
    """Return the event's own id, or one made of what it says."""
    return found[:200] if isinstance(found, str) and found else f"sha256:{hashlib.sha256(event).hexdigest()}"


def text_at(value: Any, *path: str) -> str | None:
    """Return the text at a path of an object, None for anything else."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value else None
