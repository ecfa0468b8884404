"""A prober that sees what the test says."""

from __future__ import annotations

from collections import defaultdict, deque

from nightingale.ports.prober import Activity, ProbeOutcome


class FakeProber:
    """Answers by address: first what was `script`ed, in order, then the last said, else `default`."""

    def __init__(self, default: ProbeOutcome = ProbeOutcome.OK) -> None:
        self.default = default
        self._standing: dict[str, ProbeOutcome] = {}
        self._scripts: defaultdict[str, deque[ProbeOutcome]] = defaultdict(deque)
        self.activities: dict[str, Activity] = {}
        self.probed: list[str] = []
        """Addresses in the order they were probed."""
        self.is_closed = False

    async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:  # noqa: ARG002 - the port's signature
        self.probed.append(address)
        if self._scripts[address]:
            self._standing[address] = self._scripts[address].popleft()
        return self._standing.get(address, self.default)

    async def activity(self, address: str, token: str, timeout_s: float) -> Activity | None:  # noqa: ARG002 - same
        return self.activities.get(address)

    async def close(self) -> None:
        self.is_closed = True

    def script(self, address: str, *outcomes: ProbeOutcome) -> None:
        """See these from now on, one a probe; the last one stays."""
        self._scripts[address] = deque(outcomes)
