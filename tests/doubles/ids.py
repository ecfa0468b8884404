"""Ids that can be foretold."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime


class CountingIds:
    """Counts per prefix: `i-0000000001`, `i-0000000002`, `b-0000000001`; secrets count too."""

    def __init__(self) -> None:
        self._counters: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))

    def new(self, prefix: str) -> str:
        return f"{prefix}-{next(self._counters[prefix]):010d}"

    def ordered(self, prefix: str, at: datetime) -> str:  # noqa: ARG002 - counting is ordered already
        return self.new(prefix)

    def secret(self) -> str:
        return f"secret-{next(self._counters['a secret']):036d}"
