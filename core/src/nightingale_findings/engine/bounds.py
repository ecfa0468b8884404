"""What an organisation's rules may cost in one scan: time by interrupting them, memory by the database's own limit.

The rules that come with Nightingale are run by themselves, so that whatever an uploaded one takes, those are not
touched. Uploaded ones are run together, which is the quickest; where that is too much, each is run alone, and the one
that is over its bound is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import duckdb

from nightingale_findings.compiled import CompiledRule

T = TypeVar("T")

EACH_S = 10.0
"""Seconds that one rule may take of one scan."""
ALL_S = 100.0
"""Seconds that all rules of an organisation may take of one scan together."""
SHIPPED = "nightingale"
_AGAIN_S = 0.1
"""Between two statements of a rule nothing is interrupted: so it is asked again."""


class OverBoundError(Exception):
    """A rule was stopped, or never had its turn. Says why."""

    def __init__(self, why: str, *, had_turn: bool = True) -> None:
        """Say why."""
        super().__init__(why)
        self.had_turn = had_turn


def is_own(rule: CompiledRule) -> bool:
    """Return whether a rule is an organisation's."""
    return rule.origin != SHIPPED


class Bounds:
    """The bounds of one connection's scans, one after the other."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, each_s: float = EACH_S, all_s: float = ALL_S) -> None:
        """Take the connection whose statements are interrupted."""
        self.each_s, self.all_s = each_s, all_s
        self._connection, self._left = connection, all_s

    def begin(self) -> None:
        """Begin a scan."""
        self._left = self.all_s

    def together(self, what: Callable[[], T], rules: int) -> T:
        """Run several rules at once. Raises as `alone`."""
        return self._run(what, min(self.each_s * rules, self.all_s / 2))

    def alone(self, what: Callable[[], T]) -> T:
        """Run one rule. Raises OverBoundError; duckdb.Error for what is wrong with the rule, or the database."""
        return self._run(what, self.each_s)

    def _run(self, what: Callable[[], T], seconds: float) -> T:
        if self._left <= 0:
            raise OverBoundError(
                f"the organisation's rules before it took the {self.all_s:g} s that all may take of a scan",
                had_turn=False,
            )
        watch = _Watch(self._connection, min(seconds, self._left))
        began = time.monotonic()
        try:
            with watch:
                return what()
        except duckdb.InterruptException as stopped:
            if not watch.has_stopped:
                raise
            raise OverBoundError(f"it took more than {seconds:g} s") from stopped
        except duckdb.OutOfMemoryException as full:
            raise OverBoundError("it needs more memory than the scan has") from full
        finally:
            self._left -= time.monotonic() - began


class _Watch:
    """Interrupts what runs in it from some seconds after its beginning on, and nothing that runs after it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._is_over, self._turn = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="rule-bound", daemon=True)
        self.has_stopped = False

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        wait = self._seconds
        while not self._is_over.wait(wait):
            with self._turn:
                if self._is_over.is_set():
                    return
                self.has_stopped = True
                self._connection.interrupt()
            wait = _AGAIN_S
