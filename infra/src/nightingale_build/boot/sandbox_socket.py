"""A socket of the platform in the run folder of an instance, which belongs to an owner who may be hostile."""

from __future__ import annotations

import os
import socket
import socketserver
import stat
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class SandboxHandler(BaseHTTPRequestHandler):
    """One connection of the sandbox. What is asked from inside is the platform's to log: here nothing is."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = False  # a unix socket has none to disable

    def handle_one_request(self) -> None:
        """Serve one request; whoever breaks off, or says what is no HTTP, is let go."""
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.close_connection = True

    def address_string(self) -> str:
        """Return a name: a unix socket's client has no address."""
        return "sandbox"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SandboxServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves the sandbox, so many connections at a time. `serve_forever` is a thread's."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, folder: Path, name: str, handler: type[SandboxHandler], most: int) -> None:
        """Bind the socket of this name in the run folder of the instance whose folder this is. Raises OSError."""
        self._room = threading.BoundedSemaphore(most)
        self._folder = folder
        self._name = name
        super().__init__(str(folder / name), handler)

    def server_bind(self) -> None:
        """Bind where nobody else may go, then rename into the run folder, which is a person's: no link is followed."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        outer = os.open(self._folder, flags)
        try:
            run = os.open("run", flags, dir_fd=outer)
            try:
                path = self._folder / self._name
                path.unlink(missing_ok=True)
                self.socket.bind(str(path))
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
                owner = os.fstat(run)
                if os.geteuid() == 0:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
                os.rename(self._name, self._name, src_dir_fd=outer, dst_dir_fd=run)
            finally:
                os.close(run)
        finally:
            os.close(outer)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Serve a connection in a thread, once there is room; what is too much waits in the socket's queue."""
        self._room.acquire()
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Give the room back."""
        try:
            super().shutdown_request(request)
        finally:
            self._room.release()
