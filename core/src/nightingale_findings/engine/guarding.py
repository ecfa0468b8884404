"""An organisation's rules within their bounds, beside the shipped ones, which nothing of theirs stops."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TypeVar

from nightingale_findings.compiled import CompiledRule
from nightingale_findings.engine.bounds import Bounds, OverBoundError, is_own
from nightingale_findings.engine.running import Engine
from nightingale_findings.engine.windows import Matched
from nightingale_findings.logsource import LogSource

T = TypeVar("T")


class Guarded:
    """Runs an engine's rules: the shipped ones as they are, the others within bounds."""

    def __init__(self, engine: Engine, bounds: Bounds, touched: str) -> None:
        """Take the table of the groups that are asked about anew: of a rule that was stopped, none is."""
        self._engine, self._bounds, self._touched = engine, bounds, touched
        self._shipped = frozenset(rule.id for rule in engine.rules.values() if not is_own(rule))
        self._resting: set[str] = set()

    def begin(self, resting: Iterable[str]) -> None:
        """Begin a scan in which these rules, by id, are not run."""
        self._bounds.begin()
        self._resting = set(resting)

    def plain(self, source: LogSource, only: str, *, hits: bool = True) -> dict[str, Matched]:
        """Match the plain rules of a source, as `Engine.plain` does."""
        held = self._engine.plain(source, only, hits=hits, among=self._shipped)
        own = [
            rule
            for rule in self._engine.rules.values()
            if rule.source == source.name and rule.where is not None
            if rule.id not in self._shipped and rule.id not in self._resting
        ]
        if not own:
            return held
        match = functools.partial(self._engine.plain, source, only, hits=hits)
        every = functools.partial(match, among={rule.id for rule in own}, apart="_own")
        try:
            return held | self._bounds.together(every, len(own))
        except OverBoundError:
            if hits:
                self._engine.unhit(own)
        for number, rule in enumerate(own):
            alone = functools.partial(match, among={rule.id}, apart=f"_own_{number}")
            held |= self.run(rule, alone) or {}
        return held

    def run(self, rule: CompiledRule, what: Callable[[], T]) -> T | None:
        """Return what comes of doing something for one rule; None for one that rests, or was stopped."""
        if rule.id in self._shipped:
            return what()
        if rule.id in self._resting:
            return None
        try:
            return self._bounds.alone(what)
        except OverBoundError as over:
            self._engine.unhit([rule])
            self._engine.connection.execute(f"DELETE FROM {self._touched} WHERE rule = ?", [rule.id])
            self._engine.fail(rule, str(over), is_over=over.had_turn, had_turn=over.had_turn)
            self._resting.add(rule.id)
            return None
