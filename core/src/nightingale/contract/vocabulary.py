"""The words both sides of the wire use: statuses, actions, roles, permissions, reason codes."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Status(StrEnum):
    """Where an instance stands; `nightingale.domain.instance` says how it moves."""

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RESIZING = "resizing"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


IN_FLIGHT = frozenset(
    {
        Status.REQUESTED,
        Status.PROVISIONING,
        Status.STARTING,
        Status.STOPPING,
        Status.RESIZING,
        Status.TERMINATING,
    }
)


class Action(StrEnum):
    """What a person (or the platform) may ask of an instance, and what a Build carries out."""

    LAUNCH = "launch"
    START = "start"
    STOP = "stop"
    RESIZE = "resize"
    RETRY = "retry"
    DELETE = "delete"
    EXTEND = "extend"
    OPEN = "open"
    QUARANTINE = "quarantine"
    RELEASE = "release"


class DesiredState(StrEnum):
    """What Terraform is asked to make true."""

    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


class BuildState(StrEnum):
    """Where one Terraform run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ReasonCode(StrEnum):
    """Why something stopped. Stable: scripts compare them."""

    TERRAFORM_MISSING = "terraform_missing"
    TERRAFORM_FAILED = "terraform_failed"
    STATE_LOCKED = "state_locked"
    PLAN_REFUSED = "plan_refused"
    NO_CAPACITY = "no_capacity"
    QUOTA_REACHED = "quota_reached"
    PERMISSION_DENIED = "permission_denied"
    MACHINE_TYPE_INVALID = "machine_type_invalid"
    THROTTLED = "throttled"
    SPOT_PRICE_TOO_LOW = "spot_price_too_low"
    BUILD_LOST = "build_lost"
    BUILD_TIMEOUT = "build_timeout"
    BUILD_NOT_STARTED = "build_not_started"
    DISK_FULL = "disk_full"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    OBSERVER_UNAVAILABLE = "observer_unavailable"
    IMAGE_UNAVAILABLE = "image_unavailable"
    DATASET_UNAVAILABLE = "dataset_unavailable"
    HOME_UNAVAILABLE = "home_unavailable"
    JUPYTER_EXITED = "jupyter_exited"
    JUPYTER_KILLED = "jupyter_killed"
    OUT_OF_MEMORY = "out_of_memory"
    MACHINE_REBOOTED = "machine_rebooted"
    MACHINE_GONE = "machine_gone"
    INTERRUPTED = "interrupted"
    BOOT_FAILED = "boot_failed"
    START_TIMEOUT = "start_timeout"
    STOP_TIMEOUT = "stop_timeout"
    RESIZE_TIMEOUT = "resize_timeout"
    TERMINATE_TIMEOUT = "terminate_timeout"
    UNREACHABLE = "unreachable"
    LIFETIME_REACHED = "lifetime_reached"
    IDLE = "idle"
    SCHEDULE = "schedule"
    ASKED = "asked"
    QUARANTINED = "quarantined"
    RELEASED = "released"


class Role(StrEnum):
    """What a person is in a project (Membership)."""

    RESEARCHER = "researcher"
    LEAD = "lead"
    AUDITOR = "auditor"


class Permission(StrEnum):
    """What an operation needs. An operation without one does not exist (denied by default)."""

    PUBLIC = "public"  # no token: the OpenAPI document, health, login
    SELF = "self"  # any person, about themselves
    INSTANCE_READ = "instance:read"
    INSTANCE_LAUNCH = "instance:launch"
    INSTANCE_CONTROL = "instance:control"
    INSTANCE_QUARANTINE = "instance:quarantine"  # put one in quarantine and release it: administrators only
    INSTANCE_OPEN = "instance:open"  # the Jupyter server itself: never anyone but its owner
    LOG_READ = "log:read"
    READS_READ = "reads:read"  # which files of a dataset an instance read
    USAGE_READ = "usage:read"
    CLUSTER_READ = "cluster:read"
    CLUSTER_WRITE = "cluster:write"
    AUDIT_READ = "audit:read"
    FINDINGS_READ = "findings:read"  # what rules saw in the logs
    PROJECT_FINDINGS_READ = "project:findings:read"  # of one project, for its auditors
    FINDINGS_WRITE = "findings:write"  # acknowledge, close, say yes or no to an action
    GATEWAY = "gateway"  # the gateway's own identity
    INSTANCE_SELF = "instance:self"  # an instance about itself, by the token inside its sandbox
    AUDIT_SHIP = "audit:ship"  # what ships an instance's reads, outside its sandbox
    PACKAGE_INDEX = "package:index"  # the index proxy's own identity


class Reach(IntEnum):
    """How far a grant goes inside a project."""

    NONE = 0
    OWN = 1  # instances that the person owns
    ANY = 2  # every instance of the project


class Plan(StrEnum):
    """Who pays: non-profit research is free, private research pays by usage."""

    NONPROFIT = "nonprofit"
    PRIVATE = "private"


class Weekday(StrEnum):
    """A day of a schedule, in order."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class LogSource(StrEnum):
    """Which log of an instance."""

    BUILD = "build"
    JUPYTER = "jupyter"


class AuditTag(StrEnum):
    """Facts the platform records, as `subject:verb:outcome`."""

    LOGIN_SUCCEEDED = "login:create:succeeded"
    LOGIN_REFUSED = "login:create:refused"
    LOGOUT = "login:delete:succeeded"
    OPERATION_DENIED = "operation:call:denied"
    OPERATION_ALLOWED = "operation:call:allowed"
    DECOY_USED = "decoy:use:found"
    CREDENTIAL_ASTRAY = "credential:use:astray"
    INSTANCE_LAUNCH = "instance:launch:accepted"
    INSTANCE_START = "instance:start:accepted"
    INSTANCE_STOP = "instance:stop:accepted"
    INSTANCE_RESIZE = "instance:resize:accepted"
    INSTANCE_RETRY = "instance:retry:accepted"
    INSTANCE_EXTEND = "instance:extend:accepted"
    INSTANCE_DELETE = "instance:delete:accepted"
    INSTANCE_QUARANTINED = "instance:quarantine:accepted"
    INSTANCE_HELD = "instance:quarantine:succeeded"
    INSTANCE_NOT_HELD = "instance:quarantine:failed"
    INSTANCE_RELEASED = "instance:release:accepted"
    INSTANCE_LET_GO = "instance:release:succeeded"
    INSTANCE_NOT_LET_GO = "instance:release:failed"
    PERSON_REVOKED = "person:revoke:accepted"
    JUPYTER_OPENED = "jupyter:open:accepted"
    CHANNEL_OPENED = "channel:open:accepted"
    CHANNEL_REFUSED = "channel:open:refused"
    CHANNEL_CARRIED = "channel:carry:recorded"
    CHANNEL_CLOSED = "channel:close:succeeded"
    CHANNEL_REVOKED = "channel:renew:refused"
    DATASET_READ = "dataset:read:recorded"
    OBSERVER_STARTED = "observer:start:succeeded"
    OBSERVER_RESTARTED = "observer:restart:succeeded"
    SPOOL_FULL = "spool:write:blocked"
    SPOOL_DRAINED = "spool:write:resumed"
    SPOOL_DAMAGED = "spool:read:damaged"
    IMAGE_DRIFTED = "image:change:found"
    MACHINE_IDENTIFIED = "machine:identify:succeeded"
    MACHINE_REFUSED = "machine:identify:refused"
    MACHINE_INTERRUPTED = "machine:interrupt:noticed"
    ORPHAN_ENDED = "machine:end:succeeded"
    CLUSTER_APPLIED = "cluster:apply:succeeded"
    RULES_UPLOADED = "rules:upload:succeeded"
    JOB_BEGUN = "job:begin:accepted"
    JOB_ENDED = "job:end:recorded"
    NOTIFICATION_SENT = "notification:send:accepted"
    CHECKPOINT_MARKED = "checkpoint:mark:accepted"
    PACKAGE_SERVED = "package:get:served"
    PACKAGE_REFUSED = "package:get:refused"
    FINDING_OPENED = "finding:open:recorded"
    FINDING_UPDATED = "finding:update:accepted"
    RESPONSE_DONE = "finding:respond:succeeded"
    RESPONSE_FAILED = "finding:respond:failed"
    RESPONSE_WITHHELD = "finding:respond:withheld"
    RESPONSE_CONFIRMED = "finding:respond:confirmed"
    RESPONSE_DISMISSED = "finding:respond:dismissed"
    NOTICE_SENT = "notice:send:succeeded"
    NOTICE_GIVEN_UP = "notice:send:failed"
