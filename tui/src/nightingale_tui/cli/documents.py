"""What commands write with --json where no answer of the API says it whole. Scripts read these: fields only join."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from nightingale.contract.reads import ReadRecord
from nightingale.contract.rules import OwnRuleOut
from nightingale.contract.schemas import GatewayOut, HistoryEntryOut, InstanceOut, ObserverOut


class ShowOut(msgspec.Struct, frozen=True, kw_only=True):
    """An instance and every change of it, oldest first."""

    instance: InstanceOut
    history: tuple[HistoryEntryOut, ...]


class ReadsListOut(msgspec.Struct, frozen=True, kw_only=True):
    """Every read of an instance's datasets, oldest first; `observer` says how exact, or that nothing is recorded."""

    instance_id: str
    observer: ObserverOut | None
    reads: tuple[ReadRecord, ...]


class TunnelOut(msgspec.Struct, frozen=True, kw_only=True):
    """An open tunnel's end on this machine. From `open`, `url` enters Jupyter: once, within a minute."""

    host: str
    port: int
    url: str


class SshConfigOut(msgspec.Struct, frozen=True, kw_only=True):
    """How plain ssh knows the gateway: `ssh -N -L 8888:NAME:8888 HOST`. `file` holds the host's block."""

    host: str
    file: str
    config: str
    """The person's own configuration, which includes `file` if `is_included`."""
    is_included: bool
    gateway: GatewayOut | None = None
    """None after `--remove`."""


class FindingsExportOut(msgspec.Struct, frozen=True, kw_only=True):
    """How many findings were written, and to which files."""

    findings: int
    files: tuple[str, ...]


class SetAsideOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be read; `head` is its first 200 characters."""

    file: str
    line: int | None
    why: str
    head: str


class ScannedFindingOut(msgspec.Struct, frozen=True, kw_only=True):
    """One episode of one rule in one group."""

    rule: str
    title: str
    severity: Literal["informational", "low", "medium", "high", "critical"]
    techniques: tuple[str, ...]
    """MITRE ATT&CK ids."""
    first_seen: datetime
    last_seen: datetime
    event_ids: tuple[str, ...]
    """The events' own ids (CloudTrail's `eventID`), 200 at most: the first and the last ones; `event_count` is all."""
    event_count: int
    person: str | None
    group: dict[str, str]
    value: float | None
    next_step: str
    origin: str
    author: str


class ScanOut(msgspec.Struct, frozen=True, kw_only=True):
    """A scan of files: how much was read, what was set aside (a number, and the first ones), what was found."""

    source: str
    events_read: int
    duplicates: int
    set_aside: int
    set_aside_first: tuple[SetAsideOut, ...]
    rules_refused: tuple[str, ...]
    rules_failed: tuple[str, ...]
    findings: tuple[ScannedFindingOut, ...]


class RuleOut(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, as people read it."""

    name: str
    id: str
    title: str
    description: str
    severity: str
    source: str
    techniques: tuple[str, ...]
    fields: tuple[str, ...]
    falsepositives: tuple[str, ...]
    response: str
    next_step: str
    author: str
    origin: str


class RulesOut(msgspec.Struct, frozen=True, kw_only=True):
    """Rules, by name."""

    rules: tuple[RuleOut, ...]


class OwnRulesListOut(msgspec.Struct, frozen=True, kw_only=True):
    """The organisation's rules that a platform runs, by name."""

    rules: tuple[OwnRuleOut, ...]


class JudgedEventOut(msgspec.Struct, frozen=True, kw_only=True):
    """An event as one plain rule sees it; `fields` holds what the event says where the rule looks."""

    event_id: str
    rule: str
    matches: bool
    fields: dict[str, str | None]


class RuleTestOut(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says of some events. `value` is the most that a correlation counted."""

    rule: str
    fires: bool
    findings: int
    value: float | None
    set_aside: int
    events: tuple[JudgedEventOut, ...]
