"""Every request and response body. Times are aware UTC, money is Decimal text with a currency, durations are seconds.

Requests forbid unknown fields, so a misspelt field is an error and not a default. Responses may grow fields.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nightingale.contract.images import Drift
from nightingale.contract.vocabulary import (
    Action,
    BuildState,
    LogSource,
    Permission,
    Plan,
    ReasonCode,
    Role,
    Status,
    Weekday,
)

MAX_BODY_BYTES = 1_048_576
"""A larger request body is refused with `body_too_large`; the widest legal one is a cluster file."""

# Python's `$` lets one line break pass behind it, JSON Schema's does not: hence `$(?!\n)`.
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$(?!\n)|^[a-z]$(?!\n)",
        description="a name is lower case letters, digits and dashes, up to 32, starts with a letter, ends in no dash",
    ),
]
InstanceName = Annotated[
    str,
    Meta(
        pattern=r"^(?!i-)([a-z][a-z0-9-]{0,30}[a-z0-9]|[a-z])$(?!\n)",
        description="a name is lower case letters, digits and dashes, up to 32, starts with a letter, "
        "ends in no dash, and is no instance id (i-...)",
    ),
]
SizeName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]{1,12}$(?!\n)",
        description="a t-shirt size is lower case letters and digits, up to 12, such as s, m, l, none",
    ),
]
Note = Annotated[str, Meta(max_length=500)]
Seconds = Annotated[int, Meta(ge=60, le=60 * 60 * 24 * 30, description="seconds, a minute to 30 days")]
PolicySeconds = Annotated[
    int, Meta(ge=0, le=60 * 60 * 24 * 30, description="seconds, a minute to 30 days; 0 is none at all")
]
WallTime = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)",
        description="a time of day is HH:MM, 24 hours, in quotes in YAML",
    ),
]
TimeZone = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$(?!\n)",
        description="a time zone is its IANA name, such as Europe/Berlin",
    ),
]
PublicKey = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^(ssh-|ecdsa-|sk-)[^\n\r]+$(?!\n)",
        description="a public key is one OpenSSH line, the content of a .pub file",
    ),
]
Fingerprint = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^SHA256:[A-Za-z0-9+/]+$(?!\n)",
        description="a fingerprint is SHA256: and letters, as ssh-keygen -l shows it",
    ),
]
ShortText = Annotated[str, Meta(max_length=200)]
Amount = Decimal  # msgspec has no bounds for Decimal: the cluster service checks that it is finite and not negative
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="a currency is three capitals, as in ISO 4217")]
DatasetVersion = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$(?!\n)",
        description="a version is letters, digits, dots, dashes and underscores, up to 41",
    ),
]
PlaceKind = Annotated[
    str, Meta(pattern=r"^(local|aws|azure|gcp)$(?!\n)", description="the place's kind is local, aws, azure or gcp")
]


Source = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^[A-Za-z0-9/][A-Za-z0-9._:/@+=~-]*$(?!\n)",
        description="where it lies in that place, as the place names it",
    ),
]
MachineType = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:,=+-]*$(?!\n)",
        description="the machine type as the cloud calls it, such as m7i.large",
    ),
]
PackageName = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9])$(?!\n)",
        description="a package's name is letters, digits, dots, dashes and underscores, letters or digits at both ends",
    ),
]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="a sha256 is 64 hexadecimal digits")]
RulesPath = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)",
        description="a folder's path, without line breaks",
    ),
]
HostName = Annotated[
    str, Meta(max_length=253, pattern=r"^[a-z0-9.-]+$(?!\n)", description="a host is its name in small letters")
]
IndexUrl = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$(?!\n)",
        description="an index is an https address without a name, a password or a query in it",
    ),
]


EmailAddress = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,189}$(?!\n)",
        description="an e-mail address is name@host",
    ),
]


class In(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A request body."""


class Out(msgspec.Struct, frozen=True, kw_only=True):
    """A response body."""


# --- errors -----------------------------------------------------------------------------------------------------------


class ErrorDetail(Out, frozen=True):
    """One thing wrong with a body: `path` like `people[2].keys[0]`."""

    path: str
    message: str


class ErrorOut(Out, frozen=True):
    """Every answer with status 400 and above: a stable code, what happened, what to do next."""

    code: str
    message: str
    next_step: str = ""
    details: tuple[ErrorDetail, ...] = ()
    request_id: str = ""


# --- small shared shapes ----------------------------------------------------------------------------------------------


class Money(Out, frozen=True):
    """An amount and its currency."""

    amount: Decimal
    currency: str


class Size(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A t-shirt size per resource; the catalogue says what each means."""

    cpu: SizeName = "s"
    memory: SizeName = "s"
    gpu: SizeName = "none"
    disk: SizeName = "s"


class Empty(Out, frozen=True):
    """Nothing to say but done."""


class HealthOut(Out, frozen=True):
    """The host answers and its store can be read."""

    status: str
    version: str
    scan: str = ""
    """How the scan of the logs does: `ok`, `partial`, `late`, `failing`, `never`; administrators are told more."""


# --- login ------------------------------------------------------------------------------------------------------------

LOGIN_NAMESPACE = "login@nightingale"
"""SSHSIG namespace: a signature made for login is good for nothing else."""


def login_message(server: str, nonce: str) -> bytes:
    """Return the bytes a person signs: they bind the signature to this server and this single use."""
    return f"nightingale login\nserver {server}\nnonce {nonce}\n".encode()


class ChallengeOut(Out, frozen=True):
    """A single-use nonce; sign `login_message(the address you called, nonce)`."""

    nonce: str
    namespace: str
    expires_at: datetime


class SessionIn(In, frozen=True):
    """The signed nonce: `signature` is the armoured SSHSIG that `ssh-keygen -Y sign` writes."""

    nonce: Annotated[str, Meta(min_length=16, max_length=200)]
    server: Annotated[str, Meta(max_length=500)]
    signature: Annotated[str, Meta(max_length=8192)]


class SessionOut(Out, frozen=True):
    """A bearer token, shown once; the platform keeps its hash."""

    token: str
    person: str
    expires_at: datetime

    def __repr__(self) -> str:
        """Return it without its token."""
        return f"SessionOut(person={self.person!r}, expires_at={self.expires_at!r})"


class MembershipOut(Out, frozen=True):
    """One project of a person, and what the person may do there."""

    project: str
    title: str
    role: Role
    plan: Plan
    permissions: tuple[Permission, ...]


class MeOut(Out, frozen=True):
    """Who the token speaks for."""

    person: str
    full_name: str
    is_admin: bool
    memberships: tuple[MembershipOut, ...]
    expires_at: datetime | None = None
    is_multi_factor: bool = False
    """Whether the login was by a FIDO2 key that verified its user (PIN or fingerprint)."""


# --- catalogue --------------------------------------------------------------------------------------------------------


class SizeOptionOut(Out, frozen=True):
    """One t-shirt size of one resource. `cores` for cpu, `gib` for memory and disk, `count` and `model` for gpu."""

    name: str
    cores: int | None = None
    gib: int | None = None
    count: int | None = None
    model: str | None = None
    price_per_hour: dict[str, Decimal] = {}
    """By place; a missing place cannot supply this size."""


class DatasetOut(Out, frozen=True):
    """A dataset that may be mounted."""

    name: str
    version: str
    title: str
    tier: int
    projects: tuple[str, ...]


class ImageOut(Out, frozen=True):
    """A versioned image."""

    name: str
    title: str
    places: tuple[str, ...]


class PlaceOut(Out, frozen=True):
    """Where instances run. `limits` says what this place enforces, `sandbox` whether one works."""

    name: str
    kind: str
    title: str
    sandbox: str | None = None
    spot: bool = False
    """Whether instances may run on spare capacity there."""


class CatalogOut(Out, frozen=True):
    """What can be launched, and at what price today."""

    currency: str
    cpu: tuple[SizeOptionOut, ...]
    memory: tuple[SizeOptionOut, ...]
    gpu: tuple[SizeOptionOut, ...]
    disk: tuple[SizeOptionOut, ...]
    images: tuple[ImageOut, ...]
    datasets: tuple[DatasetOut, ...]
    places: tuple[PlaceOut, ...]


class EstimateIn(In, frozen=True):
    """A size, a place and a time to price. `place` as in a launch; `image` left out: whichever there is."""

    size: Size = Size()
    place: Name = "local"
    for_seconds: Seconds = 3600
    image: Name | None = None
    datasets: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()
    spot: bool = False


class PlaceOfferOut(Out, frozen=True):
    """One place of the project for what was asked: its price an hour, and what keeps it from being taken."""

    place: str
    kind: str
    region: str = ""
    per_hour: Money | None = None
    """Null where the place cannot supply the size."""
    refusal: str = ""
    """Empty where it can be launched there."""
    next_step: str = ""


class EstimateOut(Out, frozen=True):
    """Prices by resource an hour, and for the time asked. `billed` is what the project's plan makes of `list_price`."""

    per_hour: Money
    compute_per_hour: Money
    disk_per_hour: Money
    list_price: Money
    billed: Money
    for_seconds: int
    plan: Plan
    place: str = ""
    """The place that is priced: of `auto` and of a kind, the one that would be taken."""
    place_why: str = ""
    places: tuple[PlaceOfferOut, ...] = ()
    """Each place of the project, in the order in which `auto` takes them."""
    spot: bool = False
    spot_words: str = ""
    """With spot: what it would cost on demand, or that no spot rate is set and the price is that one."""


# --- instances --------------------------------------------------------------------------------------------------------


class LaunchIn(In, frozen=True):
    """Launch an instance. `request_id` makes a repeated call give the first one's answer.

    `place` is a place's name, a kind of place (`aws`: the best of that kind) or `auto` (the best of all).
    """

    name: InstanceName
    size: Size = Size()
    place: Name = "local"
    elsewhere: bool = False
    """Where there is no capacity, try the project's other places, each once. With `auto` it is so."""
    image: Name = "default"
    datasets: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()
    stop_after_seconds: Seconds | None = None
    spot: bool = False
    """On spare capacity, which the cloud may take back at any time; cheaper where the place has a spot rate."""
    relaunch_when_interrupted: bool = False
    """Launch it again by itself when it was taken back, at most five times in 24 hours. With `spot` only."""
    request_id: Annotated[str, Meta(max_length=64)] = ""


class ResizeIn(In, frozen=True):
    """The new size; resources left out keep theirs."""

    cpu: SizeName | None = None
    memory: SizeName | None = None
    gpu: SizeName | None = None
    disk: SizeName | None = None


class ExtendIn(In, frozen=True):
    """Move the time at which the instance stops by itself: this long from now."""

    seconds: Seconds


class ReasonOut(Out, frozen=True):
    """Why an instance stands where it stands, which action failed, and what to do next."""

    code: ReasonCode
    words: str
    next_step: str
    action: Action | None = None
    log_tail: tuple[str, ...] = ()


class MountOut(Out, frozen=True):
    """A mounted dataset."""

    dataset: str
    version: str
    tier: int


class LimitOut(Out, frozen=True):
    """One limit of the size and what enforces it here; `enforced_by` None means that nothing does, `why` says why."""

    resource: str
    limit: str
    enforced_by: str | None = None
    why: str = ""


class ObserverOut(Out, frozen=True):
    """What watches reads: `name` is null where nothing does, and `words` say why, or how exact it is."""

    name: str | None
    words: str


class HomeOut(Out, frozen=True):
    """How full the home is. Nulls where nobody counts or limits it, and then `words` say why."""

    used_bytes: int | None
    limit_bytes: int | None
    is_full: bool = False
    """Nothing more can be written: room is made by deleting, or by a larger disk."""
    words: str = ""


class TroubleOut(Out, frozen=True):
    """What keeps reads from being recorded now, so that readers wait or will: `kind` as in the records of reads."""

    kind: str
    since: datetime
    words: str
    next_step: str


class DriftedFileOut(Out, frozen=True):
    """A file of the image that is not as it was installed; hashes are SHA-256 in hex, empty where there is no file."""

    path: str
    drift: Drift
    expected: str
    seen: str
    expected_from: str
    """`RECORD`, which came with the package, or `first seen`."""


class ImageCheckOut(Out, frozen=True):
    """The last look at the image's files; `drifted` counts those that are not as installed, `drift` names the first."""

    checked_at: datetime
    is_full: bool
    """Every file was read; else those whose time, size or inode had changed."""
    drifted: int
    drift: tuple[DriftedFileOut, ...] = ()


class JobOut(Out, frozen=True):
    """Work that runs inside. `percent` is null until it was told; `is_running` is false for progress outside a job."""

    name: str
    since: datetime
    percent: int | None = None
    note: str = ""
    """Free text, shown to those who may read the logs."""
    is_running: bool = True


class NotificationOut(Out, frozen=True):
    """Words to the owner from inside, with a failed job's last lines, or from the observer of its reads."""

    id: str
    at: datetime
    text: str
    log_tail: tuple[str, ...] = ()


class CheckpointOut(Out, frozen=True):
    """A moment whose work its owner marked to keep."""

    at: datetime
    note: str


class QuarantineIn(In, frozen=True):
    """Why an instance is put in quarantine, or released: shown to administrators only, in the platform."""

    why: Note


class QuarantineOut(Out, frozen=True):
    """The quarantine of an instance. All after `next_step` is for administrators, who are told of the last one too."""

    since: datetime
    words: str
    next_step: str = ""
    by: str = ""
    why: str = ""
    by_rule: str = ""
    """The rule for which the platform did it by itself."""
    released_at: datetime | None = None
    released_by: str = ""
    released_why: str = ""
    settled_at: datetime | None = None
    """When its machine was seen to be cut off and frozen (or, released, to go on); null until then."""
    trouble: str = ""
    """Why that is not so yet; the platform tries again each second."""


class InstanceOut(Out, frozen=True):
    """One instance as its people see it."""

    id: str
    name: str
    project: str
    owner: str
    status: Status
    size: Size
    place: str
    image: str
    datasets: tuple[MountOut, ...]
    tier: int
    created_at: datetime
    status_at: datetime
    price_per_hour: Money
    cost: Money
    """Cost so far, at list price; what is billed depends on the project's plan (see usage)."""
    usage_seconds: int
    generation: int
    allowed_actions: tuple[Action, ...]
    is_idle: bool = False
    is_quarantined: bool = False
    quarantine: QuarantineOut | None = None
    """Since when; null where it is in none."""
    running_since: datetime | None = None
    last_activity_at: datetime | None = None
    unreachable_since: datetime | None = None
    stops_at: datetime | None = None
    """When it stops by itself: the earliest of the time asked for and what the project's policy says."""
    stops_why: ReasonCode | None = None
    """Which of these it is."""
    starts_at: datetime | None = None
    """When the schedule that stopped it starts it again."""
    why_up: str = ""
    """Why it is up and what ends that, in words; also why it is down, where the schedule stopped it."""
    warning: str = ""
    """What comes soon, and what can be done about it."""
    reason: ReasonOut | None = None
    place_why: str = ""
    """Why it is in this place."""
    elsewhere: tuple[str, ...] = ()
    """Places that are tried next, in order, where this one has no capacity for its launch."""
    build_id: str | None = None
    sandbox: str | None = None
    image_digest: str | None = None
    """`sha256:…` of the image that it was last started from; null before the first start."""
    limits: tuple[LimitOut, ...] = ()
    observer: ObserverOut | None = None
    """What records the reads of its datasets; null before the first start and where no dataset is mounted."""
    home: HomeOut | None = None
    """How full the home is now; null in lists, and where the place does not say."""
    reads_trouble: TroubleOut | None = None
    """What is wrong with the record of its reads, while it is."""
    image_check: ImageCheckOut | None = None
    """Whether the image still is what was installed; null in lists, and before the first look."""
    job: JobOut | None = None
    """Of several jobs the one begun last."""
    notifications: tuple[NotificationOut, ...] = ()
    """The last few, oldest first; empty for those who may not read the logs. So are `checkpoints`."""
    checkpoints: tuple[CheckpointOut, ...] = ()
    spot: bool = False
    """On spare capacity, which the cloud may take back at any time."""
    relaunch_when_interrupted: bool = False
    relaunches: int = 0
    """How often the platform launched it again by itself within the last 24 hours."""
    relaunch_at: datetime | None = None
    """When it does so next; null as long as it does not."""
    relaunch_why: str = ""
    """The same in words, and why not, where it was taken back and stays failed."""


class InstancesOut(Out, frozen=True):
    """A page of instances, newest first."""

    instances: tuple[InstanceOut, ...]
    next_cursor: str | None = None


class HistoryEntryOut(Out, frozen=True):
    """One change, numbered from 1. `billed_until` ends compute billing earlier than `at` (a crash)."""

    seq: int
    at: datetime
    event: str
    before: Status | None
    after: Status
    actor: str
    size: Size
    generation: int
    billed_until: datetime | None = None
    build_id: str | None = None
    reason: ReasonOut | None = None
    image_digest: str | None = None
    """Of the image that this start was made from, where the change is one."""
    place: str = ""
    """Where it was to be after the change; empty in entries of before places were recorded."""
    note: str = ""
    """Why it was put in quarantine, or released; for administrators."""


class HistoryOut(Out, frozen=True):
    """A page of an instance's history, oldest first."""

    entries: tuple[HistoryEntryOut, ...]
    next_cursor: str | None = None


class BuildOut(Out, frozen=True):
    """One Terraform run. Times of its steps are in seconds."""

    id: str
    instance_id: str
    generation: int
    action: Action
    state: BuildState
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    init_s: float | None = None
    apply_s: float | None = None
    reason: ReasonOut | None = None


class BuildsOut(Out, frozen=True):
    """Builds of an instance, newest first."""

    builds: tuple[BuildOut, ...]
    next_cursor: str | None = None


class LogOut(Out, frozen=True):
    """Whole lines from `offset`; ask again with `next_offset`. `is_complete` when the writer has ended."""

    source: LogSource
    lines: tuple[str, ...]
    next_offset: int
    is_complete: bool


class JupyterOut(Out, frozen=True):
    """How its owner enters the Jupyter server, through a tunnel to `host`:`port`.

    `code` opens one browser session once, within a minute, at `path` + code; `token` is for programs (Authorization
    header) and never goes into a URL.
    """

    host: str
    port: int
    path: str
    code: str
    token: str
    code_expires_at: datetime

    def __repr__(self) -> str:
        """Return it without its secrets."""
        return f"JupyterOut(host={self.host!r}, port={self.port!r}, code_expires_at={self.code_expires_at!r})"


# --- gateway ----------------------------------------------------------------------------------------------------------


class GatewayOut(Out, frozen=True):
    """Where the SSH gateway listens and the host key to pin."""

    host: str
    port: int
    host_key: str
    """One OpenSSH public key line without a comment."""


class GatewayKeyIn(In, frozen=True):
    """The gateway asks whose key this is."""

    public_key: PublicKey
    client: ShortText = ""


class GatewayKeyOut(Out, frozen=True):
    """The person the key belongs to."""

    person: str


class ChannelIn(In, frozen=True):
    """The gateway asks whether this person may reach that name and port now."""

    person: Name
    fingerprint: Fingerprint
    target: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=0, le=65535)]
    client: ShortText = ""


class ChannelOut(Out, frozen=True):
    """Granted: connect to `socket` (a path) or `address` (`host:port`); renew within `lease_seconds`."""

    channel_id: str
    instance_id: str
    lease_seconds: int
    socket: str | None = None
    address: str | None = None
    byte_limit: int | None = None
    door_certificate: str | None = None
    door_key: str | None = None
    """What both sides show at `address`, see contract.machines.Door."""

    def __repr__(self) -> str:
        """Return it without its door's key."""
        return f"ChannelOut(channel_id={self.channel_id!r}, instance_id={self.instance_id!r})"


class ChannelRenewIn(In, frozen=True):
    """Bytes so far: `sent` from the person to the instance, `received` back to the person."""

    sent: Annotated[int, Meta(ge=0)]
    received: Annotated[int, Meta(ge=0)]


class ChannelCloseIn(In, frozen=True):
    """The channel's last word."""

    sent: Annotated[int, Meta(ge=0)]
    received: Annotated[int, Meta(ge=0)]
    seconds: Annotated[int, Meta(ge=0)]
    why: ShortText = ""


class RefusalIn(In, frozen=True):
    """The gateway refused something by itself: a shell, a file copy, a remote forward, an unknown key."""

    what: ShortText
    person: ShortText = ""
    fingerprint: ShortText = ""
    client: ShortText = ""


# --- usage ------------------------------------------------------------------------------------------------------------


class UsageLineOut(Out, frozen=True):
    """Usage of one group. Compute is in seconds, disk in GiB-seconds; amounts at list price and as billed."""

    key: str
    compute_seconds: int
    disk_gib_seconds: int
    list_cost: Decimal
    billed: Decimal


class UsageOut(Out, frozen=True):
    """A month's usage of a project. `is_final` once every hour of it is closed."""

    project: str
    month: str
    currency: str
    plan: Plan
    total: UsageLineOut
    by_instance: tuple[UsageLineOut, ...]
    by_person: tuple[UsageLineOut, ...]
    by_size: tuple[UsageLineOut, ...]
    is_final: bool


class UsageRecordOut(Out, frozen=True):
    """One line of one closed hour of one instance. A higher revision of the hour replaces the lower ones."""

    instance_id: str
    instance: str
    owner: str
    hour: datetime
    revision: int
    kind: str
    """`compute` (quantity in seconds) or `disk` (quantity in GiB-seconds)."""
    size: Size
    quantity: int
    price_per_hour: Decimal
    """Of this size (compute) or of one GiB (disk)."""
    list_cost: Decimal
    billed: Decimal
    currency: str


class UsageRecordsOut(Out, frozen=True):
    """A page of usage records in order of hour."""

    records: tuple[UsageRecordOut, ...]
    next_cursor: str | None = None


# --- cluster ----------------------------------------------------------------------------------------------------------


class PersonIn(In, frozen=True):
    """A person: one name, one uid, their SSH keys."""

    name: Annotated[Name, Meta(description="the person's name, also of their account inside instances")]
    keys: Annotated[
        tuple[PublicKey, ...],
        Meta(max_length=20, description="SSH public keys (the content of .pub files) that log in and pass the gateway"),
    ]
    full_name: Annotated[ShortText, Meta(description="as people call them")] = ""
    uid: (
        Annotated[
            int,
            Meta(
                ge=10_000,
                le=60_000_000,
                description="the number of their account, given once and never to another; left out: the next free one",
            ),
        ]
        | None
    ) = None
    is_admin: Annotated[bool, Meta(description="may plan and apply this file and read the audit log")] = False


class MemberIn(In, frozen=True):
    """A person's role in a project."""

    person: Annotated[Name, Meta(description="a name of this file's people")]
    role: Annotated[
        Role,
        Meta(description="researcher: own instances; lead: every instance of the project; auditor: only reads"),
    ]


class HoursIn(In, frozen=True):
    """One row of a schedule."""

    days: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7, description="mon tue wed thu fri sat sun")]
    stop_at: Annotated[WallTime, Meta(description="what is up then is stopped; the next day where it is not later")]
    start_at: Annotated[
        WallTime | None, Meta(description="what the schedule stopped is started then; left out: it only stops")
    ] = None


class ScheduleIn(In, frozen=True, omit_defaults=True):
    """The hours in which instances are up, in wall-clock time."""

    time_zone: TimeZone = "UTC"
    hours: Annotated[tuple[HoursIn, ...], Meta(max_length=20, description="no rows: no schedule at all")] = ()
    is_strict: Annotated[bool, Meta(description="nothing may be up outside of these hours")] = False


class PolicyIn(In, frozen=True, omit_defaults=True):
    """What stops an instance by itself. What a project leaves out is as the cluster says."""

    idle_stop_after: Annotated[
        PolicySeconds | None, Meta(description="an instance that nobody has used for so long is stopped")
    ] = None
    max_lifetime: Annotated[
        PolicySeconds | None, Meta(description="the longest from an accepted launch, start or retry to the stop")
    ] = None
    warn_before: Annotated[
        PolicySeconds | None, Meta(description="how long before a stop the warning shows; left out everywhere: 900")
    ] = None
    schedule: Annotated[ScheduleIn | None, Meta(description="when instances are up")] = None


class ProjectIn(In, frozen=True):
    """A project: its plan, its members, the datasets its people may mount, its policy."""

    name: Annotated[Name, Meta(description="the project's name")]
    title: Annotated[ShortText, Meta(description="as people call it")] = ""
    plan: Annotated[
        Plan, Meta(description="who pays: nonprofit is free of charge, private by usage; usage is recorded for both")
    ] = Plan.NONPROFIT
    members: Annotated[
        tuple[MemberIn, ...], Meta(max_length=500, description="the people of the project, one role each")
    ] = ()
    datasets: Annotated[
        tuple[Name, ...], Meta(max_length=500, description="names of this file's datasets that its people may mount")
    ] = ()
    policy: Annotated[
        PolicyIn | None, Meta(description="where this project differs from the cluster's policy; 0 or no hours: none")
    ] = None
    places: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=50,
            description="where its instances may run, the preferred first: names of this file's places, or kinds "
            "(aws: every place of that kind, the cheapest first); left out: everywhere, the cheapest first",
        ),
    ] = ()


class CpuIn(In, frozen=True):
    """A cpu size."""

    name: Annotated[SizeName, Meta(description="the size's name, such as m")]
    cores: Annotated[int, Meta(ge=1, le=1024, description="processor cores")]


class GibIn(In, frozen=True):
    """A memory or disk size."""

    name: Annotated[SizeName, Meta(description="the size's name, such as m")]
    gib: Annotated[int, Meta(ge=1, le=65536, description="GiB (1024 MiB)")]


class GpuIn(In, frozen=True):
    """A gpu size; `none` has count 0."""

    name: Annotated[SizeName, Meta(description="the size's name, such as m; none has count 0")]
    count: Annotated[int, Meta(ge=0, le=64, description="how many")]
    model: Annotated[ShortText, Meta(description="as its maker calls it")] = ""


class SizesIn(In, frozen=True):
    """The t-shirt sizes of each resource."""

    cpu: Annotated[tuple[CpuIn, ...], Meta(min_length=1, max_length=20, description="sizes of the processor")]
    memory: Annotated[tuple[GibIn, ...], Meta(min_length=1, max_length=20, description="sizes of the memory")]
    disk: Annotated[tuple[GibIn, ...], Meta(min_length=1, max_length=20, description="sizes of the home folder's disk")]
    gpu: Annotated[
        tuple[GpuIn, ...],
        Meta(max_length=20, description="sizes of the graphics processors; none is there without being named"),
    ] = ()


class ImageIn(In, frozen=True):
    """An image by name; `local` names the environment on one machine (`default`: the one that was set up).

    `container` is a container image of the same, taken where it can be, and the environment else.
    """

    name: Annotated[Name, Meta(description="the image's name")]
    title: Annotated[ShortText, Meta(description="as people call it")] = ""
    local: (
        Annotated[
            str,
            Meta(
                max_length=1000,
                description="on one machine: an interpreter's absolute path, or default for the one that was set up",
            ),
        ]
        | None
    ) = None
    container: (
        Annotated[
            str,
            Meta(
                max_length=300,
                pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$(?!\n)",
                description=(
                    "on one machine, where the platform runs as root: podman's name of a container image,"
                    " taken where podman has it; else, and for the observer of reads, local"
                ),
            ),
        ]
        | None
    ) = None
    sources: Annotated[
        dict[Name, Source],
        Meta(description="in clouds: by name of the place, the machine image there, such as ami-0123456789abcdef0"),
    ] = {}


class HoneypotsIn(In, frozen=True):
    """Decoys in a dataset: a touch of one is a critical finding. Nobody but administrators is told which they are."""

    paths: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=1024)], ...],
        Meta(max_length=1000, description="files and folders inside the dataset, as a/b/c; no wildcards"),
    ] = ()
    keys: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"^(A[A-Z]IA[A-Z2-7]{16}|SHA256:[A-Za-z0-9+/]{43}|token:[0-9a-f]{64})$(?!\n)",
                    description="a decoy key is AKIA… (AWS), SHA256:… (SSH) or token:… (SHA-256 of a token, hex)",
                ),
            ],
            ...,
        ],
        Meta(
            max_length=1000,
            description="credentials that lie in those files and open nothing: an AWS access key id, an SSH key's "
            "fingerprint, or token: and the SHA-256 (hex) of a token of this platform",
        ),
    ] = ()


class DatasetIn(In, frozen=True):
    """A dataset version and where it lies. A tier left out is 3, the strictest."""

    name: Annotated[Name, Meta(description="the dataset's name; it is mounted at /data/NAME")]
    version: Annotated[DatasetVersion, Meta(description="which state of the data this is, as text")]
    title: Annotated[ShortText, Meta(description="as people call it")] = ""
    tier: Annotated[
        int, Meta(ge=0, le=3, description="0 open, 1 controlled, 2 sensitive, 3 restricted; left out: 3")
    ] = 3
    local: Annotated[str, Meta(max_length=1000, description="on one machine: the folder's absolute path")] | None = None
    """Absolute folder on one machine."""
    sources: Annotated[
        dict[Name, Source],
        Meta(
            description="by name of the place where it lies, what it is there: in aws ebs:snap-…, efs:fs-…:/path or "
            "s3:bucket/prefix; in a local place an absolute folder, before local. It is mounted nowhere else"
        ),
    ] = {}
    honeypots: Annotated[HoneypotsIn, Meta(description="decoys in it; researchers are not told")] = HoneypotsIn()


class MachineIn(In, frozen=True):
    """A machine type of a cloud and what it holds."""

    type: MachineType
    cores: Annotated[int, Meta(ge=1, le=1024, description="processor cores")]
    gib: Annotated[int, Meta(ge=1, le=65536, description="GiB of memory (1024 MiB)")]
    gpu: Annotated[SizeName, Meta(description="a name of this file's gpu sizes; left out: none")] = "none"
    spot: Annotated[bool, Meta(description="whether it is to be had on spare capacity; left out: yes")] = True


class PlaceIn(In, frozen=True):
    """A place: `kind` is its Terraform module."""

    name: Annotated[Name, Meta(description="the place's name")]
    kind: Annotated[PlaceKind, Meta(description="the Terraform module: local, aws, azure or gcp")]
    title: Annotated[ShortText, Meta(description="as people call it")] = ""
    region: Annotated[ShortText, Meta(description="the cloud's own name of it")] = ""
    machines: Annotated[
        tuple[MachineIn, ...],
        Meta(max_length=200, description="in clouds: its machine types; the first that holds a size is taken"),
    ] = ()


class SpotRateIn(In, frozen=True):
    """Prices an hour on spare capacity; a size that is left out costs there what it does on demand."""

    cpu: Annotated[dict[str, Amount], Meta(description="price an hour of cpu sizes")] = {}
    memory: Annotated[dict[str, Amount], Meta(description="price an hour of memory sizes")] = {}
    gpu: Annotated[dict[str, Amount], Meta(description="price an hour of gpu sizes")] = {}


class RateIn(In, frozen=True):
    """Prices an hour from a date on (00:00 UTC): per size of cpu, memory and gpu, per GiB of disk."""

    effective: Annotated[date, Meta(description="the day from which on these prices hold, from 00:00 UTC")]
    place: Annotated[Name, Meta(description="a name of this file's places")]
    cpu: Annotated[dict[str, Amount], Meta(description="price an hour of each cpu size")]
    memory: Annotated[dict[str, Amount], Meta(description="price an hour of each memory size")]
    disk_gib: Annotated[Amount, Meta(description="price an hour of one GiB of disk")]
    gpu: Annotated[dict[str, Amount], Meta(description="price an hour of each gpu size")] = {}
    spot: Annotated[
        SpotRateIn | None, Meta(description="prices on spare capacity, in places that have it; left out: as on demand")
    ] = None


class AllowIn(In, frozen=True, omit_defaults=True):
    """One package that people may install: which versions, which files, in which projects."""

    name: Annotated[
        PackageName, Meta(description="as the index calls it; case, dots, dashes and underscores are alike")
    ]
    versions: Annotated[
        str, Meta(max_length=200, description="which versions, as in pip (>=2.1,<3); left out: every one")
    ] = ""
    hashes: Annotated[
        tuple[Sha256, ...],
        Meta(
            max_length=100, description="sha256 of each file that may be installed; left out: any, but none in tier 2"
        ),
    ] = ()
    projects: Annotated[
        tuple[Name, ...], Meta(max_length=20, description="names of this file's projects; left out: all of them")
    ] = ()


class PackagesIn(In, frozen=True, omit_defaults=True):
    """From where packages are installed inside instances, and which: tier 0 any, 1 these, 2 these by hash, 3 none."""

    index: Annotated[
        IndexUrl | None,
        Meta(
            description="the package index (PEP 503 or 691); left out: as the operator says, or https://pypi.org/simple"
        ),
    ] = None
    file_hosts: Annotated[
        tuple[HostName, ...],
        Meta(max_length=20, description="hosts beside the index's own from which its files come"),
    ] = ("files.pythonhosted.org",)
    allow: Annotated[
        tuple[AllowIn, ...], Meta(max_length=2_000, description="what may be installed beside data of tier 1 and 2")
    ] = ()


class LoginIn(In, frozen=True, omit_defaults=True):
    """What a login must be for what it is used for."""

    require_fido2_from_tier: Annotated[
        Annotated[int, Meta(ge=0, le=3)] | Literal["never"],
        Meta(
            description="from this tier on an instance is launched, started, opened and tunnelled to only by who "
            "logged in with a FIDO2 key that verified its user (PIN or fingerprint)"
        ),
    ] = 2


CloudLogSource = Literal["cloudtrail", "s3_access", "azure_activity", "gcp_audit"]


class CloudLogIn(In, frozen=True):
    """A cloud's log that the scan of the platform watches, as it is delivered to a folder or a bucket."""

    source: Annotated[CloudLogSource, Meta(description="whose log it is")]
    folder: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)",
            description=(
                "where its files lie: an absolute path on the machine that scans, or s3://BUCKET/PREFIX for a platform "
                "in AWS; with all folders below"
            ),
        ),
    ]


class FindingsIn(In, frozen=True, omit_defaults=True):
    """What the platform does by itself about findings."""

    max_auto_quarantines_per_hour: Annotated[
        int,
        Meta(ge=0, le=1_000, description="more than these in one hour are only told of; an administrator may confirm"),
    ] = 5
    automatic: Annotated[
        tuple[Literal["quarantine", "revoke"], ...],
        Meta(max_length=2, description="what needs no administrator's yes, where a rule or a tier asks for it"),
    ] = ("quarantine",)
    logs: Annotated[
        tuple[CloudLogIn, ...],
        Meta(max_length=20, description="logs of clouds that are scanned with the platform's own"),
    ] = ()
    rules: Annotated[
        tuple[RulesPath, ...],
        Meta(
            max_length=20,
            description="folders of the organisation's own rules in Sigma's format, run beside the shipped ones; paths "
            "are relative to this file, on the machine of whoever applies it",
        ),
    ] = ()
    rules_digest: Annotated[
        Sha256 | None,
        Meta(
            description="which compiled rules the platform runs; filled in by `nightingale admin apply` from the "
            "folders, never written by hand"
        ),
    ] = None


class NotificationIn(In, frozen=True, omit_defaults=True):
    """One channel to the outside for new findings. It tells rule, severity and where to look, nothing else."""

    name: Annotated[Name, Meta(description="the channel's name")]
    kind: Annotated[
        Literal["smtp", "ses", "webhook", "slack"],
        Meta(description="e-mail by SMTP or by Amazon SES, JSON to a web address, a message to a chat's web address"),
    ]
    min_severity: Annotated[
        Literal["informational", "low", "medium", "high", "critical"],
        Meta(description="findings below it are not told of here"),
    ] = "high"
    to: Annotated[
        tuple[EmailAddress, ...], Meta(max_length=50, description="e-mail: who gets it, each as ada@example.org")
    ] = ()
    sender: Annotated[EmailAddress | None, Meta(description="e-mail: from whom it is")] = None
    host: Annotated[HostName | None, Meta(description="smtp: the server, spoken to by TLS")] = None
    port: Annotated[int, Meta(ge=1, le=65535, description="smtp: 465 for TLS at once, any other for STARTTLS")] = 465
    user: Annotated[ShortText, Meta(description="smtp: the account's name; left out: without an account")] = ""
    url: Annotated[
        IndexUrl | None, Meta(description="webhook: an https address without a name, a password or a query in it")
    ] = None
    url_secret: Annotated[
        Name | None, Meta(description="webhook, slack: the name of the secret that holds the address, if it is one")
    ] = None
    secret: Annotated[
        Name | None,
        Meta(description="the name of the secret: smtp the account's password, webhook the key that signs the body"),
    ] = None


class ClusterIn(In, frozen=True):
    """The cluster file: the one place where people, projects, sizes, datasets and rates are defined."""

    version: Annotated[int, Meta(ge=1, le=1, description="of this format: 1")]
    currency: Annotated[Currency, Meta(description="of every price, for good")]
    people: Annotated[tuple[PersonIn, ...], Meta(max_length=10_000, description="everybody who may log in")]
    projects: Annotated[tuple[ProjectIn, ...], Meta(max_length=2_000, description="who works on what, and who pays")]
    sizes: Annotated[SizesIn, Meta(description="t-shirt sizes of each resource; any combination may be launched")]
    images: Annotated[tuple[ImageIn, ...], Meta(max_length=100, description="what runs inside instances")]
    places: Annotated[tuple[PlaceIn, ...], Meta(max_length=50, description="where instances run")]
    rates: Annotated[tuple[RateIn, ...], Meta(max_length=1_000, description="prices, each from a day on")]
    datasets: Annotated[
        tuple[DatasetIn, ...], Meta(max_length=5_000, description="what may be mounted, read-only")
    ] = ()
    policy: Annotated[
        PolicyIn | None, Meta(description="what stops instances by themselves, in projects that do not say otherwise")
    ] = None
    packages: Annotated[
        PackagesIn | None,
        Meta(description="what may be installed inside instances; left out: anything beside open data"),
    ] = None
    login: Annotated[LoginIn | None, Meta(description="what a login must be; left out: a FIDO2 key from tier 2 on")] = (
        None
    )
    findings: Annotated[
        FindingsIn | None, Meta(description="what the platform does by itself about findings; left out: as each says")
    ] = None
    notifications: Annotated[
        tuple[NotificationIn, ...], Meta(max_length=20, description="who outside hears of new findings")
    ] = ()


class ClusterOut(Out, frozen=True):
    """The cluster as it runs, as the file that would make it so. `revision` is the `base` to change it from."""

    revision: int
    cluster: ClusterIn


class ClusterPlanIn(In, frozen=True):
    """Ask what applying this cluster would change."""

    cluster: ClusterIn


class ClusterChangeOut(Out, frozen=True):
    """One difference. `verb` is add, change or remove; `key` like `people.ada.keys`; values are canonical JSON."""

    verb: str
    key: str
    before: str | None = None
    after: str | None = None


class ClusterPlanOut(Out, frozen=True):
    """The difference between the cluster as it runs and the file. `base` is what `apply` must find unchanged.

    `notes` are in words what the file asks for and will not get, although nothing in it is wrong.
    """

    base: int
    changes: tuple[ClusterChangeOut, ...]
    notes: tuple[str, ...] = ()


class ClusterApplyIn(In, frozen=True):
    """Make it so, if the running cluster is still the one that `plan` saw."""

    cluster: ClusterIn
    base: Annotated[int, Meta(ge=0)]


class ClusterApplyOut(Out, frozen=True):
    """What was changed, and the cluster's new revision."""

    revision: int
    changes: tuple[ClusterChangeOut, ...]


# --- audit ------------------------------------------------------------------------------------------------------------


class AuditEventOut(Out, frozen=True):
    """One sealed fact of a stream (`platform` or an instance id)."""

    stream: str
    seq: int
    at: datetime
    tag: str
    actor: str
    subject: str
    detail: dict[str, str]
    prev: str
    hash: str


class AuditVerifiedOut(Out, frozen=True):
    """Whether a stream's chain holds; `first_bad` is the first record that is missing, changed or out of place."""

    stream: str
    records: int
    first_bad: int | None


class AuditEventsOut(Out, frozen=True):
    """A page of a stream, oldest first."""

    events: tuple[AuditEventOut, ...]
    next_cursor: str | None = None
