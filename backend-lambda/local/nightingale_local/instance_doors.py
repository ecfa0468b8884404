"""The API's doors into the sandboxes: a socket in the run folder of each instance that is up, for that instance alone.

    DIR/run/up/<id>                     a launcher writes it anew with each start, and takes it away at the end
    DIR/instances/<id>/platform.sock    bound here, where nobody else may go, then renamed to
    DIR/instances/<id>/run/platform.sock

One look at the folder's time four times a second tells whether anything came or went: ten thousand instances at rest
cost one `stat`. The run folder belongs to the owner, who may be hostile: no link in it is followed, and whoever
replaces the socket there cuts nobody off but themselves, until a slow round binds it anew.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from nightingale.app.dispatch import Request, Response
from nightingale.contract.own_instance import SOCKET_NAME
from nightingale_local.door_sockets import allow_many_descriptors, announced, bind
from nightingale_local.folders import Folders
from nightingale_local.instance_handler import DoorServer, InstanceHandler

_LOG = logging.getLogger(__name__)

LOOK_S = 0.25
ROUND_TICKS = 120
"""Looks until every door has been looked at once more: half a minute."""

MOST_CONNECTIONS = 8
"""Of one instance at a time; what comes on top waits in its own socket's queue."""

Handle = Callable[[str, Request], Response]


@dataclass
class _Door:
    """An open door."""

    instance_id: str
    listener: socket.socket
    inode: tuple[int, int]
    connections: int = 0


class InstanceDoors:
    """Opens and closes the doors, and lets in. `run` is a thread's; `close` ends it."""

    def __init__(self, folders: Folders, handle: Handle) -> None:
        """Take the data folder and what answers a request for an operation."""
        self._instances = folders.root / "instances"
        self._up = folders.up
        self._server = DoorServer(handle)
        self._doors: dict[str, _Door] = {}
        self._seen: dict[str, int] = {}
        self._names: list[str] = []
        self._seen_at = -1
        self._is_settled = False
        self._tick = 0
        self._selector = selectors.DefaultSelector()
        self._wake, self._waken = socket.socketpair()
        self._turn = threading.Lock()
        self._free: list[_Door] = []
        self._is_closed = False

    def run(self) -> None:
        """Let in until `close`."""
        self._wake.settimeout(0.0)
        self._selector.register(self._wake, selectors.EVENT_READ)
        while not self._is_closed:
            try:
                self.look()
            except OSError as error:
                _LOG.warning("instances cannot be looked at", extra={"why": str(error)})
            for key, _ in self._selector.select(LOOK_S):
                if key.data is None:
                    self._take_back()
                else:
                    self._let_in(key.data)
        for door in list(self._doors.values()):
            self._shut(door)
        self._selector.close()
        self._wake.close()
        self._waken.close()

    def close(self) -> None:
        """End `run`."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._waken.send(b"c")

    def look(self) -> None:
        """Open the doors of what came up, shut those of what went, and look at some of the others."""
        try:
            at = self._up.stat().st_mtime_ns
        except FileNotFoundError:
            at = 0
        # Once more after a change: what happens in the same instant as a look leaves the folder's time as it was.
        if at != self._seen_at or not self._is_settled:
            self._is_settled = at == self._seen_at
            self._seen_at = at
            self._take_up(announced(self._up))
        self._tick += 1
        share = len(self._names) // ROUND_TICKS + 1
        first = self._tick % ROUND_TICKS * share
        for name in self._names[first : first + share]:
            self._mend(name)

    def _take_up(self, announced: dict[str, int]) -> None:
        for name in self._seen.keys() - announced.keys():
            if name in self._doors:
                self._shut(self._doors[name])
        for name, at in announced.items():
            if self._seen.get(name) != at:
                self._open(name)
        self._seen = announced
        self._names = sorted(announced)

    def _mend(self, name: str) -> None:
        """Bind anew a socket that is no longer where it was put."""
        door = self._doors.get(name)
        try:
            found = (self._instances / name / "run" / SOCKET_NAME).lstat()
        except OSError:
            found = None
        if door is None or found is None or (found.st_dev, found.st_ino) != door.inode:
            self._open(name)

    def _open(self, name: str) -> None:
        before = self._doors.get(name)
        if before is not None:
            self._shut(before)
        try:
            listener, inode = bind(self._instances / name, SOCKET_NAME)
        except OSError as error:
            _LOG.info("no door into an instance", extra={"instance": name, "why": str(error)})
            return
        door = _Door(name, listener, inode)
        self._doors[name] = door
        self._selector.register(listener, selectors.EVENT_READ, door)

    def _shut(self, door: _Door) -> None:
        self._doors.pop(door.instance_id, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(door.listener)
        door.listener.close()

    def _let_in(self, door: _Door) -> None:
        try:
            connection, _ = door.listener.accept()
        except BlockingIOError:  # it left again
            return
        except OSError as error:  # no descriptor to spare: others end meanwhile
            _LOG.warning("nobody can be let in", extra={"why": str(error)})
            time.sleep(LOOK_S)
            return
        with self._turn:
            door.connections += 1
            is_full = door.connections >= MOST_CONNECTIONS
        if is_full:
            self._selector.unregister(door.listener)
        threading.Thread(target=self._serve, args=(door, connection), daemon=True).start()

    def _serve(self, door: _Door, connection: socket.socket) -> None:
        connection.settimeout(None)
        try:
            InstanceHandler(connection, door.instance_id, self._server)
        except OSError as error:
            _LOG.debug("a connection from inside ended badly", exc_info=error)
        except Exception:  # noqa: BLE001 - the last frame of a thread
            _LOG.exception("a connection from inside ended badly")
        finally:
            connection.close()
            with self._turn:
                door.connections -= 1
                self._free.append(door)
            with contextlib.suppress(OSError):
                self._waken.send(b"f")

    def _take_back(self) -> None:
        """Let in again where there is room once more."""
        with contextlib.suppress(OSError):
            self._wake.recv(4096)
        with self._turn:
            free, self._free = self._free, []
        listening = self._selector.get_map()
        for door in free:
            if self._doors.get(door.instance_id) is door and door.listener not in listening:
                self._selector.register(door.listener, selectors.EVENT_READ, door)


def start_doors(folders: Folders, handle: Handle) -> InstanceDoors:
    """Open doors in a thread of their own from now on; return them, to be closed."""
    allow_many_descriptors()
    doors = InstanceDoors(folders, handle)
    threading.Thread(target=doors.run, name="instance doors", daemon=True).start()
    return doors
