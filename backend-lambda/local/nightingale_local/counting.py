"""Adapters that count and log what goes through them: probes, and builds with their ids."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import BuildState
from nightingale.ports.builder import Builder, BuildSeen
from nightingale.ports.prober import Activity, ProbeOutcome, Prober

_LOG = logging.getLogger(__name__)
_REMEMBERED = 10_000


class CountingProber:
    """A prober that counts how its probes ended."""

    def __init__(self, prober: Prober) -> None:
        """Count what this one sees."""
        self._prober = prober
        self.outcomes: Counter[str] = Counter()

    async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:
        """GET /api once. Never raises."""
        outcome = await self._prober.probe(address, timeout_s)
        self.outcomes[outcome.value] += 1
        return outcome

    async def activity(self, address: str, token: str, timeout_s: float) -> Activity | None:
        """GET /api/status, or None when it does not answer."""
        return await self._prober.activity(address, token, timeout_s)

    async def close(self) -> None:
        """Close the connections kept."""
        await self._prober.close()


class LoggedBuilder:
    """A builder that logs each build's start and end, and counts how builds ended. Threads may share it."""

    def __init__(self, builder: Builder) -> None:
        """Log what this one does."""
        self._builder = builder
        self._ended: dict[str, None] = {}
        self._turn = threading.Lock()
        self.results: Counter[str] = Counter()

    def start(self, spec: BuildSpec) -> None:
        """Start the build, once. Raises BuilderUnavailableError."""
        self._builder.start(spec)
        detail = {
            "build_id": spec.build_id,
            "instance": spec.instance_id,
            "generation": spec.generation,
            "action": spec.action.value,
        }
        _LOG.info("build handed over", extra=detail)

    def look(self, build_id: str) -> BuildSeen:
        """Return how the build stands."""
        seen = self._builder.look(build_id)
        if seen.result is not None and self._is_news(build_id):
            result = seen.result
            name = "succeeded" if result.is_ok else (result.code.value if result.code else BuildState.FAILED.value)
            with self._turn:
                self.results[name] += 1
            took = (result.finished_at - result.started_at).total_seconds()
            _LOG.info("build ended", extra={"build_id": build_id, "result": name, "seconds": took})
        return seen

    def cancel(self, build_id: str) -> None:
        """End the build's processes if any still run."""
        _LOG.info("build is cancelled", extra={"build_id": build_id})
        self._builder.cancel(build_id)

    def read_log(self, build_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` whole lines from byte `offset`, and the next offset."""
        return self._builder.read_log(build_id, offset, limit)

    def _is_news(self, build_id: str) -> bool:
        with self._turn:
            if build_id in self._ended:
                return False
            self._ended[build_id] = None
            if len(self._ended) > _REMEMBERED:  # the oldest is looked at no more
                del self._ended[next(iter(self._ended))]
            return True
