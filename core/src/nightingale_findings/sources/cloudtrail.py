"""AWS CloudTrail: files as delivered to S3, and as people keep them.

Read are `{"Records": [...]}`, bare arrays, single events, JSON lines and printed JSON, gzip or not; `lookup-events`
answers, EventBridge's `detail`, CloudTrail Lake's `eventData` and Splunk's `result` or `_raw` around an event are taken
off. The event's own JSON is kept; docs/reference/log-sources.md says what is added to it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from nightingale_findings.logsource import LogSource
from nightingale_findings.sources.outsiders import NAMES as SHARING
from nightingale_findings.sources.outsiders import with_outsiders
from nightingale_findings.sources.reading import files_under
from nightingale_findings.sources.set_aside import Asides, Loaded
from nightingale_findings.sources.splitting import values_of
from nightingale_findings.sources.staging import Row, Staging

SOURCE = LogSource(name="cloudtrail", product="aws", service="cloudtrail", table="cloudtrail", fields=None)

Progress = Callable[[Path], None]


class _Identity(msgspec.Struct):
    arn: str | None = None
    userName: str | None = None
    principalId: str | None = None
    invokedBy: str | None = None
    accountId: str | None = None


class _Head(msgspec.Struct):
    eventName: str | None = None
    eventTime: str | None = None
    eventID: str | None = None
    userIdentity: _Identity | None = None


_head = msgspec.json.Decoder(_Head)
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
_WRAPPERS = ("CloudTrailEvent", "detail", "eventData", "eventJson", "result", "_raw", "_source", "event", "message")
_NO_EVENTS = ("digestS3Object", "digestStartTime")
"""Digests lie beside the logs as delivered; they hold no events."""
_MOST_WRAPPERS = 4


def load(
    connection: duckdb.DuckDBPyConnection, paths: Iterable[Path], *, progress: Progress = lambda _: None
) -> Loaded:
    """Append every event below `paths` to the table `cloudtrail`, and return how many, and what was set aside.

    Nothing in a file raises. The same event id is there once.
    """
    asides = Asides()
    with Staging(connection, SOURCE, asides) as staging:
        for path in files_under(paths, asides):
            progress(path)
            for line, value in values_of(path, asides):
                for event in _unwrapped(value, 0):
                    _add(staging, asides, str(path), line, event)
    return staging.loaded()


def load_events(connection: duckdb.DuckDBPyConnection, events: Iterable[Any]) -> Loaded:
    """Append events that are Python values already, as examples of rules are."""
    asides = Asides()
    with Staging(connection, SOURCE, asides) as staging:
        for number, value in enumerate(events, 1):
            for event in _unwrapped(msgspec.json.encode(value), 0):
                _add(staging, asides, "", number, event)
    return staging.loaded()


def _add(staging: Staging, asides: Asides, file: str, line: int | None, event: bytes) -> None:
    try:
        row = _row(event)
    except _BROKEN as error:
        asides.add(file, line, f"it cannot be read: {error}"[:200], event)
        return
    if isinstance(row, Row):
        staging.add(row, file, line)
    elif row:
        asides.add(file, line, row, event)


def _row(event: bytes) -> Row | str:
    """Return the row of one event, or why there is none; `""` for what is no event by design."""
    try:
        head = _head.decode(event)
    except msgspec.ValidationError:
        head = _lenient(event)
    if head.eventName is None:
        if any(f'"{name}"'.encode() in event[:4096] for name in _NO_EVENTS):
            return ""
        return "it is no CloudTrail event: it has no eventName"
    at = _time(head.eventTime)
    if at is None:
        return "its eventTime is missing, or no time"
    if head.eventName in SHARING:
        event = with_outsiders(event)
    identity = head.userIdentity or _Identity()
    person = identity.arn or identity.principalId or identity.userName or identity.invokedBy or identity.accountId
    event_id = head.eventID or f"sha256:{hashlib.sha256(event).hexdigest()}"
    return Row(event_id=event_id[:200], at=at, person=person, values=(event.decode("utf-8"),))


def _lenient(event: bytes) -> _Head:
    """Take what has the right type of an event some of whose fields have the wrong one."""
    value = msgspec.json.decode(event)
    if not isinstance(value, dict):
        return _Head()

    def text(held: Any, name: str) -> str | None:
        found = held.get(name) if isinstance(held, dict) else None
        return found if isinstance(found, str) else None

    identity = value.get("userIdentity")
    return _Head(
        eventName=text(value, "eventName"),
        eventTime=text(value, "eventTime"),
        eventID=text(value, "eventID"),
        userIdentity=_Identity(**{name: text(identity, name) for name in _Identity.__struct_fields__}),
    )


_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?$")


def _time(text: str | None) -> datetime | None:
    """Return the time, aware, or None. A time without a zone is UTC, as CloudTrail's are."""
    if text is None or not _PLAIN_TIME.match(text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found if 1970 <= found.year < 2200 else None  # noqa: PLR2004 - what DuckDB and people take for a time of a log


def _unwrapped(value: bytes, depth: int) -> Iterator[bytes]:
    """Yield the event in `value`, with whatever unmistakable wrapper taken off."""
    if b'"eventName"' in value and not any(f'"{name}"'.encode() in value[:2048] for name in _WRAPPERS):
        yield value
        return
    try:
        held = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except _BROKEN:
        yield value
        return
    inner = next((held[name] for name in _WRAPPERS if name in held), None)
    if "eventName" in held or inner is None or depth >= _MOST_WRAPPERS:
        yield value
        return
    body = bytes(inner)
    if body[:1] == b'"':
        try:
            body = msgspec.json.decode(body, type=str).encode()
        except _BROKEN:
            yield value
            return
    yield from _unwrapped(body, depth + 1) if body.lstrip()[:1] == b"{" else iter((value,))
