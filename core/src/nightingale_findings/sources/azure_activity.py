"""Azure activity log: as diagnostic settings export it, and as `az monitor activity-log list` prints it.

The printed form is turned into the exported one: `operationName` and `status` are text, `time` is the event's time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nightingale_findings.logsource import LogSource
from nightingale_findings.sources.staging import Row
from nightingale_findings.sources.wide import Wide, id_of, text_at, time_of

SOURCE = LogSource(
    name="azure_activity",
    product="azure",
    service="activitylogs",
    table="azure_activity",
    fields=None,
    aliases={
        "OperationName": "operationName",
        "OperationNameValue": "operationName",
        "ActivityStatusValue": "status",
        "ActivitySubstatusValue": "subStatus",
        "Category": "category",
        "CategoryValue": "category",
        "ResourceProviderValue": "resourceProviderName",
        "ResourceId": "resourceId",
        "Caller": "caller",
        "CallerIpAddress": "callerIpAddress",
        "CorrelationId": "correlationId",
        "Authorization": "authorization",
        "Claims": "claims",
        "Level": "level",
        "Properties": "properties",
    },
)
"""The other names are the columns of a Log Analytics workspace, which rules written for it use."""

_TEXTS = ("operationName", "status", "subStatus", "category", "resourceProviderName", "eventName", "resourceType")
_TIMES = ("time", "eventTimestamp", "TimeGenerated", "createdDateTime")
_CLAIM_NAME = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
_CLAIM_UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"


def _row(event: bytes) -> Row | str:
    value = msgspec.json.decode(event)
    if not isinstance(value, dict) or "operationName" not in value:
        return "it is no event of the activity log: it has no operationName"
    at = next((found for name in _TIMES if (found := time_of(value.get(name))) is not None), None)
    if at is None:
        return "its time is missing, or no time"
    event_id = id_of(text_at(value, "eventDataId"), event)
    _flatten(value)
    _fill(value)
    claims = _claims(value)
    person = (
        text_at(value, "caller")
        or text_at(claims, _CLAIM_UPN)
        or text_at(claims, _CLAIM_NAME)
        or text_at(claims, "appid")
        or text_at(value, "callerIpAddress")
    )
    return Row(event_id=event_id, at=at, person=person, values=(msgspec.json.encode(value).decode(),))


def _flatten(value: dict[str, Any]) -> None:
    """Take the text out of `{"value": ..., "localizedValue": ...}`; the resource's id has one name."""
    for name in _TEXTS:
        held = value.get(name)
        if isinstance(held, dict) and isinstance(held.get("value"), str):
            value[name] = held["value"]
    if "resultType" in value and "status" not in value:
        value["status"] = value["resultType"]
    for name in ("properties", "authorization"):
        held = value.get(name)
        if isinstance(held, str) and held.lstrip()[:1] == "{":
            try:
                value[name] = msgspec.json.decode(held)
            except (msgspec.DecodeError, RecursionError):
                continue


def _fill(value: dict[str, Any]) -> None:
    """Give both forms what only one of them has, where it says nothing else there.

    Rules written elsewhere look for the operation in `properties.message`, where many events of the portal's have it.
    """
    operation = value["operationName"]
    properties = value.setdefault("properties", {})
    if isinstance(properties, dict) and isinstance(operation, str):
        properties.setdefault("message", operation)
    if isinstance(operation, str) and "/" in operation:
        value.setdefault("resourceProviderName", operation.partition("/")[0])
    if isinstance(identity := value.get("identity"), dict):
        for name in ("authorization", "claims"):
            if name in identity:
                value.setdefault(name, identity[name])
    request = value.get("httpRequest")
    address = request.get("clientIpAddress") if isinstance(request, dict) else None
    if isinstance(address, str):
        value.setdefault("callerIpAddress", address)


def _claims(value: dict[str, Any]) -> Any:
    identity = value.get("identity")
    claims = identity.get("claims") if isinstance(identity, dict) else None
    return claims or value.get("claims")


WIDE = Wide(
    source=SOURCE, mark="operationName", wrappers=("result", "_raw", "_source", "event", "message", "body"), row=_row
)
load = WIDE.load
load_events = WIDE.load_events
