"""What rules written elsewhere call the fields of Azure's and Google's logs finds what those logs hold."""

import json
from typing import Any

from nightingale_findings.engine import Engine, opened
from nightingale_findings.logsource import LogSource
from nightingale_findings.sigma import compile_rules
from nightingale_findings.sources.clouds import CLOUDS

DELETED = "Microsoft.Network/virtualNetworks/delete"
SCOPE = "/subscriptions/1/resourceGroups/lab/providers/Microsoft.Network/virtualNetworks/scans"
EXPORTED: dict[str, Any] = {
    "time": "2026-03-02T09:00:00Z",
    "eventDataId": "exported",
    "resourceId": SCOPE.upper(),
    "operationName": DELETED.upper(),
    "category": "Administrative",
    "resultType": "Success",
    "callerIpAddress": "192.0.2.7",
    "identity": {"authorization": {"scope": SCOPE, "action": DELETED}, "claims": {"appid": "an-app"}},
    "level": "Information",
    "properties": {"eventCategory": "Administrative", "entity": SCOPE, "message": DELETED, "hierarchy": "1"},
}
PRINTED: dict[str, Any] = {
    "eventTimestamp": "2026-03-02T09:00:01Z",
    "eventDataId": "printed",
    "resourceId": SCOPE,
    "operationName": {"value": DELETED, "localizedValue": "Delete a virtual network"},
    "resourceProviderName": {"value": "Microsoft.Network"},
    "category": {"value": "Administrative"},
    "status": {"value": "Succeeded"},
    "subStatus": {"value": "OK"},
    "caller": "ana@example.org",
    "authorization": {"scope": SCOPE, "action": DELETED},
    "httpRequest": {"clientIpAddress": "192.0.2.7", "method": "DELETE"},
    "properties": {"statusCode": "OK"},
}
OF_THE_DIRECTORY: dict[str, Any] = {
    "time": "2026-03-02T09:00:02Z",
    "eventDataId": "directory",
    "operationName": "Device no longer compliant",
    "category": "AuditLogs",
    "properties": {"result": "success", "activityDisplayName": "Device no longer compliant"},
}
HEALTH: dict[str, Any] = {
    "time": "2026-03-02T09:00:03Z",
    "eventDataId": "health",
    "operationName": "Microsoft.ServiceHealth/incident/action",
    "properties": {"message": "A network is slow"},
}
AZURE = [EXPORTED, PRINTED, OF_THE_DIRECTORY, HEALTH]

OPENED: dict[str, Any] = {
    "timestamp": "2026-03-02T09:00:00Z",
    "insertId": "opened",
    "logName": "projects/lab/logs/cloudaudit.googleapis.com%2Factivity",
    "resource": {"type": "gce_firewall_rule", "labels": {"project_id": "lab"}},
    "protoPayload": {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "methodName": "v1.compute.firewalls.insert",
        "authenticationInfo": {"principalEmail": "ana@example.org"},
        "authorizationInfo": [{"permission": "compute.firewalls.create", "granted": True}],
        "requestMetadata": {"callerIp": "192.0.2.7", "callerSuppliedUserAgent": "gcloud"},
        "request": {"direction": "INGRESS", "sourceRanges": ["0.0.0.0/0"], "alloweds": [{"ports": ["22"]}]},
        "serviceData": {"policyDelta": {"bindingDeltas": [{"action": "ADD", "role": "roles/owner"}]}},
    },
}


NAMES = ("exported", "printed", "directory", "health", "opened")


def found(source: str, events: list[dict[str, Any]], selections: list[dict[str, Any]]) -> list[set[str]]:
    """Return for each selection which events a rule with it fires on; one run judges them all."""
    logs = CLOUDS[source].SOURCE
    rules = compile_rules(
        {f"{number}.yml": rule_of(logs, number, selection) for number, selection in enumerate(selections)}, [logs]
    )
    assert len(rules.rules) == len(selections)
    connection = opened()
    loaded = CLOUDS[source].load_events(connection, events)
    assert loaded.events == len(events), loaded.set_aside
    engine = Engine(connection, rules, [logs])
    ids: dict[str, set[str]] = {}
    for firing in engine.run():
        ids.setdefault(engine.rules[firing.rule].title, set()).update(firing.event_ids)
    assert engine.failed == ()
    seen = [ids.get(f"rule {number}", set()) for number in range(len(selections))]
    return [{name for name in NAMES if any(name in one for one in fired)} for fired in seen]


def rule_of(logs: LogSource, number: int, selection: dict[str, Any]) -> str:
    detection = json.dumps({"s": selection, "condition": "s"})
    where = f"{{product: {logs.product}, service: {logs.service}}}"
    return f"title: rule {number}\nlogsource: {where}\ndetection: {detection}\n"


OF_AZURE: list[tuple[dict[str, Any], set[str]]] = [
    ({"properties.message": DELETED}, {"exported", "printed"}),
    ({"properties.message": ["Device no longer compliant", "Device no longer managed"]}, {"directory"}),
    ({"properties.message": "A network is slow"}, {"health"}),
    ({"OperationNameValue": DELETED, "CategoryValue": "Administrative"}, {"exported", "printed"}),
    ({"ResourceProviderValue": "Microsoft.Network"}, {"exported", "printed"}),
    ({"resourceProviderName": "Microsoft.ServiceHealth"}, {"health"}),
    ({"ResourceId|contains": "virtualNetworks"}, {"exported", "printed"}),
    ({"Caller": "ana@example.org", "ActivitySubstatusValue": "OK"}, {"printed"}),
    ({"CallerIpAddress": "192.0.2.7"}, {"exported", "printed"}),
    ({"authorization.action": DELETED}, {"exported", "printed"}),
    ({"Authorization.scope|contains": "/virtualNetworks/"}, {"exported", "printed"}),
    ({"Properties.entity|endswith": "/scans"}, {"exported"}),
]


def test_fields_of_azure_s_activity_log_by_the_names_of_others() -> None:
    fired = found("azure_activity", AZURE, [selection for selection, _ in OF_AZURE])
    assert [(selection, one) for (selection, _), one in zip(OF_AZURE, fired, strict=True)] == OF_AZURE


OF_GOOGLE: list[dict[str, Any]] = [
    {
        "gcp.audit.method_name|endswith": ".firewalls.insert",
        "gcp.audit.request.source_ranges": "0.0.0.0/0",
        "gcp.audit.request.alloweds.ports": 22,
        "gcp.audit.request.direction": "INGRESS",
    },
    {"data.protoPayload.authorizationInfo.permission": "compute.firewalls.create"},
    {"gcp.audit.authorization_info.permission": "compute.firewalls.create"},
    {"gcp.audit.authorization_info.granted": "true"},
    {"data.protoPayload.resource.type": "gce_firewall_rule"},
    {"data.protoPayload.logName|endswith": "%2Factivity", "data.resource.labels.project_id": "lab"},
    {"data.logName|contains": "cloudaudit"},
    {"gcp.audit.request_metadata.caller_ip": "192.0.2.7"},
    {"gcp.audit.request_metadata.caller_supplied_user_agent": "gcloud"},
    {"gcp.audit.service_data.policy_delta.binding_deltas.role": "roles/owner"},
]


def test_fields_of_google_s_audit_log_by_the_names_of_others() -> None:
    fired = found("gcp_audit", [OPENED], OF_GOOGLE)
    assert [selection for selection, one in zip(OF_GOOGLE, fired, strict=True) if one != {"opened"}] == []
