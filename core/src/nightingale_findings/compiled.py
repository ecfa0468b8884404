"""Rules as they are run: SQL and what a finding says of them. Made ahead of time; read without pySigma."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["informational", "low", "medium", "high", "critical"]

CorrelationKind = Literal[
    "event_count",
    "value_count",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
    "temporal",
    "temporal_ordered",
]

Comparison = Literal[">", ">=", "<", "<=", "=", "!="]


class Correlation(msgspec.Struct, frozen=True, kw_only=True):
    """How matches of other rules make one firing: an exact sliding window, closed at t minus span."""

    kind: CorrelationKind
    rules: tuple[str, ...]
    """Ids of the rules whose matches are looked at, in order."""
    group_by: tuple[str, ...] = ()
    """Fields, or aliases, that are equal in all events of one window."""
    aliases: dict[str, dict[str, str]] = {}
    """Alias to the field that it means in each rule, by the rule's id."""
    span_s: int
    field: tuple[str, ...] = ()
    """What is counted, summed or averaged."""
    conditions: tuple[tuple[Comparison, float], ...] = ()
    """All must hold; none for temporal ones, which ask for every rule."""
    percentile: float | None = None


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. Either `where` holds (SQL, true for an event that matches) or `correlation`."""

    id: str
    """Sigma's `id`, or the file's name."""
    name: str
    """What people type: Sigma's `name`, or the file's name without its ending."""
    title: str
    description: str = ""
    level: Level
    status: str = ""
    author: str = ""
    origin: str = "nightingale"
    """`nightingale`, or the organisation's own folder."""
    techniques: tuple[str, ...] = ()
    """MITRE ATT&CK ids as `T1530`, `T1098.001`."""
    tags: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    source: str = ""
    """The name of the LogSource; of a correlation, of its first rule."""
    fields: tuple[str, ...] = ()
    """Every field that `where`, or the correlations over it, need: for wide sources these are extracted."""
    where: str | None = None
    correlation: Correlation | None = None
    is_finding: bool = True
    """False for a rule that is there for correlations only (Sigma's `generate: false`)."""
    episode_s: int = 3600
    """Matches of one group no further apart than this are one episode, in seconds."""
    response: str = ""
    """What to do beside notifying, whatever the tier: `` (the tier decides), `notify`, `quarantine`, `revoke`."""
    next_step: str = ""
    """What an administrator does first, in words."""


class CompiledRules(msgspec.Struct, frozen=True, kw_only=True):
    """Every rule of a set, in order of name, and the digest of what it was made from."""

    version: int = 1
    digest: str
    rules: tuple[CompiledRule, ...]


class RuleRefusedError(Exception):
    """A rule cannot be run as it is written; it is never run in part. Says which file, what, and what to do."""

    def __init__(self, rule: str, why: str, next_step: str = "") -> None:
        """Name the rule's file or title, what is not supported or wrong, and what to write instead."""
        super().__init__(f"{rule}: {why}")
        self.rule, self.why, self.next_step = rule, why, next_step
