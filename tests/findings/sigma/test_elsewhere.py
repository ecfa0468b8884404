"""Rules as others write them load unchanged: the constructs of public rules, in our own words."""

from __future__ import annotations

from findings.sigma.asked import WIDE, hits
from nightingale_findings.logsource import LogSource
from nightingale_findings.sigma import compile_rules

AZURE = LogSource(
    name="azure_activity",
    product="azure",
    service="activitylogs",
    table="azure",
    fields=None,
    aliases={"properties.message": "operationName.value"},
)
GCP = LogSource(
    name="gcp_audit",
    product="gcp",
    service="gcp.audit",
    table="gcp",
    fields=None,
    aliases={"gcp.audit.method_name": "protoPayload.methodName", "gcp.audit.request": "protoPayload.request"},
)
SOURCES = (WIDE, AZURE, GCP)
AWS_RULE = """
title: Somebody in a country of ours changes a trail
id: 6f0b7a51-0a4d-4a37-8f0c-9a7e4c1f2b33
related:
    - id: 0f1f3f62-6ff3-4a0b-9b6f-1c2a0a4bb111
      type: similar
status: test
description: |
    Several lines
    of words.
references:
    - https://example.org/a
author: Somebody Else (@somebody)
date: 2020/01/31
modified: 2022-10-09
tags:
    - attack.defense_evasion
    - attack.defense-impairment
    - attack.t1562.008
    - cve.2020-1234
logsource:
    product: aws
    service: cloudtrail
    definition: trails must be on
detection:
    selection_source:
        eventSource: cloudtrail.amazonaws.com
        eventName|startswith:
            - 'Stop'
            - 'Delete'
    selection_who:
        - userIdentity.type: Root
        - userIdentity.arn|contains|all:
            - ':user/'
            - 'admin'
    filter_main_service:
        userIdentity.invokedBy|endswith: '.amazonaws.com'
    filter_optional_known:
        userAgent|re: '(?i)^terraform/\\d'
    filter_null:
        errorCode: null
    condition: all of selection_* and not 1 of filter_main_* and not filter_optional_known and filter_null
fields:
    - eventName
falsepositives:
    - Administrators
level: high
"""
ROW = {
    "eventSource": "cloudtrail.amazonaws.com",
    "eventName": "StopLogging",
    "userIdentity.type": "IAMUser",
    "userIdentity.arn": "arn:aws:iam::1:user/Admin-1",
}


def test_a_rule_of_many_parts_loads_and_matches():
    (one,) = compile_rules({"aws/rule.yml": AWS_RULE}, SOURCES, origin="hospital").rules
    assert (one.author, one.origin, one.status) == ("Somebody Else (@somebody)", "hospital", "test")
    assert one.techniques == ("T1562.008",)
    assert one.falsepositives == ("Administrators",)
    assert one.description == "Several lines\nof words."
    assert one.source == "cloudtrail"
    assert "userIdentity.invokedBy" in one.fields
    assert "raw" not in one.fields


def test_absent_fields_under_not_drop_no_event():
    detection = {
        "sel": {"eventName": "StopLogging"},
        "filter": {"userIdentity.invokedBy|endswith": ".amazonaws.com"},
        "agent": {"userAgent|re": "^terraform/[0-9]"},
        "condition": "sel and not 1 of filter* and not agent",
    }
    rows = [ROW, {**ROW, "userIdentity.invokedBy": "x.amazonaws.com"}, {**ROW, "userAgent": "terraform/1"}, {}]
    assert hits(detection, rows) == [True, False, False, False]


def test_words_without_a_field_load_for_the_activity_log():
    text = """
title: Keys listed
logsource: {product: azure, service: activitylogs}
detection:
    keywords:
        - Microsoft.Storage/storageAccounts/listKeys/action
    condition: keywords
level: medium
"""
    (one,) = compile_rules({"a.yml": text}, SOURCES).rules
    assert one.fields == ("raw",)


def test_older_names_of_services_mean_the_same():
    for service in ("azure.activitylogs", "activitylogs", "ActivityLogs", "AzureActivity"):
        text = (
            f"title: t\nlogsource: {{product: azure, service: {service}}}\ndetection: {{s: {{a: b}}, condition: s}}\n"
        )
        assert compile_rules({"a.yml": text}, SOURCES).rules[0].source == "azure_activity"


def test_names_of_fields_from_elsewhere_are_the_source_s_own():
    text = """
title: A firewall opened
logsource: {product: gcp, service: gcp.audit}
detection:
    method:
        gcp.audit.method_name|endswith: ['.firewalls.insert', '.firewalls.patch']
    open:
        gcp.audit.request.sourceRanges: '0.0.0.0/0'
        gcp.audit.request.alloweds.ports: 22
    condition: all of them
"""
    (one,) = compile_rules({"a.yml": text}, SOURCES).rules
    assert one.fields == (
        "protoPayload.methodName",
        "protoPayload.request.alloweds.ports",
        "protoPayload.request.sourceRanges",
    )
    rows = [
        {
            "protoPayload.methodName": "v1.compute.firewalls.insert",
            "protoPayload.request.sourceRanges": '["10.0.0.0/8","0.0.0.0/0"]',
            "protoPayload.request.alloweds.ports": ports,
        }
        for ports in ('["22","443"]', "22", '["443"]', None)
    ]
    detection = {
        "s": {
            "gcp.audit.method_name|endswith": ".firewalls.insert",
            "gcp.audit.request.sourceRanges": "0.0.0.0/0",
            "gcp.audit.request.alloweds.ports": 22,
        },
        "condition": "s",
    }
    assert hits(detection, rows, GCP) == [True, True, False, False]


def test_flags_written_as_text_match_json_s():
    key = "requestParameters.PublicAccessBlockConfiguration.BlockPublicAcls"
    assert hits({key: "false"}, [{key: "false"}, {key: "true"}, {}]) == [True, False, False]
    assert hits({key: False}, [{key: "false"}, {key: "true"}, {}]) == [True, False, False]


def test_what_is_for_people_refuses_no_older_rule():
    keys = """
title: t
status: testing
author: [One, Two]
date: 2021/
modified: yesterday
tags: persistence
falsepositives: None known
related: [{id: x, type: obsoletes}]
references: https://example.org
logsource: {service: azure.activitylogs}
detection: {s: {properties.message: MICROSOFT.PORTAL/CONSOLES/WRITE}, condition: s}
"""
    (one,) = compile_rules({"a.yml": keys}, SOURCES).rules
    assert (one.status, one.author, one.tags) == ("testing", "One, Two", ("persistence",))
    assert one.falsepositives == ("None known",)
    assert one.fields == ("operationName.value",)
