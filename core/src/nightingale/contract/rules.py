"""Compiled rules on the wire: what the command line makes of Sigma, and the platform keeps and runs.

What comes over the wire is not trusted: the bounds here keep it small, and before a rule is run its SQL is looked
through (`nightingale_findings.engine.verified`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nightingale.contract.schemas import In, Out, Sha256

MOST_RULES = 2_000
"""Of one organisation."""
MOST_PARTS = 200
MOST_PART_BYTES = 180 * 1024
"""Of one part's rules as JSON: an item of the store holds 390 KiB, and JSON inside of JSON may take twice its room."""
MOST_WHERE = 100_000
"""Characters of a rule's SQL; the longest of the shipped ones has some 12,000."""
_YEAR_S = 366 * 24 * 3600

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

RuleId = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
RuleField = Annotated[str, Meta(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Technique = Annotated[str, Meta(pattern=r"^T[0-9]{4}(\.[0-9]{3})?$(?!\n)")]
Line = Annotated[str, Meta(max_length=1_000)]


class Correlation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How matches of other rules make one firing: an exact sliding window, closed at t minus span."""

    kind: CorrelationKind
    rules: Annotated[tuple[RuleId, ...], Meta(min_length=1, max_length=50)]
    """Ids of the rules whose matches are looked at, in order."""
    group_by: Annotated[tuple[RuleField, ...], Meta(max_length=20)] = ()
    """Fields, or aliases, that are equal in all events of one window."""
    aliases: Annotated[dict[RuleField, dict[RuleId, RuleField]], Meta(max_length=40)] = {}
    """Alias to the field that it means in each rule, by the rule's id."""
    span_s: Annotated[int, Meta(ge=1, le=_YEAR_S)]
    field: Annotated[tuple[RuleField, ...], Meta(max_length=20)] = ()
    """What is counted, summed or averaged."""
    conditions: Annotated[
        tuple[tuple[Comparison, Annotated[float, Meta(ge=-1e18, le=1e18)]], ...], Meta(max_length=10)
    ] = ()
    """All must hold; none for temporal ones, which ask for every rule."""
    percentile: Annotated[float, Meta(ge=0, le=100)] | None = None


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule. Either `where` holds (SQL, true for an event that matches) or `correlation`."""

    id: RuleId
    """Sigma's `id`, or the file's name."""
    name: RuleId
    """What people type: Sigma's `name`, or the file's name without its ending."""
    title: Line
    description: Annotated[str, Meta(max_length=20_000)] = ""
    level: Level
    status: Line = ""
    author: Line = ""
    origin: Annotated[str, Meta(max_length=100)] = "nightingale"
    """`nightingale`, or the organisation's own folder."""
    techniques: Annotated[tuple[Technique, ...], Meta(max_length=50)] = ()
    """MITRE ATT&CK ids as `T1530`, `T1098.001`."""
    tags: Annotated[tuple[Line, ...], Meta(max_length=100)] = ()
    falsepositives: Annotated[tuple[Line, ...], Meta(max_length=100)] = ()
    source: Annotated[str, Meta(max_length=100)] = ""
    """The name of the LogSource; of a correlation, of its first rule."""
    fields: Annotated[tuple[RuleField, ...], Meta(max_length=200)] = ()
    """Every field that `where`, or the correlations over it, need: for wide sources these are extracted."""
    where: Annotated[str, Meta(max_length=MOST_WHERE)] | None = None
    correlation: Correlation | None = None
    is_finding: bool = True
    """False for a rule that is there for correlations only (Sigma's `generate: false`)."""
    episode_s: Annotated[int, Meta(ge=0, le=_YEAR_S)] = 3600
    """Matches of one group no further apart than this are one episode, in seconds."""
    response: Literal["", "notify", "quarantine", "revoke"] = ""
    """What to do beside notifying, whatever the tier: `` (the tier decides), `notify`, `quarantine`, `revoke`."""
    next_step: Annotated[str, Meta(max_length=2_000)] = ""
    """What an administrator does first, in words."""


class RulesPartIn(In, frozen=True):
    """One part of an organisation's rules. The set is whole, and kept for good, once every part was uploaded."""

    digest: Annotated[Sha256, Meta(description="of the whole set: SHA-256 of each rule's JSON on a line of its own")]
    part: Annotated[int, Meta(ge=1, le=MOST_PARTS, description="which part this is, from 1 on")]
    parts: Annotated[int, Meta(ge=1, le=MOST_PARTS, description="how many parts the set has")]
    rules: Annotated[
        tuple[CompiledRule, ...],
        Meta(min_length=1, max_length=MOST_RULES, description="in order of name, at most 180 KiB of JSON"),
    ]


class RulesTakenOut(Out, frozen=True):
    """How far an upload is."""

    digest: str
    is_whole: bool
    """Whether a cluster file may name the set now."""
    missing: tuple[int, ...] = ()
    """The parts that were not uploaded yet."""


class OwnRuleOut(Out, frozen=True):
    """One rule of the organisation that the platform runs."""

    id: str
    name: str
    title: str
    level: str
    author: str
    source: str
    digest: str
    """Changes with whatever the rule says."""


class OwnRulesOut(Out, frozen=True):
    """A page of the organisation's rules as the running cluster names them. `digest` is empty for no rules at all."""

    digest: str
    rules: tuple[OwnRuleOut, ...]
    next_cursor: str | None = None


def rule_bytes(rule: CompiledRule) -> bytes:
    """Return a rule as the JSON that digests are of."""
    return msgspec.json.encode(rule, order="deterministic")


def rule_digest(rule: CompiledRule) -> str:
    """Return what tells a rule from one of the same id that says something else (64 hexadecimal digits)."""
    return hashlib.sha256(rule_bytes(rule)).hexdigest()


def set_digest(rules: Iterable[CompiledRule]) -> str:
    """Return the digest of a set of rules in their order, however it is cut into parts (64 hexadecimal digits)."""
    whole = hashlib.sha256()
    for rule in rules:
        whole.update(rule_bytes(rule) + b"\n")
    return whole.hexdigest()


def parts_of(rules: Sequence[CompiledRule]) -> tuple[tuple[CompiledRule, ...], ...]:
    """Return the set cut into parts that may be uploaded; the same set is always cut the same way.

    Raises ValueError for a rule that fits into no part.
    """
    parts: list[list[CompiledRule]] = []
    size = 0
    for rule in rules:
        length = len(rule_bytes(rule)) + 1
        if length > MOST_PART_BYTES:
            raise ValueError(f"{rule.name} has {length} bytes compiled, more than {MOST_PART_BYTES}")
        if not parts or size + length > MOST_PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(rule)
        size += length
    return tuple(tuple(part) for part in parts)
