"""HTTP over a unix socket, with the standard library only."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path


class UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens on a unix socket. `timeout_s` is for each single wait."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Take where the socket is; nothing is connected yet."""
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
