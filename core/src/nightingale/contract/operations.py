"""Every API operation, once. Hosts register them, dispatch checks them, OpenAPI and the permission matrix list them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from nightingale.contract import findings as f
from nightingale.contract import machines, packages
from nightingale.contract import own_instance as own
from nightingale.contract import rules as r
from nightingale.contract import schemas as s
from nightingale.contract.reads import ReadsIn, ReadsOut, ReadsTaken
from nightingale.contract.vocabulary import Permission


class QueryKind(StrEnum):
    """The type of a query parameter."""

    TEXT = "text"
    WHOLE = "whole"
    FLAG = "flag"


class Query(msgspec.Struct, frozen=True):
    """One query parameter, always optional. `pattern` bounds a text, `most` a whole number."""

    name: str
    kind: QueryKind
    summary: str
    pattern: str = r"^[A-Za-z0-9_.:|=+/-]{1,300}$"
    most: int = 9_007_199_254_740_991


class Operation(msgspec.Struct, frozen=True):
    """One row of the API. Path parameters stand in braces; `{project}` scopes the permission."""

    name: str
    method: str
    path: str
    permission: Permission
    response: type[Any]
    summary: str
    request: type[Any] | None = None
    status: int = 200
    query: tuple[Query, ...] = ()


_CURSOR = Query("cursor", QueryKind.TEXT, "`next_cursor` of the page before")
_LIMIT = Query("limit", QueryKind.WHOLE, "most rows of a page", most=500)
_MONTH = Query(
    "month", QueryKind.TEXT, "`2026-11`; the current month when left out", pattern=r"^\d{4}-(0[1-9]|1[0-2])$"
)
_INSTANCES = "/v1/projects/{project}/instances"
_INSTANCE = _INSTANCES + "/{instance}"
_OWN = "/v1/instance"
_INDEX = "/v1/index/{project}/{instance}"
_FINDING = "/v1/findings/{finding}"
_FINDINGS = (
    Query(
        "state",
        QueryKind.TEXT,
        "open, acknowledged, resolved, false_alarm, or unresolved for the first two",
        pattern=r"^(open|acknowledged|resolved|false_alarm|unresolved)$",
    ),
    Query(
        "severity",
        QueryKind.TEXT,
        "at least so bad: informational, low, medium, high, critical",
        pattern=r"^(informational|low|medium|high|critical)$",
    ),
    Query("person", QueryKind.TEXT, "whose events they are"),
    Query("rule", QueryKind.TEXT, "the rule's name or id"),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation("get_health", "GET", "/health", Permission.PUBLIC, s.HealthOut, "Is the platform up?"),
    Operation("get_openapi", "GET", "/openapi.json", Permission.PUBLIC, dict, "This document"),
    Operation(
        "create_challenge",
        "POST",
        "/v1/login/challenges",
        Permission.PUBLIC,
        s.ChallengeOut,
        "Ask for a nonce to sign",
        status=201,
    ),
    Operation(
        "create_session",
        "POST",
        "/v1/sessions",
        Permission.PUBLIC,
        s.SessionOut,
        "Log in with the signed nonce",
        s.SessionIn,
        201,
    ),
    Operation(
        "identify_machine",
        "POST",
        "/v1/machines/identities",
        Permission.PUBLIC,
        machines.MachineOut,
        "A machine in a cloud proves which instance it is, with a nonce of `create_challenge`",
        machines.IdentifyMachineIn,
        201,
    ),
    Operation(
        "delete_session", "DELETE", "/v1/sessions/current", Permission.SELF, s.Empty, "Log out: the token ends now"
    ),
    Operation("get_me", "GET", "/v1/me", Permission.SELF, s.MeOut, "Who am I?"),
    Operation(
        "get_catalog", "GET", "/v1/catalog", Permission.SELF, s.CatalogOut, "Sizes, images, datasets, places and prices"
    ),
    Operation(
        "get_gateway", "GET", "/v1/gateway", Permission.SELF, s.GatewayOut, "Address and host key of the SSH gateway"
    ),
    Operation(
        "create_estimate",
        "POST",
        "/v1/projects/{project}/estimates",
        Permission.INSTANCE_READ,
        s.EstimateOut,
        "What would it cost?",
        s.EstimateIn,
    ),
    Operation(
        "list_instances",
        "GET",
        _INSTANCES,
        Permission.INSTANCE_READ,
        s.InstancesOut,
        "Instances of the project",
        query=(Query("all", QueryKind.FLAG, "terminated ones too"), _CURSOR, _LIMIT),
    ),
    Operation(
        "launch_instance",
        "POST",
        _INSTANCES,
        Permission.INSTANCE_LAUNCH,
        s.InstanceOut,
        "Launch an instance",
        s.LaunchIn,
        202,
    ),
    Operation("get_instance", "GET", _INSTANCE, Permission.INSTANCE_READ, s.InstanceOut, "One instance, by name or id"),
    Operation(
        "list_history",
        "GET",
        _INSTANCE + "/history",
        Permission.INSTANCE_READ,
        s.HistoryOut,
        "Every change of the instance",
        query=(_CURSOR, _LIMIT),
    ),
    Operation(
        "list_builds",
        "GET",
        _INSTANCE + "/builds",
        Permission.INSTANCE_READ,
        s.BuildsOut,
        "Terraform runs of the instance",
        query=(_CURSOR, _LIMIT),
    ),
    Operation(
        "read_log",
        "GET",
        _INSTANCE + "/logs/{source}",
        Permission.LOG_READ,
        s.LogOut,
        "Lines of the build's or the Jupyter server's log",
        query=(
            Query("offset", QueryKind.WHOLE, "`next_offset` of the answer before"),
            Query("tail", QueryKind.WHOLE, "only the last so many lines (when offset is left out)", most=5_000),
        ),
    ),
    Operation(
        "list_reads",
        "GET",
        _INSTANCE + "/reads",
        Permission.READS_READ,
        ReadsOut,
        "Which files of its datasets the instance read, oldest first",
        query=(Query("tail", QueryKind.WHOLE, "only the last so many (without a cursor)", most=5_000), _CURSOR, _LIMIT),
    ),
    Operation(
        "stop_instance",
        "POST",
        _INSTANCE + "/stop",
        Permission.INSTANCE_CONTROL,
        s.InstanceOut,
        "Stop it; the home stays",
        status=202,
    ),
    Operation(
        "start_instance",
        "POST",
        _INSTANCE + "/start",
        Permission.INSTANCE_CONTROL,
        s.InstanceOut,
        "Start it again",
        status=202,
    ),
    Operation(
        "retry_instance",
        "POST",
        _INSTANCE + "/retry",
        Permission.INSTANCE_CONTROL,
        s.InstanceOut,
        "Try the failed action again",
        status=202,
    ),
    Operation(
        "resize_instance",
        "POST",
        _INSTANCE + "/resize",
        Permission.INSTANCE_CONTROL,
        s.InstanceOut,
        "Change its size",
        s.ResizeIn,
        202,
    ),
    Operation(
        "extend_instance",
        "POST",
        _INSTANCE + "/extend",
        Permission.INSTANCE_CONTROL,
        s.InstanceOut,
        "Move its stop time",
        s.ExtendIn,
    ),
    Operation(
        "delete_instance",
        "DELETE",
        _INSTANCE,
        Permission.INSTANCE_CONTROL,
        s.InstanceOut,
        "Delete it and its home",
        status=202,
        query=(Query("destroy_evidence", QueryKind.FLAG, "an administrator means it, though it is in quarantine"),),
    ),
    Operation(
        "quarantine_instance",
        "POST",
        _INSTANCE + "/quarantine",
        Permission.INSTANCE_QUARANTINE,
        s.InstanceOut,
        "Put it in quarantine: cut off, frozen, its owner's commands refused",
        s.QuarantineIn,
    ),
    Operation(
        "release_instance",
        "POST",
        _INSTANCE + "/release",
        Permission.INSTANCE_QUARANTINE,
        s.InstanceOut,
        "Release it from quarantine: it goes on where it was",
        s.QuarantineIn,
    ),
    Operation(
        "open_jupyter",
        "POST",
        _INSTANCE + "/jupyter",
        Permission.INSTANCE_OPEN,
        s.JupyterOut,
        "A one-time code to enter Jupyter",
        status=201,
    ),
    Operation(
        "get_own_instance", "GET", _OWN, Permission.INSTANCE_SELF, s.InstanceOut, "This instance, asked from inside"
    ),
    Operation(
        "stop_own_instance",
        "POST",
        _OWN + "/stop",
        Permission.INSTANCE_SELF,
        s.InstanceOut,
        "Stop it from inside",
        status=202,
    ),
    Operation(
        "resize_own_instance",
        "POST",
        _OWN + "/resize",
        Permission.INSTANCE_SELF,
        s.InstanceOut,
        "Change its size from inside",
        s.ResizeIn,
        202,
    ),
    Operation(
        "extend_own_instance",
        "POST",
        _OWN + "/extend",
        Permission.INSTANCE_SELF,
        s.InstanceOut,
        "Move its stop time from inside",
        s.ExtendIn,
    ),
    Operation(
        "delete_own_instance",
        "DELETE",
        _OWN,
        Permission.INSTANCE_SELF,
        s.InstanceOut,
        "Delete it and its home from inside",
        status=202,
    ),
    Operation(
        "begin_job",
        "POST",
        _OWN + "/jobs",
        Permission.INSTANCE_SELF,
        own.JobGrantOut,
        "Keep it up while a job's lease is renewed",
        own.BeginJobIn,
        201,
    ),
    Operation("renew_job", "PUT", _OWN + "/jobs/{job}", Permission.INSTANCE_SELF, s.Empty, "Renew the lease of a job"),
    Operation(
        "end_job",
        "POST",
        _OWN + "/jobs/{job}/end",
        Permission.INSTANCE_SELF,
        s.Empty,
        "Note how a job ended",
        own.EndJobIn,
    ),
    Operation(
        "report_progress",
        "PUT",
        _OWN + "/progress",
        Permission.INSTANCE_SELF,
        s.Empty,
        "Note how far a job is",
        own.ProgressIn,
    ),
    Operation(
        "notify_owner",
        "POST",
        _OWN + "/notifications",
        Permission.INSTANCE_SELF,
        own.NotifiedOut,
        "Show words to the owner, in the platform only",
        own.NotifyIn,
        201,
    ),
    Operation(
        "mark_checkpoint",
        "POST",
        _OWN + "/checkpoints",
        Permission.INSTANCE_SELF,
        s.InstanceOut,
        "Mark work to keep",
        own.CheckpointIn,
        201,
    ),
    Operation(
        "record_contents",
        "POST",
        _OWN + "/contents",
        Permission.INSTANCE_SELF,
        s.Empty,
        "Keep records of what left through Jupyter, or was refused",
        own.ContentsIn,
    ),
    Operation(
        "ship_reads",
        "POST",
        _OWN + "/reads",
        Permission.AUDIT_SHIP,
        ReadsTaken,
        "Keep records of reads, for the instance whose shipper asks",
        ReadsIn,
    ),
    Operation(
        "report_machine",
        "POST",
        _OWN + "/machine",
        Permission.AUDIT_SHIP,
        s.Empty,
        "Tell how the machine's start went, outside the sandbox",
        machines.ReportMachineIn,
    ),
    Operation(
        "report_log",
        "POST",
        _OWN + "/log",
        Permission.AUDIT_SHIP,
        machines.LogKeptOut,
        "Tell what the Jupyter server's log has grown by, outside the sandbox",
        machines.ReportLogIn,
    ),
    Operation(
        "take_code",
        "POST",
        _OWN + "/codes",
        Permission.INSTANCE_SELF,
        machines.CodeTakenOut,
        "Take a code that a browser brought: it lets in once",
        machines.TakeCodeIn,
    ),
    Operation(
        "get_usage",
        "GET",
        "/v1/projects/{project}/usage",
        Permission.USAGE_READ,
        s.UsageOut,
        "A month's usage and cost",
        query=(_MONTH,),
    ),
    Operation(
        "list_usage_records",
        "GET",
        "/v1/projects/{project}/usage/records",
        Permission.USAGE_READ,
        s.UsageRecordsOut,
        "Usage records of closed hours",
        query=(_MONTH, _CURSOR, _LIMIT),
    ),
    Operation(
        "identify_key",
        "POST",
        "/v1/gateway/keys",
        Permission.GATEWAY,
        s.GatewayKeyOut,
        "Whose key is this?",
        s.GatewayKeyIn,
    ),
    Operation(
        "open_channel",
        "POST",
        "/v1/gateway/channels",
        Permission.GATEWAY,
        s.ChannelOut,
        "May this channel open?",
        s.ChannelIn,
        201,
    ),
    Operation(
        "renew_channel",
        "PUT",
        "/v1/gateway/channels/{channel}",
        Permission.GATEWAY,
        s.Empty,
        "Renew a channel's lease",
        s.ChannelRenewIn,
    ),
    Operation(
        "close_channel",
        "POST",
        "/v1/gateway/channels/{channel}/close",
        Permission.GATEWAY,
        s.Empty,
        "Record a channel's end",
        s.ChannelCloseIn,
    ),
    Operation(
        "record_refusal",
        "POST",
        "/v1/gateway/refusals",
        Permission.GATEWAY,
        s.Empty,
        "Record a refusal",
        s.RefusalIn,
        201,
    ),
    Operation(
        "get_package_rules",
        "GET",
        _INDEX,
        Permission.PACKAGE_INDEX,
        packages.PackageRulesOut,
        "Which packages may this instance have?",
    ),
    Operation(
        "record_packages",
        "POST",
        _INDEX + "/records",
        Permission.PACKAGE_INDEX,
        s.Empty,
        "Keep records of package files that were served, or refused",
        packages.PackageRecordsIn,
        201,
    ),
    Operation(
        "get_cluster",
        "GET",
        "/v1/admin/cluster",
        Permission.CLUSTER_READ,
        s.ClusterOut,
        "The cluster as it runs, as a file",
    ),
    Operation(
        "plan_cluster",
        "POST",
        "/v1/admin/cluster/plan",
        Permission.CLUSTER_READ,
        s.ClusterPlanOut,
        "What would applying this file change?",
        s.ClusterPlanIn,
    ),
    Operation(
        "apply_cluster",
        "POST",
        "/v1/admin/cluster/apply",
        Permission.CLUSTER_WRITE,
        s.ClusterApplyOut,
        "Make the cluster as the file says",
        s.ClusterApplyIn,
    ),
    Operation(
        "upload_rules",
        "POST",
        "/v1/admin/rules",
        Permission.CLUSTER_WRITE,
        r.RulesTakenOut,
        "Upload a part of the organisation's compiled rules, which a cluster file may then name",
        r.RulesPartIn,
    ),
    Operation(
        "list_rules",
        "GET",
        "/v1/admin/rules",
        Permission.CLUSTER_READ,
        r.OwnRulesOut,
        "The organisation's rules that run beside the shipped ones",
        query=(_CURSOR, _LIMIT),
    ),
    Operation(
        "list_findings",
        "GET",
        "/v1/findings",
        Permission.FINDINGS_READ,
        f.FindingsOut,
        "What rules saw in the logs, the newest first",
        query=(*_FINDINGS, Query("project", QueryKind.TEXT, "of this project only"), _CURSOR, _LIMIT),
    ),
    Operation(
        "list_project_findings",
        "GET",
        "/v1/projects/{project}/findings",
        Permission.PROJECT_FINDINGS_READ,
        f.FindingsOut,
        "The same for one project: also for its auditors",
        query=(*_FINDINGS, _CURSOR, _LIMIT),
    ),
    Operation(
        "get_finding",
        "GET",
        _FINDING,
        Permission.FINDINGS_READ,
        f.FindingDetailOut,
        "One finding and the events behind it",
    ),
    Operation(
        "update_finding",
        "PUT",
        _FINDING,
        Permission.FINDINGS_WRITE,
        f.FindingOut,
        "Acknowledge it, close it, or open it again",
        f.FindingUpdateIn,
    ),
    Operation(
        "confirm_finding_action",
        "POST",
        _FINDING + "/confirm",
        Permission.FINDINGS_WRITE,
        f.FindingOut,
        "Say yes to an action that waits: it is done at once",
        f.FindingDecisionIn,
    ),
    Operation(
        "dismiss_finding_action",
        "POST",
        _FINDING + "/dismiss",
        Permission.FINDINGS_WRITE,
        f.FindingOut,
        "Say no to an action that waits",
        f.FindingDecisionIn,
    ),
    Operation(
        "list_audit_events",
        "GET",
        "/v1/admin/audit/{stream}",
        Permission.AUDIT_READ,
        s.AuditEventsOut,
        "Sealed facts of a stream (`platform` or an instance id)",
        query=(_CURSOR, _LIMIT),
    ),
    Operation(
        "verify_audit",
        "GET",
        "/v1/admin/audit/{stream}/verification",
        Permission.AUDIT_READ,
        s.AuditVerifiedOut,
        "Does the stream's chain hold, from its first record to its last?",
    ),
)

BY_NAME: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}
