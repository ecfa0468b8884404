"""Google Cloud audit logs: entries as sinks write them to a bucket, and as `gcloud logging read` prints them."""

from __future__ import annotations

import msgspec

from nightingale_findings.logsource import LogSource
from nightingale_findings.sources.staging import Row
from nightingale_findings.sources.wide import Wide, id_of, text_at, time_of

SOURCE = LogSource(
    name="gcp_audit",
    product="gcp",
    service="gcp.audit",
    table="gcp_audit",
    fields=None,
    aliases={
        "gcp.audit.method_name": "protoPayload.methodName",
        "gcp.audit.service_name": "protoPayload.serviceName",
        "gcp.audit.resource_name": "protoPayload.resourceName",
        "gcp.audit.authentication_info.principal_email": "protoPayload.authenticationInfo.principalEmail",
        "gcp.audit.authentication_info": "protoPayload.authenticationInfo",
        "gcp.audit.authorization_info": "protoPayload.authorizationInfo",
        "gcp.audit.request_metadata": "protoPayload.requestMetadata",
        "gcp.audit.request_metadata.caller_ip": "protoPayload.requestMetadata.callerIp",
        "gcp.audit.request_metadata.caller_supplied_user_agent": "protoPayload.requestMetadata.callerSuppliedUserAgent",
        "gcp.audit.num_response_items": "protoPayload.numResponseItems",
        "gcp.audit.resource_location": "protoPayload.resourceLocation",
        "gcp.audit.service_data": "protoPayload.serviceData",
        "gcp.audit.service_data.policy_delta": "protoPayload.serviceData.policyDelta",
        "gcp.audit.service_data.policy_delta.binding_deltas": "protoPayload.serviceData.policyDelta.bindingDeltas",
        "gcp.audit.request": "protoPayload.request",
        "gcp.audit.request.source_ranges": "protoPayload.request.sourceRanges",
        "gcp.audit": "protoPayload",
        "data.protoPayload": "protoPayload",
        # Both lie beside protoPayload, and rules look for them inside.
        "data.protoPayload.resource": "resource",
        "data.protoPayload.logName": "logName",
        "data.resource": "resource",
        "data.logName": "logName",
    },
)


def _row(event: bytes) -> Row | str:
    value = msgspec.json.decode(event)
    if not isinstance(value, dict) or not isinstance(value.get("protoPayload"), dict):
        return "it is no entry of an audit log: it has no protoPayload"
    at = time_of(value.get("timestamp")) or time_of(value.get("receiveTimestamp"))
    if at is None:
        return "its timestamp is missing, or no time"
    own = text_at(value, "insertId")
    event_id = f"{value.get('timestamp')}/{own}" if own else None
    who = value["protoPayload"].get("authenticationInfo")
    person = text_at(who, "principalEmail") or text_at(who, "principalSubject")
    return Row(event_id=id_of(event_id, event), at=at, person=person, values=(event.decode("utf-8"),))


WIDE = Wide(
    source=SOURCE,
    mark="protoPayload",
    wrappers=("result", "_raw", "_source", "event", "message", "jsonPayload", "data"),
    row=_row,
)
load = WIDE.load
load_events = WIDE.load_events
