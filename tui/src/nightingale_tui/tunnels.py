"""The tunnels this app holds open, and the way from a key to a Jupyter page in the browser."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from textual.message import Message
from textual.message_pump import MessagePump

from nightingale.contract.schemas import InstanceOut, JupyterOut
from nightingale_tui.controller import Controller


class Tunnel(Protocol):
    """A running forward to one instance."""

    @property
    def is_alive(self) -> bool:
        """Whether it still forwards."""

    def url(self, jupyter: JupyterOut) -> str:
        """Return the address that enters the Jupyter server once, with the answer's one-time code."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Doors:
    """The ways out of the app: a tunnel to an instance of a project, and the person's browser.

    `open_browser` returns False where there is none. Both may take seconds and are called outside the event loop.
    """

    open_tunnel: Callable[[str, str], Tunnel]
    open_browser: Callable[[str], bool]


@dataclass(frozen=True)
class OpenTunnel:
    """One tunnel in the list."""

    instance_id: str
    name: str
    project: str
    generation: int
    since: datetime
    tunnel: Tunnel


class Tunnels:
    """Opens, lists and closes. One tunnel per instance and generation; asking again uses the one there is."""

    @dataclass
    class Opened(Message):
        """Jupyter can be entered at `url`, once and within a minute; `is_in_browser` when a browser was sent there."""

        instance: InstanceOut
        url: str
        is_in_browser: bool

    def __init__(self, controller: Controller, doors: Doors) -> None:
        """Hold none yet."""
        self._controller = controller
        self._doors = doors
        self._open: dict[str, OpenTunnel] = {}
        self._lock = threading.Condition()
        self._opening = 0
        self._is_over = False

    @property
    def rows(self) -> tuple[OpenTunnel, ...]:
        """The open ones, oldest first."""
        return tuple(kept for kept in tuple(self._open.values()) if kept.tunnel.is_alive)

    def open(self, target: MessagePump, instance: InstanceOut) -> None:
        """Open Jupyter in the browser; posts Opened or Controller.Refused to `target`."""
        project, since = self._controller.project, self._controller.now()

        def call() -> tuple[str, bool]:
            kept = self._open.get(instance.id)
            if kept is not None and (kept.generation != instance.generation or not kept.tunnel.is_alive):
                self.close(instance.id)
                kept = None
            if kept is None:
                kept = self._opened(project, instance, since)
            url = kept.tunnel.url(self._controller.api.open_jupyter(project, instance.id))
            return url, self._doors.open_browser(url)

        self._controller.ask(
            target,
            f"open {instance.name}",
            call,
            lambda answer: self.Opened(instance, *answer),
            group=f"open-{instance.id}",
        )

    def _opened(self, project: str, instance: InstanceOut, since: datetime) -> OpenTunnel:
        with self._lock:
            self._opening += 1
        try:
            tunnel = self._doors.open_tunnel(project, instance.name)
            kept = OpenTunnel(instance.id, instance.name, project, instance.generation, since, tunnel)
            self._keep(kept)
        finally:
            with self._lock:
                self._opening -= 1
                self._lock.notify_all()
        return kept

    def settle(self, timeout_s: float) -> None:
        """Wait until no tunnel is just being opened: a process that ends before would leave its ssh behind."""
        with self._lock:
            self._lock.wait_for(lambda: not self._opening, timeout_s)

    def _keep(self, kept: OpenTunnel) -> None:
        with self._lock:
            before = self._open.get(kept.instance_id)
            if not self._is_over:
                self._open[kept.instance_id] = kept
        if self._is_over:
            kept.tunnel.close()  # opened while the app was quitting: nobody will close it later
        if before is not None:
            before.tunnel.close()

    def close(self, instance_id: str) -> None:
        """Close one; nothing happens when it is not open."""
        kept = self._open.pop(instance_id, None)
        if kept is not None:
            kept.tunnel.close()

    def close_all(self) -> None:
        """Close every one, on the way out; one that opens later closes itself."""
        with self._lock:
            self._is_over = True
        for instance_id in list(self._open):
            self.close(instance_id)


def has_browser(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Return whether a browser can show up in front of this person.

    Over SSH, and on Linux without a display, it cannot: the standard library would start one inside this terminal.
    """
    if environ.get("BROWSER"):
        return True
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    if platform in {"darwin", "win32"}:
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> bool:
    """Send the person's browser to `url`; return False where there is none."""
    if not has_browser():
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
