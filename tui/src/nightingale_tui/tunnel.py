"""A tunnel to an instance's Jupyter server: the system's `ssh -N -L`, watched.

ssh runs a LocalCommand once its forwards listen; that word on its output is the signal that the port accepts. No
connection is made to find out: each would be a channel that the gateway asks about and records.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from nightingale.contract.schemas import JupyterOut
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ClientError
from nightingale_tui.settings import Settings, load_session
from nightingale_tui.ssh_config import HOST_ALIAS, SshConfig, write_ssh_config

__all__ = ["Tunnel", "TunnelError", "write_ssh_config"]

_JUPYTER_PORT = 8888
_READY = "nightingale-tunnel-listens"
_READY_TIMEOUT_S = 20.0
_ASKING_TIMEOUT_S = 120.0
"""Time for a person to type a passphrase or touch a key."""
_END_TIMEOUT_S = 3.0
_END_TRIES, _END_TRY_S = 30, 0.1
_PORT_TRIES = 3
_TARGET = re.compile(r"[a-z0-9][a-z0-9-]*\Z")


class TunnelError(ClientError):
    """The tunnel did not come to be; the message carries ssh's last words."""


class Tunnel:
    """A running `ssh -N -L`. Ends with `close()`, as a context manager, or when ssh ends (`is_alive`)."""

    def __init__(self, process: subprocess.Popen[str], local_port: int, on_words: Callable[[str], None] | None) -> None:
        """Watch `process`; use `Tunnel.open` instead."""
        self.local_port = local_port
        self._process = process
        self._words: deque[str] = deque(maxlen=20)
        self._on_words = on_words
        self._settled = threading.Event()
        self._is_ready = False
        self._readers = [
            threading.Thread(target=self._read_output, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_words, args=(process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @classmethod
    def open(
        cls,
        api: Api,
        settings: Settings,
        project: str,
        name: str,
        *,
        local_port: int | None = None,
        may_ask: bool = False,
        on_words: Callable[[str], None] | None = None,
    ) -> Tunnel:
        """Return a tunnel whose local port accepts connections.

        `local_port` None takes a free one. `may_ask` lets ssh ask for a passphrase on the terminal (never inside the
        app). `on_words` gets each line ssh says, from a thread. Raises TunnelError, and what the API calls raise.
        """
        if shutil.which("ssh") is None:
            raise TunnelError("ssh_missing", "ssh is not on this machine.", "Install the OpenSSH client.")
        for part in (name, project):
            if not _TARGET.match(part):
                raise TunnelError("bad_name", f"{part!r} names no instance or project.", "See `nightingale ps`.")
        config = write_ssh_config(
            settings, api.get_gateway(), person=api.get_me().person, identity=identity_of(settings)
        )
        # With the project, equal names in two projects are two targets; an id is one by itself.
        target = name if name.startswith("i-") else f"{name}.{project}"
        for _ in range(_PORT_TRIES - 1 if local_port is None else 0):
            with contextlib.suppress(_PortTakenError):
                return cls._spawn(config, target, _free_port(), may_ask=may_ask, on_words=on_words)
        return cls._spawn(config, target, local_port or _free_port(), may_ask=may_ask, on_words=on_words)

    @classmethod
    def _spawn(
        cls, config: SshConfig, target: str, port: int, *, may_ask: bool, on_words: Callable[[str], None] | None
    ) -> Tunnel:
        process = subprocess.Popen(
            [
                "ssh",
                *("-F", str(config.path), "-N", "-T"),
                *("-o", f"BatchMode={'no' if may_ask else 'yes'}"),
                *("-o", "PermitLocalCommand=yes", "-o", f"LocalCommand=echo {_READY}"),
                *("-L", f"127.0.0.1:{port}:{target}:{_JUPYTER_PORT}"),
                HOST_ALIAS,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "SHELL": "/bin/sh"},  # LocalCommand runs in SHELL; a person's own may greet or be none
            # In a session of its own ssh has no terminal to write over the app's screen, and Ctrl-C is the app's.
            start_new_session=not may_ask,
        )
        tunnel = cls(process, port, on_words)
        try:
            tunnel._wait_ready(_ASKING_TIMEOUT_S if may_ask else _READY_TIMEOUT_S)
        except BaseException:
            tunnel.close()
            raise
        return tunnel

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def url(self, jupyter: JupyterOut) -> str:
        """Return the address that enters Jupyter once, for a browser on this machine. It holds the one-time code.

        It names 127.0.0.1 and not localhost: another account could listen at that port of ::1.
        """
        return f"http://127.0.0.1:{self.local_port}{jupyter.path}{jupyter.code}"

    @property
    def is_alive(self) -> bool:
        """Whether ssh still runs."""
        return self._process.poll() is None

    @property
    def last_words(self) -> str:
        """What ssh said last, in one line."""
        return " / ".join(self._words)

    def wait(self) -> None:
        """Return when ssh ends."""
        self._process.wait()

    def close(self) -> None:
        """End ssh and free the port. May be called twice."""
        # OpenSSH loses a signal that comes between its check and its poll; asking again wakes the poll.
        for _ in range(_END_TRIES):
            if self._process.poll() is not None:
                break
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_TRY_S)
        else:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(_END_TIMEOUT_S)

    def _read_output(self, stream: IO[str] | None) -> None:
        with stream or contextlib.nullcontext(()) as lines:
            for line in lines:
                if line.strip() == _READY:
                    self._is_ready = True
                    self._settled.set()
        self._settled.set()  # end of output: ssh has ended, ready or not

    def _read_words(self, stream: IO[str] | None) -> None:
        with stream or contextlib.nullcontext(()) as lines:
            for line in lines:
                if words := line.strip():
                    self._words.append(words)
                    if self._on_words is not None:
                        self._on_words(words)

    def _wait_ready(self, timeout_s: float) -> None:
        if not self._settled.wait(timeout_s):
            raise TunnelError(
                "tunnel_timeout",
                f"The gateway did not let ssh in within {timeout_s:.0f} seconds. {self.last_words}".strip(),
                "Is the gateway's port open from here? Try again, or ask your administrator.",
            )
        if self._is_ready:
            return
        self._process.wait()
        self._readers[1].join(_END_TIMEOUT_S)  # all of its last words
        words = self.last_words
        if "Address already in use" in words:
            raise _PortTakenError(self.local_port, words)
        raise TunnelError("tunnel_failed", f"ssh could not open the tunnel: {words or 'it said nothing'}", _hint(words))


class _PortTakenError(TunnelError):
    """Another program has the local port."""

    def __init__(self, port: int, words: str) -> None:
        super().__init__(
            "port_taken", f"Port {port} of this machine is taken: {words}", "Name another with `--port`, or none."
        )


def identity_of(settings: Settings) -> Path | None:
    """Return the key the gateway should see: the one configured, else the one that logged in."""
    if settings.key_file is not None:
        return settings.key_file
    session = load_session(settings)
    return Path(session.identity) if session is not None and session.identity else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _hint(words: str) -> str:
    if "Permission denied" in words:
        return "The gateway knows the key you logged in with: load it (`ssh-add`), or log in again with `--key`."
    if "Host key verification failed" in words or "IDENTIFICATION HAS CHANGED" in words:
        return "The gateway's key is not the one the platform names. Do not go on: tell your administrator."
    return "Is the gateway up? `nightingale ssh-config` shows where it is; try again in a moment."
