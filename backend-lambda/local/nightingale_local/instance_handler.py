"""A request that came through an instance's own socket: answered for that instance alone, and for its own paths only.

The same limits hold as for the platform's address, and the same dispatch answers; the host's framework is not asked,
since nothing of it could say through which socket a request came.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import parse_qsl

from nightingale.app.dispatch import Request, Response
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.vocabulary import Permission
from nightingale.hosting.answers import headers_of
from nightingale_local.http_door import Door, matches

_OFFERED = tuple(row for row in OPERATIONS if row.permission is Permission.INSTANCE_SELF)
_OWN_NAMES = frozenset({"localhost"})


class DoorServer:
    """What a handler asks of its server."""

    own_names = _OWN_NAMES
    metrics = None

    def __init__(self, handle: Callable[[str, Request], Response]) -> None:
        """Take what answers."""
        self.handle = handle


class InstanceHandler(Door):
    """One connection. Made is served: it returns once the connection has ended."""

    disable_nagle_algorithm = False
    timeout = 10  # seconds that a silent connection is kept: only the instance's own command connects
    server: DoorServer  # type: ignore[assignment] # a server in all that is asked of it

    def __init__(self, connection: socket.socket, instance_id: str, server: DoorServer) -> None:
        """Serve the connection."""
        self._instance_id = instance_id
        super().__init__(connection, (instance_id, 0), server)  # type: ignore[arg-type] # a server in all that is asked of it

    def _allowed(self, path: str) -> list[str]:
        return sorted(row.method for row in _OFFERED if matches(row.path, path))

    def _answer(self, path: str, query: str) -> None:
        row = next(row for row in _OFFERED if row.method == self.command and matches(row.path, path))
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length) if length else b""
        wanted, given = row.path.strip("/").split("/"), path.strip("/").split("/")
        named = {part.strip("{}"): other for part, other in zip(wanted, given, strict=True) if part.startswith("{")}
        answer = self.server.handle(
            row.name,
            Request(
                path=named,
                query=dict(parse_qsl(query, keep_blank_values=True)),
                body=body,
                authorization=self.headers.get("authorization"),
                content_type=self.headers.get("content-type", ""),
                client=self._instance_id,
                through=self._instance_id,
            ),
        )
        self._send_http_response(answer.status, headers_of(answer), answer.body)
