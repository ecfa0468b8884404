"""The answer to everyone who asks this gateway for a session: one line that says what it is for, and the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncssh

from nightingale_gateway.jsonlog import shown

NOTICE = (
    "This is Nightingale's gateway: it carries tunnels to your running instances and has no shell, commands or files. "
    "Run `nightingale tunnel NAME`."
)


class NoticeSession(asyncssh.SSHServerSession[str]):
    """Accepts a request for a shell, a command or a subsystem only to say no in words, with exit status 1."""

    def __init__(self, refuse: Callable[[str], None]) -> None:
        """`refuse` records what was asked."""
        self._refuse = refuse
        self._channel: asyncssh.SSHServerChannel[str] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[str]) -> None:
        """Keep the channel to answer on."""
        self._channel = chan

    def pty_requested(self, *_: Any) -> bool:
        """Accept, so that the client adds no complaint of its own to our line; no terminal is made."""
        return True

    def shell_requested(self) -> bool:
        """Record the wish for a shell."""
        self._refuse("shell")
        return True

    def exec_requested(self, command: str) -> bool:
        """Record the command's first word; the rest may be private."""
        self._refuse(f"command {shown(command.split(maxsplit=1)[0] if command.strip() else '')}")
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Record the subsystem (`sftp`: file copy)."""
        self._refuse(f"subsystem {shown(subsystem)}")
        return True

    def session_started(self) -> None:
        """Say no."""
        if self._channel is not None:
            self._channel.write_stderr(f"{NOTICE}\r\n" if self._channel.get_terminal_type() else f"{NOTICE}\n")
            self._channel.exit(1)
