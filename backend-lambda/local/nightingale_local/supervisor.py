"""The supervising process: starts the children, starts them again when they end, ends them with itself.

Instances and builds are no children of it: they outlive its restart.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from nightingale.adapters.local_files import is_held, take
from nightingale_local.container import local_platform, prepare_store
from nightingale_local.folders import FolderError, Folders, Ready, Settings, read_json, write_json

_LOG = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 20_000_000
_SERVICE_TOKEN = timedelta(days=365)
_CALM_SECONDS = 30.0
"""A child that lived this long is started again at once; one that keeps dying waits longer each time."""


@contextmanager
def held(folders: Folders) -> Iterator[None]:
    """Hold the data folder's lock: one supervisor a folder. Raises FolderError `already_up`."""
    descriptor = take(folders.run / "supervisor.lock")
    if descriptor is None:
        raise already_up(folders)
    try:
        yield
    finally:
        os.close(descriptor)


def already_up(folders: Folders) -> FolderError:
    """Return the refusal for a folder on which a platform runs."""
    settings = read_json(folders.settings, Settings) or Settings()
    return FolderError(
        "already_up",
        f"A platform already runs on {folders.root}, at {settings.url}.",
        f"Use it, or end it first: nightingale local down --dir {folders.root}.",
    )


def is_up(folders: Folders) -> bool:
    """Return whether a supervisor holds the folder. A lock file keeps its dead pid: only the held lock means alive."""
    try:
        return is_held(folders.run / "supervisor.lock")
    except NotADirectoryError:
        return False


@dataclass
class _Child:
    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    wait_s: float = 0.5
    not_before: float = 0.0


@dataclass
class Supervisor:
    """Runs until `stop` is set (SIGTERM, SIGINT)."""

    folders: Folders
    settings: Settings
    host: str = "chalice"
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Supervise until told to end, then end the children."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop.set())
        prepare_store(self.settings)
        self._renew_service_tokens()
        for name in ("api", "scheduler", "gateway", "index", "scan"):
            self.folders.ready(name).unlink(missing_ok=True)
        write_json(self.folders.ready("supervisor"), Ready(pid=os.getpid()))
        children = [_Child(name, command) for name, command in self._commands().items()]
        try:
            while not self.stop.is_set():
                for child in children:
                    self._tend(child)
                self.stop.wait(0.2)
        finally:
            _end(children)
            for name in ("supervisor", "api", "scheduler", "gateway", "index", "scan"):
                self.folders.ready(name).unlink(missing_ok=True)

    def _commands(self) -> dict[str, list[str]]:
        child = [sys.executable, "-m", "nightingale_local.child"]
        directory = ["--dir", str(self.folders.root)]
        return {
            "api": [*child, "api", *directory, "--host", self.host],
            "scheduler": [*child, "scheduler", *directory],
            "index": [*child, "index", *directory],
            "scan": [*child, "scan", *directory],
            "gateway": [sys.executable, "-m", "nightingale_gateway", "--config", str(self._gateway_config())],
        }

    def _gateway_config(self) -> Path:
        path = self.folders.root / "gateway" / "gateway.json"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_json(
            path,
            {
                "api_url": self.settings.url,
                "token_file": str(self.folders.secrets / "gateway.token"),
                "listen_host": self.settings.host,
                "listen_port": self.settings.gateway_port,
                "host_key_file": str(path.parent / "host_key"),
                "ready_file": str(self.folders.ready("gateway")),
            },
        )
        return path

    def _renew_service_tokens(self) -> None:
        """Give gateway, index proxy and this machine's operator fresh tokens, in files that only this account reads."""
        platform = local_platform(self.folders)
        for service in ("gateway", "index", "operator"):
            token = platform.services.login.create_service_session(service, _SERVICE_TOKEN)
            path = self.folders.secrets / f"{service}.token"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(token)

    def _tend(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return
            _LOG.error("a process of the platform ended", extra={"child": child.name, "status": status})
            lived = now - child.started_at
            child.wait_s = 0.5 if lived > _CALM_SECONDS else min(child.wait_s * 2, 30.0)
            child.not_before = now + child.wait_s
            child.process = None
        if now >= child.not_before:
            child.started_at = now
            child.process = self._start(child)

    def _start(self, child: _Child) -> subprocess.Popen[bytes]:
        path = self.folders.logs / f"{child.name}.log"
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one thread here, and it makes one system call
            )
        finally:
            os.close(descriptor)


def _die_with_parent() -> Callable[[], None] | None:
    """Return what makes a child end with the supervisor, even one that was killed. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return ask


def _end(children: list[_Child]) -> None:
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    until = time.monotonic() + 10
    for process in running:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
