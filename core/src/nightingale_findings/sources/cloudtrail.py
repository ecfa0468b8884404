"""AWS CloudTrail: files as delivered to S3, and as people keep them.

Read are `{"Records": [...]}`, bare arrays, single events, JSON lines and printed JSON, gzip or not; `lookup-events`
answers, EventBridge's `detail`, CloudTrail Lake's `eventData` and Splunk's `result` or `_raw` around an event are taken
off. The event's own JSON is kept; docs/reference/log-sources.md says what is added to it.
"""

from __future__ import annotations

import msgspec

from nightingale_findings.logsource import LogSource
from nightingale_findings.sources.outsiders import NAMES as SHARING
from nightingale_findings.sources.outsiders import with_outsiders
from nightingale_findings.sources.staging import Row
from nightingale_findings.sources.wide import Wide, id_of, text_at, time_of

SOURCE = LogSource(name="cloudtrail", product="aws", service="cloudtrail", table="cloudtrail", fields=None)


class _Identity(msgspec.Struct):
    arn: str | None = None
    userName: str | None = None  # noqa: N815 - CloudTrail's own name
    principalId: str | None = None  # noqa: N815 - same
    invokedBy: str | None = None  # noqa: N815 - same
    accountId: str | None = None  # noqa: N815 - same


class _Head(msgspec.Struct):
    eventName: str | None = None  # noqa: N815 - same
    eventTime: str | None = None  # noqa: N815 - same
    eventID: str | None = None  # noqa: N815 - same
    userIdentity: _Identity | None = None  # noqa: N815 - same


_head = msgspec.json.Decoder(_Head)
_WRAPPERS = (
    "CloudTrailEvent",
    "detail",
    "eventData",
    "eventJson",
    "result",
    "_raw",
    "_source",
    "event",
    "original",
    "message",
)
_DIGEST = (b'"digestS3Object"', b'"digestStartTime"')
"""Digests lie beside the logs as delivered; they hold no events."""


def _row(event: bytes) -> Row | str:
    try:
        head = _head.decode(event)
    except msgspec.ValidationError:
        head = _lenient(event)
    if head.eventName is None:
        if any(mark in event[:4096] for mark in _DIGEST):
            return ""
        return "it is no CloudTrail event: it has no eventName"
    at = time_of(head.eventTime)
    if at is None:
        return "its eventTime is missing, or no time"
    event_id = id_of(head.eventID, event)
    if head.eventName in SHARING or head.eventName.startswith(("AddPermission", "AddLayerVersionPermission")):
        event = with_outsiders(event)
    who = head.userIdentity or _Identity()
    person = who.arn or who.principalId or who.userName or who.invokedBy or who.accountId
    return Row(event_id=event_id, at=at, person=person, values=(event.decode("utf-8"),))


def _lenient(event: bytes) -> _Head:
    """Take what has the right type of an event some of whose fields have the wrong one."""
    value = msgspec.json.decode(event)
    names = _Identity.__struct_fields__
    return _Head(
        eventName=text_at(value, "eventName"),
        eventTime=str(value.get("eventTime")) if isinstance(value, dict) else None,
        eventID=text_at(value, "eventID"),
        userIdentity=_Identity(**{name: text_at(value, "userIdentity", name) for name in names}),
    )


WIDE = Wide(source=SOURCE, mark="eventName", wrappers=_WRAPPERS, row=_row)
load = WIDE.load
load_events = WIDE.load_events
