"""A platform in memory behind real sockets, one for each instance that is up: what is inside of an instance sees it."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backend_lambda.chalice_server import Answer, read_answer
from doubles.loops import run_apart
from doubles.platforms import FakePlatform
from infra.local_place import wait_until
from nightingale_instance.platform_api import PlatformApi
from nightingale_local.folders import Folders
from nightingale_local.instance_doors import InstanceDoors


@dataclass
class Place:
    """A data folder with instances that are up as far as their launchers say, and the doors of one API."""

    root: Path
    platform: FakePlatform = field(default_factory=FakePlatform)
    threads: list[threading.Thread] = field(default_factory=list)
    doors: InstanceDoors | None = None

    def up(self, name: str) -> str:
        """Run an instance, and let its launcher announce it; return its id."""
        instance_id = run_apart(self.platform.run(name)).id
        (self.root / "instances" / instance_id).mkdir(parents=True, mode=0o700)
        self.announce(instance_id)
        return instance_id

    def announce(self, instance_id: str) -> None:
        """Do as a launcher does at each start."""
        run = self.root / "instances" / instance_id / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(mode=0o700)
        self.marker(instance_id).unlink(missing_ok=True)
        self.marker(instance_id).touch()

    def marker(self, instance_id: str) -> Path:
        folder = self.root / "run" / "up"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / instance_id

    def socket_path(self, instance_id: str) -> Path:
        return self.root / "instances" / instance_id / "run" / "platform.sock"

    def open(self) -> InstanceDoors:
        """Let an API open its doors."""
        doors = InstanceDoors(Folders(self.root), self.platform.dispatcher.handle)
        self.run(doors)
        return doors

    def run(self, doors: InstanceDoors) -> None:
        thread = threading.Thread(target=doors.run)
        thread.start()
        self.threads.append(thread)
        self.doors = doors

    def close(self) -> None:
        if self.doors is not None:
            self.doors.close()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()
        self.threads.clear()

    def inside(self, instance_id: str, name: str, *, patience_s: float = 20.0, door: str = "") -> PlatformApi:
        """Return the API as this instance's command reaches it, through its own door or another's."""
        token_file = self.root / f"{name}.token"
        token_file.write_text(self.platform.own_token(name), encoding="ascii")
        return PlatformApi(self.socket_path(door or instance_id), token_file, patience_s=patience_s)

    def environment(self, instance_id: str, name: str) -> dict[str, str]:
        """Return what the instance's own command is told, once its door is open."""
        self.inside(instance_id, name).call("GET", "")
        return {
            "PATH": os.environ["PATH"],
            "NIGHTINGALE_RUN": str(self.socket_path(instance_id).parent),
            "NIGHTINGALE_INSTANCE_TOKEN_FILE": str(self.root / f"{name}.token"),
        }

    def connect(self, instance_id: str) -> socket.socket:
        wait_until(self.socket_path(instance_id).exists)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(str(self.socket_path(instance_id)))
        return connection

    def say(self, instance_id: str, request: bytes) -> Answer:
        with self.connect(instance_id) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return read_answer(connection)


@contextmanager
def open_place() -> Iterator[Place]:
    """Make a place, and take all of it away again."""
    root = Path(tempfile.mkdtemp(prefix="ng-"))
    made = Place(root)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(root)
