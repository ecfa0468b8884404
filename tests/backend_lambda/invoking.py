"""Invokes jobs as Lambda does, on a platform in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chalice.test import Client

import app as lambda_app
from chalicelib import container
from doubles.loops import apart
from doubles.pace import FakePace
from doubles.platforms import FakePlatform
from doubles.prober import FakeProber
from nightingale.contract.build import BuildSpec
from nightingale.contract.schemas import InstanceOut
from nightingale.domain.build import Build
from nightingale.hosting.wired import Wired
from nightingale.ports.builder import BuilderUnavailableError, BuildSeen
from nightingale.ports.prober import ProbeOutcome
from nightingale.services import records


class Invoking:
    """A platform, wired to the app, and the way to invoke its jobs."""

    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform
        self.pace = FakePace(platform.clock)
        self.wire()

    def wire(self) -> None:
        prober = self.platform.prober
        container.use_wired(Wired(self.platform.made, lambda: prober, self.pace))

    def invoke(
        self,
        job: str,
        *,
        source: str = "aws.events",
        kind: str = "Scheduled Event",
        detail: dict[str, Any] | None = None,
        wait_for: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Invoke and return what the function returned; `wait_for` must hold afterwards."""
        with Client(lambda_app.app) as client:
            event = client.events.generate_cw_event(source, kind, detail or {}, [])
            payload: dict[str, Any] = apart(lambda: client.lambda_.invoke(job, event).payload)
        assert wait_for is None or wait_for()
        return payload

    def hang(self, address: str) -> None:
        """Let every probe of this address hang."""
        self.pace = FakePace(self.platform.clock)
        self.platform.prober = _HangingProber(address, self.pace)
        self.wire()

    def break_builder(self, words: str) -> None:
        """Let the builder not answer when it is looked at."""
        builders: Any = self.platform.builder_at
        builders["local"] = _SilentBuilder(words)

    def start_behind_its_back(self, build: Build, instance_id: str) -> None:
        """Let the builder have the build, as if whoever started it had died before saying so."""
        self.platform.builder.start(
            BuildSpec(
                build_id=build.id,
                instance_id=instance_id,
                generation=build.generation,
                action=build.action,
                desired_state=build.desired_state,
                place="local",
                variables={},
                timeout_seconds=60,
            )
        )


class _HangingProber(FakeProber):
    def __init__(self, address: str, pace: FakePace) -> None:
        super().__init__()
        self._hangs = address
        self._pace = pace

    async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:
        outcome = await super().probe(address, timeout_s)
        if address == self._hangs:
            self._pace.hanging.add(asyncio.current_task())
            await asyncio.Event().wait()
        return outcome


class _SilentBuilder:
    def __init__(self, words: str) -> None:
        self._words = words

    def look(self, build_id: str) -> BuildSeen:
        raise BuilderUnavailableError(f"{build_id}: {self._words}")


def in_shard(platform: FakePlatform, parity: int, name: str = "scan") -> InstanceOut:
    """Launch instances until one lies in a shard of this parity; return it."""
    for number in range(50):
        instance = platform.launch(f"{name}-{number}")
        if records.shard_of(instance.id) % 2 == parity:
            return instance
    raise AssertionError("ids are spread over shards, so this does not happen")
