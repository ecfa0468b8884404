"""Rules as they are run: SQL and what a finding says of them. Made ahead of time; read without pySigma."""

from __future__ import annotations

import msgspec

from nightingale.contract.rules import Comparison, CompiledRule, Correlation, CorrelationKind, Level

__all__ = [
    "Comparison",
    "CompiledRule",
    "CompiledRules",
    "Correlation",
    "CorrelationKind",
    "CurrentRules",
    "Level",
    "NotRun",
    "RuleRefusedError",
]


class CompiledRules(msgspec.Struct, frozen=True, kw_only=True):
    """Every rule of a set, in order of name, and the digest of what it was made from."""

    version: int = 1
    digest: str
    rules: tuple[CompiledRule, ...]


class NotRun(msgspec.Struct, frozen=True):
    """A rule of the organisation that is not run, why, and what to do."""

    rule: str
    author: str
    why: str
    next_step: str


class CurrentRules(CompiledRules, frozen=True, kw_only=True):
    """The rules that a platform runs now: the shipped ones and the organisation's."""

    failed: tuple[NotRun, ...] = ()


class RuleRefusedError(Exception):
    """A rule cannot be run as it is written; it is never run in part. Says which file, what, and what to do."""

    def __init__(self, rule: str, why: str, next_step: str = "") -> None:
        """Name the rule's file or title, what is not supported or wrong, and what to write instead."""
        super().__init__(f"{rule}: {why}")
        self.rule, self.why, self.next_step = rule, why, next_step
