"""The app under test and everything around it, as real small classes; and how to wait for it without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from textual.pilot import Pilot

from nightingale.contract.schemas import InstanceOut, JupyterOut
from nightingale_tui.app import NightingaleApp
from nightingale_tui.tunnels import Doors
from tui.app.sample_data import INSTANCES, NOW, PROJECT
from tui.app.sample_platform import SamplePlatform


class StillClock:
    """A clock that moves when told."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def step(self, **how_far: float) -> None:
        self.at += timedelta(**how_far)


@dataclass
class FakeTunnel:
    """A tunnel that forwards nothing."""

    name: str
    is_alive: bool = True

    def url(self, jupyter: JupyterOut) -> str:
        return f"http://127.0.0.1:41000{jupyter.path}{jupyter.code}"

    def close(self) -> None:
        self.is_alive = False


@dataclass
class FakeDoors:
    """Keeps what was opened; `has_browser` says whether a browser takes the address."""

    has_browser: bool = False
    tunnels: list[FakeTunnel] = field(default_factory=list)
    visited: list[str] = field(default_factory=list)

    def open_tunnel(self, project: str, name: str) -> FakeTunnel:
        tunnel = FakeTunnel(f"{name}.{project}")
        self.tunnels.append(tunnel)
        return tunnel

    def open_browser(self, url: str) -> bool:
        self.visited.append(url)
        return self.has_browser

    def doors(self) -> Doors:
        return Doors(self.open_tunnel, self.open_browser)


@dataclass
class Parts:
    """The app and what it talks to."""

    app: NightingaleApp
    platform: SamplePlatform
    clock: StillClock
    doors: FakeDoors


def make_parts(instances: tuple[InstanceOut, ...] = INSTANCES) -> Parts:
    platform, clock, doors = SamplePlatform(instances), StillClock(), FakeDoors()
    app = NightingaleApp(platform.api(), PROJECT, doors.doors(), now=clock)
    app.animation_level = "none"
    return Parts(app, platform, clock, doors)


async def until(pilot: Pilot[int], what: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once `what()` is true, looking after each round of the app's messages; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not what():
            await pilot.pause(0.01)
    await pilot.pause()


async def loaded(pilot: Pilot[int]) -> None:
    """Return once the first answer about the instances is in, good or bad."""
    app = pilot.app
    assert isinstance(app, NightingaleApp)
    await until(pilot, lambda: app.controller.feed.fetched_at or app.controller.feed.problem)
